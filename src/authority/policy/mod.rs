//! Cedar policies decide what a caller may request. The default is deny. A policy allows or denies
//! and never modifies a request; a policy that fails to evaluate denies. The rules that no policy
//! can loosen are in `ceiling` and in `domain::decision`.

mod active;
mod built_in;
mod case_rows;
mod cases;
mod ceiling;
mod engine;
mod error;
mod in_transaction;
mod reload;
mod report;

#[cfg(test)]
mod tests;

pub use active::ActivePolicySet;
pub(super) use active::log_failure;
pub use engine::request::{MintContext, TokenContext};
pub use error::{PolicyError, PolicyFault};
pub(super) use in_transaction::RulingInTransaction;
pub use reload::PolicyWatch;
pub use report::{PolicyReport, ReportLine};

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::domain::decision::policy_trace::PolicyTrace;
use crate::domain::issuance::RowInputs;
pub use crate::domain::issuance::Ruling;
use crate::domain::{Caller, Denial};
use engine::cache::{AskedAction, RequestKey, RulingCache};
use engine::files::Folder;
use engine::index::{Evaluation, Slices};
use engine::load::Loaded;
use engine::request::{EntityNames, PolicyRequest};

/// The warning of a set without cases.
const NO_CASES: &str = "no case in `tests/*.toml`, so nothing shows what the policies do";

/// An action on the service as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Read accounts, the inventory and the ledger.
    Read,
    /// Manage accounts and delegations and withdraw grants: all of them, or those of a reseller's
    /// customers.
    Manage,
    /// Change allocations and exclusions, which belong to the carrier as a whole.
    Provision,
}

/// A set of policies. It never changes; it is replaced as a whole.
#[derive(Debug)]
pub struct PolicySet {
    slices: Slices,
    rulings: RulingCache,
    row_inputs: RowInputs,
    names: EntityNames,
    /// What a refusal by each policy says, by id.
    refusal_texts: HashMap<String, RefusalText>,
    ids: Vec<String>,
    /// The SHA-256 of the files, in hex.
    set: Arc<str>,
    warnings: Vec<PolicyFault>,
}

/// The annotations `@code` and `@message` of a policy.
#[derive(Debug)]
struct RefusalText {
    code: Option<String>,
    message: Option<String>,
}

impl PolicySet {
    /// The policies that come with the service. A test ensures that they are valid.
    pub fn built_in() -> Result<Self, PolicyError> {
        Self::tested(&built_in::folder())
    }

    /// The policies in the `*.cedar` files of a folder, which replace the built-in ones. Their
    /// cases in `tests/*.toml` must pass. The schema is always the service's own, since it
    /// describes the requests that the service makes.
    ///
    /// # Errors
    /// [`PolicyError`] if the folder has no policy or an invalid one, or if a case fails.
    pub fn from_dir(dir: &Path) -> Result<Self, PolicyError> {
        Self::tested(&Folder::read(dir)?)
    }

    /// Loads a set, and runs its cases.
    fn tested(folder: &Folder) -> Result<Self, PolicyError> {
        let mut policy = Self::of(folder, engine::load::load(folder)?)?;
        let cases = cases::read(folder)?;
        let failing: Vec<PolicyFault> = cases
            .iter()
            .filter_map(|case| case.run(&policy).1.err())
            .collect();
        if !failing.is_empty() {
            return Err(PolicyError::Differing(failing));
        }
        if cases.is_empty() {
            policy
                .warnings
                .push(PolicyFault::of(&folder.called, NO_CASES));
        }
        Ok(policy)
    }

