//! What a reseller sees of a grant: its own delegations and those of its customers; the
//! allocations, which are visible to all account holders; and the caller, if that is one of their
//! keys.

use std::collections::HashSet;

use super::scope::Visibility;
use crate::domain::AccountId;
use crate::domain::tokens::grant::{Grant, Justification};
use crate::store::{StoreError, Tx};

impl Visibility {
    /// Removes from grants what the caller may not see.
    pub(super) fn redact(&self, tx: &mut Tx<'_>, grants: &mut [Grant]) -> Result<(), StoreError> {
        if *self == Self::Everything || grants.is_empty() {
            return Ok(());
        }
        // One query a table for all grants of the page.
        let rows = grants.iter().flat_map(|grant| &grant.justified_by);
        let delegations: HashSet<_> = rows
            .filter_map(|row| match row {
                Justification::Delegation(row) => Some(row.id),
                Justification::Allocation(_) | Justification::Renewal(_) => None,
            })
            .collect();
        let delegates = tx.accounts_of_delegations(&delegations.into_iter().collect::<Vec<_>>())?;
        let callers: HashSet<&str> = grants.iter().map(|grant| grant.caller.as_str()).collect();
        let accounts_of_keys = tx.accounts_of_api_keys(&callers.into_iter().collect::<Vec<_>>())?;

        let mentioned: HashSet<&AccountId> = delegates
            .values()
            .chain(accounts_of_keys.values().flatten())
            .collect();
        let known = tx.accounts(&mentioned.into_iter().collect::<Vec<_>>())?;
        let visible = known.into_iter().filter(|account| self.holds(account));
        let visible: HashSet<AccountId> = visible.map(|account| account.id).collect();
        for grant in grants {
            grant.justified_by.retain(|row| match row {
                Justification::Delegation(row) => delegates
                    .get(&row.id)
                    .is_some_and(|account| visible.contains(account)),
                Justification::Allocation(_) | Justification::Renewal(_) => true,
            });
            // A key that is not bound to any account belongs to the carrier.
            let is_visible = accounts_of_keys
                .get(&grant.caller)
                .is_some_and(|accounts| accounts.iter().all(|account| visible.contains(account)));
            if !is_visible {
                grant.caller.clear();
            }
        }
        Ok(())
    }
}
