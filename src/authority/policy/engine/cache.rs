//! What was decided before. A set of policies never changes, and what it says to a question follows from the question
//! alone; so the same question again, which is what most callers ask, is answered without Cedar.
//!
//! The time is a part of each question, and never the same again. It counts only as far as some policy looks at it.

use cedar_policy::Policy;
use quick_cache::sync::Cache;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::request::{MintContext, TokenContext, hour_of, weekday_of};
use crate::authority::policy::Ruling;
use crate::domain::clock::Time;
use crate::domain::{AccountId, Caller};

/// How many answers are kept: some 300 bytes each. When there are more, those go that were not asked for again.
const MAX_CACHED: usize = 65_536;

/// SHA-256 of all that an answer follows from.
type CacheKey = [u8; 32];

/// Answers of one set of policies to those who want a token.
#[derive(Debug)]
pub(in crate::authority::policy) struct RulingCache {
    looks: TimeInputs,
    answers: Cache<CacheKey, Ruling>,
}

impl RulingCache {
    /// Nothing is decided yet by policies that look at this.
    pub(in crate::authority::policy) fn by(looks: TimeInputs) -> Self {
        Self {
            looks,
            answers: Cache::new(MAX_CACHED),
        }
    }

    /// What was decided of this before, or is now. An evaluation that failed is tried again the next time: it may have run
    /// out of something.
    pub(in crate::authority::policy) fn or_decide(
        &self,
        caller: &Caller,
        asked: &MintContext<'_>,
        decide: impl FnOnce() -> Ruling,
    ) -> Ruling {
        let question = self.question(caller, asked);
        if let Some(ruling) = self.answers.get(&question) {
            return ruling;
        }
        let ruling = decide();
        if !ruling.by.failed() {
            self.answers.insert(question, ruling.clone());
        }
        ruling
    }

    /// Exhaustive, so that whatever policies are told of one day is a part of the question.
    fn question(&self, caller: &Caller, asked: &MintContext<'_>) -> CacheKey {
        let Caller {
            id,
            role,
            accounts,
            proof: _,
            expires: _,
            request_id: _,
        } = caller;
        let MintContext {
            account,
            is_carrier,
            token,
        } = asked;
        let TokenContext {
            tktype,
            ca,
            lifetime,
            entries,
            numbers,
            largest,
            spcs,
            renewal,
            at,
        } = token;
        let mut digest = Sha256::new();
        // Each with its length in front, so that no two questions are written alike.
        let accounts = accounts.iter().map(AccountId::as_str);
        let tktype = tktype.as_str();
        for text in [id.as_str(), role.as_str(), account.as_str(), tktype]
            .into_iter()
            .chain(accounts)
        {
            digest.update(text.len().to_be_bytes());
            digest.update(text);
        }
        digest.update([is_carrier, ca, renewal].map(|flag| u8::from(*flag)));
        digest.update(lifetime.to_be_bytes());
        for count in [entries, numbers, largest, spcs] {
            digest.update(count.to_be_bytes());
        }
        digest.update(self.looks.see(*at));
        digest.finalize().into()
    }
}

/// Which parts of the time some policy looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::authority::policy) struct TimeInputs {
    time: bool,
    hour: bool,
    weekday: bool,
}

impl TimeInputs {
    const AT_ALL: Self = Self {
        time: true,
        hour: true,
        weekday: true,
    };

    /// Goes as deep as the policies do, so it wants their reader's stack.
    pub(in crate::authority::policy) fn of(policies: &[Policy]) -> Self {
        let mut looks = Self::default();
        for policy in policies {
            match policy.to_json() {
                Ok(policy) => looks.look(&policy),
                // What cannot be read may look at anything.
                Err(_) => return Self::AT_ALL,
            }
        }
        looks
    }