    fn of(folder: &Folder, loaded: Loaded) -> Result<Self, PolicyError> {
        let names = EntityNames::new().map_err(PolicyError::Schema)?;
        names.check(&loaded.schema).map_err(PolicyError::Schema)?;
        let slices = Slices::new(&loaded.policies, &names.actions());
        let slices = slices.map_err(|e| PolicyError::Schema(e.to_string()))?;
        let id = |policy: &cedar_policy::Policy| AsRef::<str>::as_ref(policy.id()).to_owned();
        let refusal_texts = loaded.policies.iter().map(|policy| {
            let annotation = |name| policy.annotation(name).map(str::to_owned);
            let text = RefusalText {
                code: annotation("code"),
                message: annotation("message"),
            };
            (id(policy), text)
        });
        let mut ids: Vec<String> = loaded.policies.iter().map(id).collect();
        ids.sort_unstable();
        Ok(Self {
            refusal_texts: refusal_texts.collect(),
            slices,
            rulings: RulingCache::new(loaded.inputs),
            row_inputs: loaded.inputs.rows,
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

    /// The ids of all policies, sorted.
    #[must_use]
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// The facts about rows that the policies refer to. If there is any, tokens are decided in the
    /// transaction that records the grant.
    #[must_use]
    pub const fn row_inputs(&self) -> RowInputs {
        self.row_inputs
    }

    /// A policy trace that names the set, and no policy.
    #[must_use]
    pub fn undecided(&self) -> PolicyTrace {
        self.trace(Evaluation::default())
    }

    /// What does not prevent the use of the set, but should be checked.
    #[must_use]
    pub fn warnings(&self) -> &[PolicyFault] {
        &self.warnings
    }

    /// Whether the caller may get such a token for the account. Whether the account has authority
    /// over the numbers is not checked here.
    ///
    /// The refusal is [`Denial::NotTheCallers`] if the caller may not address the account at all.
    /// Otherwise it is [`Denial::Policy`], with the code of the policy that forbids the request.
    #[must_use]
    pub fn may_mint(&self, caller: &Caller, context: &MintContext<'_>) -> Ruling {
        self.may_mint_by_key(&self.request_key(caller, context), caller, context)
    }

    /// What is needed to ask about one request several times, with other facts about rows.
    fn request_key(&self, caller: &Caller, context: &MintContext<'_>) -> RequestKey {
        self.rulings.request_key(caller, context)
    }

    fn may_mint_by_key(
        &self,
        key: &RequestKey,
        caller: &Caller,
        context: &MintContext<'_>,
    ) -> Ruling {
        if !ceiling::may_mint(caller, context.account, context.token.renewal) {
            return self.uniform_denial(Evaluation::default());
        }
        let decide = || self.decide_mint(caller, context);
        let action = AskedAction::Mint;
        self.rulings
            .get_or_decide(action, key, context.rows, decide)
    }

    fn decide_mint(&self, caller: &Caller, context: &MintContext<'_>) -> Ruling {
        let mint = self.evaluate(caller, PolicyRequest::Mint(context));
        if mint.allowed {
            return self.allow(mint);
        }
        // A caller that may not address the account must not learn of other reasons for the
        // refusal. The audit trail has them.
        let ask = self.evaluate(caller, PolicyRequest::Ask(context));
        if ask.allowed {
            self.deny(mint)
        } else {
            self.uniform_denial(if mint.failed { mint } else { ask })
        }
    }

    /// Whether the caller may address this account at all, and so may see why a token is refused.
    #[must_use]
    pub fn may_ask(&self, caller: &Caller, context: &MintContext<'_>) -> Ruling {
        if !ceiling::may_mint(caller, context.account, context.token.renewal) {
            return self.uniform_denial(Evaluation::default());
        }
        let decide =
            || self.allow_or_uniform_denial(self.evaluate(caller, PolicyRequest::Ask(context)));
        let (action, key) = (AskedAction::Ask, self.request_key(caller, context));
        self.rulings.get_or_decide(action, &key, None, decide)
    }

    /// Whether the caller may do this with the service as a whole.
    #[must_use]
    pub fn may(&self, caller: &Caller, action: Action) -> Ruling {
        if !ceiling::may(caller, action) {
            return self.uniform_denial(Evaluation::default());
        }
        self.allow_or_uniform_denial(self.evaluate(caller, PolicyRequest::Do(action)))
    }

    /// Evaluates the policies. A request that Cedar cannot express is denied.
    fn evaluate(&self, caller: &Caller, request: PolicyRequest<'_>) -> Evaluation {
        let cedar_request = self.names.cedar_request(caller, request);
        cedar_request.map_or_else(Evaluation::default, |(request, entities)| {
            self.slices.decide(&request, &entities)
        })
    }

    fn allow_or_uniform_denial(&self, evaluation: Evaluation) -> Ruling {
        if evaluation.allowed {
            self.allow(evaluation)
        } else {
            self.uniform_denial(evaluation)
        }
    }

    fn allow(&self, evaluation: Evaluation) -> Ruling {
        Ruling {
            verdict: Ok(()),
            by: self.trace(evaluation),
        }
    }

    /// A refusal that gives no reason.
    fn uniform_denial(&self, evaluation: Evaluation) -> Ruling {
        Ruling {
            verdict: Err(Denial::NotTheCallers),
            by: self.trace(evaluation),
        }
    }

    /// A refusal with the code and message of the first forbidding policy by id, so that the same
    /// request always gets the same answer.
    fn deny(&self, evaluation: Evaluation) -> Ruling {
        let text = evaluation.ids.first();
        let text = text.and_then(|id| self.refusal_texts.get(id));
        let code = text.and_then(|text| text.code.clone());
        let message = text.and_then(|text| text.message.clone());
        let (code, detail) = if evaluation.failed {
            (
                None,
                "a policy failed to evaluate, so the request is denied",
            )
        } else if evaluation.ids.is_empty() {
            (None, "no policy permits the request")
        } else {
            (code, "a policy forbids the request")
        };
        let (default_code, message) = if evaluation.failed {
            (Denial::POLICY_ERROR, None)
        } else {
            (Denial::POLICY, message)
        };
        let by = self.trace(evaluation);
        Ruling {
            verdict: Err(Denial::Policy {
                code: code.unwrap_or_else(|| default_code.to_owned()),
                detail: message.unwrap_or_else(|| detail.to_owned()),
                by: by.clone(),
            }),
            by,
        }
    }

    fn trace(&self, evaluation: Evaluation) -> PolicyTrace {
        PolicyTrace::new(&self.set, evaluation.ids, evaluation.failed)
    }
}
