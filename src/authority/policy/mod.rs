//! Policies in Cedar: may this caller ask this at all? Default deny; a policy allows or denies, it never modifies, and one
//! that fails to evaluate denies. What no policy may loosen stands in `ceiling` and in `domain::decision`.

mod active;
mod built_in;
mod cases;
mod ceiling;
mod engine;
mod error;
mod reload;
mod report;

#[cfg(test)]
mod tests;

pub use active::ActivePolicySet;
pub(super) use active::log_failure;
pub use engine::request::{MintContext, TokenContext};
pub use error::{PolicyError, PolicyFault};
pub use reload::PolicyWatch;
pub use report::{PolicyReport, ReportLine};

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::domain::decision::policy_trace::PolicyTrace;
use crate::domain::{Caller, Denial};
use engine::cache::RulingCache;
use engine::files::Folder;
use engine::index::{Evaluation, Slices};
use engine::load::Loaded;
use engine::request::{EntityNames, PolicyRequest};

/// What a caller may want to do with the service as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Read accounts, the inventory and the ledger.
    Read,
    /// Keep accounts and what they are lent, withdraw grants: all of them, or a reseller's own customers.
    Manage,
    /// Change what the carrier as a whole holds and may not use.
    Provision,
}

/// A set of policies. It never changes; another set takes its place.
#[derive(Debug)]
pub struct PolicySet {
    slices: Slices,
    decided: RulingCache,
    names: EntityNames,
    /// What the policies that forbid say, by their ids.
    words: HashMap<String, Words>,
    ids: Vec<String>,
    set: Arc<str>,
    warnings: Vec<PolicyFault>,
}

/// What a refusal says.
#[derive(Debug)]
struct Words {
    code: Option<String>,
    message: Option<String>,
}

/// What the policies say to a wish, and which of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    /// The refusal is for the asker, and tells it no more than it may know.
    pub verdict: Result<(), Denial>,
    /// For the grant and the audit trail.
    pub by: PolicyTrace,
}

impl PolicySet {
    /// The policies that come with the service.
    ///
    /// # Errors
    /// [`PolicyError`] if they are faulty, which a test rules out.
    pub fn built_in() -> Result<Self, PolicyError> {
        Self::tested(&built_in::folder())
    }

    /// The policies of all files `*.cedar` in a folder, in place of the built-in ones, and not without their cases in
    /// `tests/*.toml`. The schema is the service's own, since it says what the service tells the policies.
    ///
    /// # Errors
    /// [`PolicyError`] if the folder holds none, or a faulty one, or if a case differs.
    pub fn from_dir(dir: &Path) -> Result<Self, PolicyError> {
        Self::tested(&Folder::read(dir)?)
    }

    /// Loads a set, and runs its cases.
    fn tested(folder: &Folder) -> Result<Self, PolicyError> {
        let mut policy = Self::of(folder, engine::load::load(folder)?)?;
        let cases = cases::read(folder)?;
        let differing: Vec<PolicyFault> = cases
            .iter()
            .filter_map(|case| case.run(&policy).1.err())
            .collect();
        if !differing.is_empty() {
            return Err(PolicyError::Differing(differing));
        }
        if cases.is_empty() {
            let why = "there is no case in `tests/*.toml`, so nothing shows what the policies do";
            policy.warnings.push(PolicyFault::of(&folder.called, why));
        }
        Ok(policy)
    }

    fn of(folder: &Folder, loaded: Loaded) -> Result<Self, PolicyError> {
        let names = EntityNames::new().map_err(PolicyError::Schema)?;
        names.fit(&loaded.schema).map_err(PolicyError::Schema)?;
        let slices = Slices::new(&loaded.policies, &names.actions());
        let slices = slices.map_err(|e| PolicyError::Schema(e.to_string()))?;
        let id = |policy: &cedar_policy::Policy| AsRef::<str>::as_ref(policy.id()).to_owned();
        let words = loaded.policies.iter().map(|policy| {
            let said = |name| policy.annotation(name).map(str::to_owned);
            let words = Words {
                code: said("code"),
                message: said("message"),
            };
            (id(policy), words)
        });
        let mut ids: Vec<String> = loaded.policies.iter().map(id).collect();
        ids.sort_unstable();
        Ok(Self {
            words: words.collect(),
            slices,
            decided: RulingCache::by(loaded.looks),
            names,
            ids,
            set: folder.digest().into(),
            warnings: loaded.warnings,
        })
    }

