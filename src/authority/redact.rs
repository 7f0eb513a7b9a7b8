//! The part of a grant that a reseller may know: its own loans and those of its customers, the allocations, which each of
//! them is told of, and whoever asked, if that was a key of theirs.

use std::collections::HashSet;

use super::scope::Visibility;
use crate::domain::AccountId;
use crate::domain::tokens::grant::{Grant, Justification};
use crate::store::{StoreError, Tx};

impl Visibility {
    /// Takes out of grants what the caller may not know.
    pub(super) fn redact(&self, tx: &mut Tx<'_>, grants: &mut [Grant]) -> Result<(), StoreError> {
        if *self == Self::Everything || grants.is_empty() {
            return Ok(());
        }
        let rows = grants.iter().flat_map(|grant| &grant.justified_by);
        let loans: HashSet<_> = rows
            .filter_map(|row| match row {
                Justification::Delegation(row) => Some(row.id),
                Justification::Allocation(_) | Justification::Renewal(_) => None,
            })
            .collect();
        let lent_to = tx.accounts_of_delegations(&loans.into_iter().collect::<Vec<_>>())?;
        let callers: HashSet<&str> = grants.iter().map(|grant| grant.caller.as_str()).collect();
        let speaks_for = tx.accounts_of_api_keys(&callers.into_iter().collect::<Vec<_>>())?;

        let named: HashSet<&AccountId> = lent_to
            .values()
            .chain(speaks_for.values().flatten())
            .collect();
        let known = tx.accounts(&named.into_iter().collect::<Vec<_>>())?;
        let own = known.into_iter().filter(|account| self.holds(account));
        let own: HashSet<AccountId> = own.map(|account| account.id).collect();
        for grant in grants {
            grant.justified_by.retain(|row| match row {
                Justification::Delegation(row) => lent_to
                    .get(&row.id)
                    .is_some_and(|account| own.contains(account)),
                Justification::Allocation(_) | Justification::Renewal(_) => true,
            });
            // A key that speaks for nobody is the carrier's.
            let is_theirs = speaks_for
                .get(&grant.caller)
                .is_some_and(|accounts| accounts.iter().all(|account| own.contains(account)));
            if !is_theirs {
                grant.caller.clear();
            }
        }
        Ok(())
    }
}
