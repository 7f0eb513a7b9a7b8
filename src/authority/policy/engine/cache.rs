//! A cache of decisions. A set of policies never changes, and its decision depends on the request
//! alone, so a repeated request, which is the usual kind, is decided without Cedar.
//!
//! The time is part of a request and never repeats, so only those parts of it are in the key that
//! some policy refers to. The same is true of facts about rows, whose ages are rounded for it.

use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};

use super::inputs::ContextInputs;
use super::request::{MintContext, TokenContext};
use crate::domain::control::facts::{ControlFacts, KeyControl};
use crate::domain::issuance::{RowFacts, RowInputs, Ruling};
use crate::domain::{AccountId, Caller};

/// How many decisions are kept, at some 300 bytes each. When the cache is full, entries that were
/// not requested again are evicted first.
const MAX_CACHED: usize = 65_536;

/// SHA-256 of everything that a decision depends on.
type CacheKey = [u8; 32];

/// The part of a key that is known when a request is made, hashed once however often the policies
/// are asked about it.
#[derive(Debug, Clone)]
pub(in crate::authority::policy) struct RequestKey(Sha256);

/// Decisions of one set of policies on token requests.
#[derive(Debug)]
pub(in crate::authority::policy) struct RulingCache {
    inputs: ContextInputs,
    rulings: Cache<CacheKey, Ruling>,
}

/// Which question about a token request a decision answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::authority::policy) enum AskedAction {
    Ask,
    Mint,
}

impl RulingCache {
    /// An empty cache, for policies that refer to these parts of the context.
    pub(in crate::authority::policy) fn new(inputs: ContextInputs) -> Self {
        Self {
            inputs,
            rulings: Cache::new(MAX_CACHED),
        }
    }

    /// The cached decision, or a new one. A failed evaluation is not cached, since it may have
    /// failed for lack of a resource.
    pub(in crate::authority::policy) fn get_or_decide(
        &self,
        action: AskedAction,
        request: &RequestKey,
        rows: Option<&RowFacts>,
        decide: impl FnOnce() -> Ruling,
    ) -> Ruling {
        let key = self.key(action, request, rows);
        if let Some(ruling) = self.rulings.get(&key) {
            return ruling;
        }
        let ruling = decide();
        if !ruling.by.failed() {
            self.rulings.insert(key, ruling.clone());
        }
        ruling
    }

    fn key(&self, action: AskedAction, request: &RequestKey, rows: Option<&RowFacts>) -> CacheKey {
        let RequestKey(mut digest) = request.clone();
        digest.update([match action {
            AskedAction::Ask => 0,
            AskedAction::Mint => 1,
        }]);
        // Only `mint` sees rows.
        if let (AskedAction::Mint, Some(rows)) = (action, rows) {
            add_rows(&mut digest, self.inputs.rows, rows);
        }
        digest.finalize().into()
    }

    /// Destructures its input without `..`, so that a new field cannot be forgotten in the key.
    pub(in crate::authority::policy) fn request_key(
        &self,
        caller: &Caller,
        context: &MintContext<'_>,
    ) -> RequestKey {
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
            rows: _,
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
        digest.update(self.inputs.time.of_time(*at));
        RequestKey(digest)
    }
}

/// Adds the facts that the policies refer to. Destructures as `key` does; what of a fact policies
/// do not see is named and left out.
fn add_rows(digest: &mut Sha256, inputs: RowInputs, rows: &RowFacts) {
    let RowFacts {
        control,
        key_age,
        delegation_age,
        first,
    } = rows;
    let ControlFacts {
        proven,
        age,
        methods,
        for_key,
        numbers: _,
        is_sample: _,
        total: _,
    } = control;
    if inputs.control {
        let KeyControl {
            proven: key_proven,
            age: key_age,
            methods: key_methods,
        } = for_key;
        for (proven, age, methods) in [(proven, age, methods), (key_proven, key_age, key_methods)] {
            let methods = methods.iter().map(|method| method.as_str());
            digest.update([u8::from(*proven), u8::from(age.is_some())]);
            digest.update(age.unwrap_or_default().to_be_bytes());
            for method in methods {
                digest.update(method.len().to_be_bytes());
                digest.update(method);
            }
            digest.update(usize::MAX.to_be_bytes());
        }
    }
    for (is_input, age) in [
        (inputs.key_age, key_age),
        (inputs.delegation_age, delegation_age),
    ] {
        digest.update(if is_input { *age } else { 0 }.to_be_bytes());
    }
    digest.update([u8::from(inputs.first && *first)]);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::authority::policy::engine::inputs::TimeInputs;
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
            rows: None,
        }
    }

    fn ask(
        cache: &RulingCache,
        caller: &Caller,
        context: &MintContext<'_>,
        decide: impl FnOnce() -> Ruling,
    ) -> Ruling {
        let key = cache.request_key(caller, context);
        cache.get_or_decide(AskedAction::Mint, &key, None, decide)
    }

    #[test]
    fn a_flood_of_requests_does_not_evict_repeated_ones() {
        let cache = RulingCache::new(ContextInputs::default());
        let caller = Caller::the_service(Uuid::nil());
        let account = "acme".parse().expect("an id");
        let yes = ruling(Ok(()), false);
        for lifetime in 0..50 {
            ask(&cache, &caller, &context(&account, lifetime, 0), || {
                yes.clone()
            });
        }
        for n in 0..2 * MAX_CACHED {
            if n % 512 == 0 {
                for lifetime in 0..50 {
                    let request = context(&account, lifetime, 0);
                    let again = || unreachable!("{lifetime} is evicted after {n}");
                    assert_eq!(ask(&cache, &caller, &request, again), yes);
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
            ask(cache, &caller, &context(&account, 60, second), || {
                ruling.clone()
            })
        };
        // Policies that do not refer to the time, and those that refer to the hour.
        let cache = RulingCache::new(ContextInputs::default());
        assert_eq!(at(&cache, 0, &yes), yes);
        assert_eq!(at(&cache, 3_600, &no), yes);
        let time = TimeInputs {
            hour: true,
            ..TimeInputs::default()
        };
        let cache = RulingCache::new(ContextInputs {
            time,
            ..ContextInputs::default()
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