    /// SHA-256 of the files of the set, in hex.
    #[must_use]
    pub fn set(&self) -> &str {
        &self.set
    }

    /// The ids of all policies, in their order.
    #[must_use]
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// What is no fault, and somebody should look at.
    #[must_use]
    pub fn warnings(&self) -> &[PolicyFault] {
        &self.warnings
    }

    /// Whether the caller may have a token like this for the account, as far as no number is concerned.
    ///
    /// The refusal is [`Denial::NotTheCallers`] if it may not even ask; else [`Denial::Policy`], with the code of the
    /// policy that forbids.
    #[must_use]
    pub fn may_mint(&self, caller: &Caller, asked: &MintContext<'_>) -> Ruling {
        if !ceiling::may_mint(caller, asked.account, asked.token.renewal) {
            return self.uniform(Evaluation::default());
        }
        let decide = || self.decide_mint(caller, asked);
        self.decided.or_decide(caller, asked, decide)
    }

    fn decide_mint(&self, caller: &Caller, asked: &MintContext<'_>) -> Ruling {
        let mint = self.ask(caller, PolicyRequest::Mint(asked));
        if mint.allowed {
            return self.allow(mint);
        }
        // Whoever may not ask must not learn why else the answer would be no. The trail does.
        let ask = self.ask(caller, PolicyRequest::Ask(asked));
        if ask.allowed {
            self.deny(mint)
        } else {
            self.uniform(if mint.failed { mint } else { ask })
        }
    }

    /// Whether the caller may ask for tokens of this account at all, and so may know why there would be none.
    #[must_use]
    pub fn may_ask(&self, caller: &Caller, asked: &MintContext<'_>) -> Ruling {
        if !ceiling::may_mint(caller, asked.account, asked.token.renewal) {
            return self.uniform(Evaluation::default());
        }
        self.yes_or_uniform(self.ask(caller, PolicyRequest::Ask(asked)))
    }

    /// Whether the caller may do this with the service as a whole.
    #[must_use]
    pub fn may(&self, caller: &Caller, action: Action) -> Ruling {
        if !ceiling::may(caller, action) {
            return self.uniform(Evaluation::default());
        }
        self.yes_or_uniform(self.ask(caller, PolicyRequest::Do(action)))
    }

    /// What cannot be asked is denied.
    fn ask(&self, caller: &Caller, wish: PolicyRequest<'_>) -> Evaluation {
        let question = self.names.question(caller, wish);
        question.map_or_else(Evaluation::default, |(request, entities)| {
            self.slices.decide(&request, &entities)
        })
    }

    fn yes_or_uniform(&self, answer: Evaluation) -> Ruling {
        if answer.allowed {
            self.allow(answer)
        } else {
            self.uniform(answer)
        }
    }

    fn allow(&self, answer: Evaluation) -> Ruling {
        Ruling {
            verdict: Ok(()),
            by: self.deciding(answer),
        }
    }

    /// A refusal that says nothing.
    fn uniform(&self, answer: Evaluation) -> Ruling {
        Ruling {
            verdict: Err(Denial::NotTheCallers),
            by: self.deciding(answer),
        }
    }

    /// A refusal in the words of the first policy that forbids, by its id, so that the same question gets the same answer.
    fn deny(&self, answer: Evaluation) -> Ruling {
        let words = answer.ids.first().and_then(|id| self.words.get(id));
        let code = words.and_then(|words| words.code.clone());
        let message = words.and_then(|words| words.message.clone());
        let (code, detail) = if answer.failed {
            (None, "a policy could not be evaluated, so the answer is no")
        } else if answer.ids.is_empty() {
            (None, "no policy permits it")
        } else {
            (code, "a policy forbids it")
        };
        let (otherwise, message) = if answer.failed {
            (Denial::POLICY_ERROR, None)
        } else {
            (Denial::POLICY, message)
        };
        let by = self.deciding(answer);
        Ruling {
            verdict: Err(Denial::Policy {
                code: code.unwrap_or_else(|| otherwise.to_owned()),
                detail: message.unwrap_or_else(|| detail.to_owned()),
                by: by.clone(),
            }),
            by,
        }
    }

    fn deciding(&self, answer: Evaluation) -> PolicyTrace {
        PolicyTrace::new(&self.set, answer.ids, answer.failed)
    }
}
