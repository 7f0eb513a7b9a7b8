//! What a batch depends on apart from numbers: its accounts, the API keys of its callers, and the
//! chains that must not sign.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::rows::EarlyProofs;
use crate::domain::AccountId;
use crate::domain::accounts::account::Account;
use crate::domain::credentials::api_key::KeyValidity;
use crate::domain::issuance::RuledRequest;
use crate::domain::signing::distrust::DistrustedChain;
use crate::store::error::StoreError;
use crate::store::tables::accounts::{WithSuspension, accounts_among};
use crate::store::tables::api_keys::{validities_among, with_id};
use crate::store::tables::distrusted_chains::{distrusted_and_valid, with_codes};
use crate::store::tables::together::load_together;
use crate::store::tx::Tx;

/// The rows of accounts, of distrusted chains and of API keys.
type PartyRows<K> = (Vec<WithSuspension>, Vec<(String, String)>, Vec<K>);

#[derive(Debug, Default)]
pub(super) struct Parties {
    accounts: HashMap<AccountId, Account>,
    /// Those of the resellers above the accounts that are suspended.
    suspended_above: HashSet<AccountId>,
    distrusted: Arc<[DistrustedChain]>,
    keys: HashMap<String, KeyValidity>,
}

impl Parties {
    /// Reads what these requests depend on, and when these API keys are valid; and proofs of
    /// control, if there are any to read early. What this replica has in memory of distrusted
    /// chains may be older.
    pub(super) fn load<'a>(
        tx: &mut Tx<'_>,
        requests: impl Iterator<Item = &'a RuledRequest> + Clone,
        api_keys: &[&str],
        early: &mut EarlyProofs,
    ) -> Result<Self, StoreError> {
        let Some(first) = requests.clone().map(|request| request.now).min() else {
            let keys = if api_keys.is_empty() {
                HashMap::new()
            } else {
                tx.key_validities(api_keys)?.into_iter().collect()
            };
            return Ok(Self {
                keys,
                ..Self::default()
            });
        };
        let ids: HashSet<&str> = requests.map(|request| request.account.as_str()).collect();
        let accounts = accounts_among!(ids);
        let distrusted = distrusted_and_valid!(first);
        let keys = validities_among!(api_keys.iter().copied());
        let (accounts, distrusted, keys): PartyRows<_> = if early.probes().is_empty() {
            load_together!(tx, accounts, distrusted, keys)?
        } else {
            let proofs = early.probes().query();
            let (accounts, distrusted, keys, proofs) =
                load_together!(tx, accounts, distrusted, keys, proofs)?;
            early.add(proofs)?;
            (accounts, distrusted, keys)
        };
        let accounts: HashMap<AccountId, Account> = accounts
            .into_iter()
            .map(|row| Account::try_from(row).map(|account| (account.id.clone(), account)))
            .collect::<Result<_, _>>()?;
        let distrusted: Vec<DistrustedChain> = distrusted
            .into_iter()
            .map(with_codes)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            suspended_above: suspended_above(tx, accounts.values())?,
            accounts,
            distrusted: distrusted.into(),
            keys: keys.into_iter().map(with_id).collect(),
        })
    }

    pub(super) fn account(&self, id: &AccountId) -> Option<&Account> {
        self.accounts.get(id)
    }

    /// The resellers above an account that are suspended.
    pub(super) fn suspended_above(&self, account: &Account) -> Vec<AccountId> {
        let above = account.above.iter();
        let suspended = above.filter(|id| self.suspended_above.contains(*id));
        suspended.cloned().collect()
    }

    pub(super) fn distrusted(&self) -> Arc<[DistrustedChain]> {
        Arc::clone(&self.distrusted)
    }

    pub(super) const fn keys(&self) -> &HashMap<String, KeyValidity> {
        &self.keys
    }
}

fn suspended_above<'a>(
    tx: &mut Tx<'_>,
    accounts: impl Iterator<Item = &'a Account>,
) -> Result<HashSet<AccountId>, StoreError> {
    let above: HashSet<&AccountId> = accounts.flat_map(|account| &account.above).collect();
    if above.is_empty() {
        return Ok(HashSet::new());
    }
    let above = tx.accounts(&above.into_iter().collect::<Vec<_>>())?;
    let suspended = above.into_iter().filter(|a| a.suspended_since.is_some());
    Ok(suspended.map(|account| account.id).collect())
}