    /// Looks through an expression of Cedar's JSON format: the context is looked at by the name of one of its members, or
    /// else as a whole.
    fn look(&mut self, expression: &Value) {
        match expression {
            Value::Array(parts) => parts.iter().for_each(|part| self.look(part)),
            Value::Object(members) => {
                for (operator, operand) in members {
                    if operator == "Var" && operand == "context" {
                        *self = Self::AT_ALL;
                    } else if let (true, Some(name)) =
                        (matches!(operator.as_str(), "." | "has"), member(operand))
                    {
                        self.time |= name == "time";
                        self.hour |= name == "hour";
                        self.weekday |= name == "weekday";
                    } else {
                        self.look(operand);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// What the policies see of an instant.
    fn see(self, at: Time) -> [u8; 16] {
        let mut seen = [0; 16];
        let (time, rest) = seen.split_at_mut(8);
        let (hour, weekday) = rest.split_at_mut(4);
        if self.time {
            time.copy_from_slice(&at.timestamp().to_be_bytes());
        }
        if self.hour {
            hour.copy_from_slice(&hour_of(at).to_be_bytes());
        }
        if self.weekday {
            weekday.copy_from_slice(&weekday_of(at).to_be_bytes());
        }
        seen
    }
}

/// The name of a member of the context itself, if that is what is looked at.
fn member(operand: &Value) -> Option<&str> {
    let context = operand.get("left")?.get("Var")?.as_str()? == "context";
    context.then(|| operand.get("attr")?.as_str()).flatten()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::domain::clock::from_unix;
    use crate::domain::decision::policy_trace::PolicyTrace;
    use crate::domain::{Denial, TkType};

    fn ruling(verdict: Result<(), Denial>, failed: bool) -> Ruling {
        let by = PolicyTrace::new(&Arc::from("set"), Vec::new(), failed);
        Ruling { verdict, by }
    }

    fn asked(account: &AccountId, lifetime: u32, at: i64) -> MintContext<'_> {
        MintContext {
            account,
            is_carrier: false,
            token: TokenContext {
                tktype: TkType::TnAuthList,
                ca: false,
                lifetime,
                entries: 1,
                numbers: 1,
                largest: 1,
                spcs: 0,
                renewal: false,
                at: from_unix(at),
            },
        }
    }

    #[test]
    fn a_flood_leaves_what_is_asked_again_where_it_is() {
        let decided = RulingCache::by(TimeInputs::default());
        let caller = Caller::the_service(Uuid::nil());
        let account = "acme".parse().expect("an id");
        let yes = ruling(Ok(()), false);
        for lifetime in 0..50 {
            decided.or_decide(&caller, &asked(&account, lifetime, 0), || yes.clone());
        }
        for n in 0..2 * MAX_CACHED {
            if n % 512 == 0 {
                for lifetime in 0..50 {
                    let ask = asked(&account, lifetime, 0);
                    let again = || unreachable!("{lifetime} is forgotten after {n}");
                    assert_eq!(decided.or_decide(&caller, &ask, again), yes);
                }
            }
            let mut question = [0xff; 32];
            question[..8].copy_from_slice(&n.to_be_bytes());
            decided.answers.insert(question, yes.clone());
        }
        assert!(decided.answers.len() <= MAX_CACHED);
    }

    #[test]
    fn what_may_be_another_answer_now_is_decided_again() {
        let caller = Caller::the_service(Uuid::nil());
        let account = "acme".parse().expect("an id");
        let (yes, no) = (
            ruling(Ok(()), false),
            ruling(Err(Denial::NotTheCallers), false),
        );
        let at = |decided: &RulingCache, second: i64, answer: &Ruling| {
            decided.or_decide(&caller, &asked(&account, 60, second), || answer.clone())
        };
        // Policies that look at no clock, and those that look at the hour.
        let decided = RulingCache::by(TimeInputs::default());
        assert_eq!(at(&decided, 0, &yes), yes);
        assert_eq!(at(&decided, 3_600, &no), yes);
        let decided = RulingCache::by(TimeInputs {
            hour: true,
            ..TimeInputs::default()
        });
        assert_eq!(at(&decided, 0, &yes), yes);
        assert_eq!(at(&decided, 3_599, &no), yes);
        assert_eq!(at(&decided, 3_600, &no), no);
        // An evaluation that failed is not kept.
        let failed = ruling(Err(Denial::NotTheCallers), true);
        assert_eq!(at(&decided, 7_200, &failed), failed);
        assert_eq!(at(&decided, 7_200, &yes), yes);
    }
}
