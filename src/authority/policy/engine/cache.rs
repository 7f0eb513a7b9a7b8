//! A cache of decisions. A set of policies never changes, and its decision depends on the request
//! alone, so a repeated request, which is the usual kind, is decided without Cedar.
//!
//! The time is part of a request and never repeats, so only those parts of it are in the key that
//! some policy refers to.

use cedar_policy::Policy;
use quick_cache::sync::Cache;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::request::{MintContext, TokenContext, hour_of, weekday_of};
use crate::authority::policy::Ruling;
use crate::domain::clock::Time;
use crate::domain::{AccountId, Caller};

/// How many decisions are kept, at some 300 bytes each. When the cache is full, entries that were
/// not requested again are evicted first.
const MAX_CACHED: usize = 65_536;

/// SHA-256 of everything that a decision depends on.
type CacheKey = [u8; 32];

/// Decisions of one set of policies on token requests.
#[derive(Debug)]
pub(in crate::authority::policy) struct RulingCache {
    time_inputs: TimeInputs,
    rulings: Cache<CacheKey, Ruling>,
}

impl RulingCache {
    /// An empty cache, for policies that refer to these parts of the time.
    pub(in crate::authority::policy) fn new(time_inputs: TimeInputs) -> Self {
        Self {
            time_inputs,
            rulings: Cache::new(MAX_CACHED),
        }
    }

    /// The cached decision, or a new one. A failed evaluation is not cached, since it may have
    /// failed for lack of a resource.
    pub(in crate::authority::policy) fn get_or_decide(
        &self,
        caller: &Caller,
        context: &MintContext<'_>,
        decide: impl FnOnce() -> Ruling,
    ) -> Ruling {
        let key = self.key(caller, context);
        if let Some(ruling) = self.rulings.get(&key) {
            return ruling;
        }
        let ruling = decide();
        if !ruling.by.failed() {
            self.rulings.insert(key, ruling.clone());
        }
        ruling
    }

    /// Destructures its input without `..`, so that a new field cannot be forgotten in the key.
    fn key(&self, caller: &Caller, context: &MintContext<'_>) -> CacheKey {
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
        } = context;
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
        // Each text is preceded by its length, so that different requests never hash the same
        // bytes.
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
        digest.update(self.time_inputs.of_time(*at));
        digest.finalize().into()
    }
}

/// The parts of the time that some policy refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::authority::policy) struct TimeInputs {
    time: bool,
    hour: bool,
    weekday: bool,
}

impl TimeInputs {
    const ALL: Self = Self {
        time: true,
        hour: true,
        weekday: true,
    };

    /// Recurses as deep as the policies are nested, so it has to run on the large stack of their
    /// loader.
    pub(in crate::authority::policy) fn of(policies: &[Policy]) -> Self {
        let mut inputs = Self::default();
        for policy in policies {
            match policy.to_json() {
                Ok(policy) => inputs.scan(&policy),
                // Assume the worst.
                Err(_) => return Self::ALL,
            }
        }
        inputs
    }

    /// Scans an expression in Cedar's JSON format. A policy refers either to a member of the
    /// context by name, or to the context as a whole, and then to all parts of the time.
    fn scan(&mut self, expression: &Value) {
        match expression {
            Value::Array(parts) => parts.iter().for_each(|part| self.scan(part)),
            Value::Object(members) => {
                for (operator, operand) in members {
                    if operator == "Var" && operand == "context" {
                        *self = Self::ALL;
                    } else if let (true, Some(name)) =
                        (matches!(operator.as_str(), "." | "has"), member(operand))
                    {
                        self.time |= name == "time";
                        self.hour |= name == "hour";
                        self.weekday |= name == "weekday";
                    } else {
                        self.scan(operand);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// The parts of an instant that the policies refer to; the other bytes are zero.
    fn of_time(self, at: Time) -> [u8; 16] {
        let mut parts = [0; 16];
        let (time, rest) = parts.split_at_mut(8);
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
        parts
    }
}

/// The name of a member of the context, if the operand refers to one.
fn member(operand: &Value) -> Option<&str> {
    let is_context = operand.get("left")?.get("Var")?.as_str()? == "context";
    is_context.then(|| operand.get("attr")?.as_str()).flatten()
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

    fn context(account: &AccountId, lifetime: u32, at: i64) -> MintContext<'_> {
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
    fn a_flood_of_requests_does_not_evict_repeated_ones() {
        let cache = RulingCache::new(TimeInputs::default());
        let caller = Caller::the_service(Uuid::nil());
        let account = "acme".parse().expect("an id");
        let yes = ruling(Ok(()), false);
        for lifetime in 0..50 {
            cache.get_or_decide(&caller, &context(&account, lifetime, 0), || yes.clone());
        }
        for n in 0..2 * MAX_CACHED {
            if n % 512 == 0 {
                for lifetime in 0..50 {
                    let request = context(&account, lifetime, 0);
                    let again = || unreachable!("{lifetime} is evicted after {n}");
                    assert_eq!(cache.get_or_decide(&caller, &request, again), yes);
                }
            }
            let mut key = [0xff; 32];
            key[..8].copy_from_slice(&n.to_be_bytes());
            cache.rulings.insert(key, yes.clone());
        }
        assert!(cache.rulings.len() <= MAX_CACHED);
    }

    #[test]
    fn a_decision_that_may_have_changed_is_made_again() {
        let caller = Caller::the_service(Uuid::nil());
        let account = "acme".parse().expect("an id");
        let (yes, no) = (
            ruling(Ok(()), false),
            ruling(Err(Denial::NotTheCallers), false),
        );
        let at = |cache: &RulingCache, second: i64, ruling: &Ruling| {
            cache.get_or_decide(&caller, &context(&account, 60, second), || ruling.clone())
        };
        // Policies that do not refer to the time, and those that refer to the hour.
        let cache = RulingCache::new(TimeInputs::default());
        assert_eq!(at(&cache, 0, &yes), yes);
        assert_eq!(at(&cache, 3_600, &no), yes);
        let cache = RulingCache::new(TimeInputs {
            hour: true,
            ..TimeInputs::default()
        });
        assert_eq!(at(&cache, 0, &yes), yes);
        assert_eq!(at(&cache, 3_599, &no), yes);
        assert_eq!(at(&cache, 3_600, &no), no);
        // A failed evaluation is not cached.
        let failed = ruling(Err(Denial::NotTheCallers), true);
        assert_eq!(at(&cache, 7_200, &failed), failed);
        assert_eq!(at(&cache, 7_200, &yes), yes);
    }
}
