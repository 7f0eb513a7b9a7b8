//! What is and was known of one number.

use std::collections::BTreeSet;

use super::scope::Scope;
use super::{Action, Authority, Refused};
use crate::domain::clock::Time;
use crate::domain::decision::{self, Facts, MAX_ROWS, Standing};
use crate::domain::grant::Grant;
use crate::domain::inventory::{Allocation, Delegation, Exclusion, Versioned};
use crate::domain::{AccountId, Caller, NumberRange, Tn};
use crate::store::{GrantFilter, Versions};

/// All that is and was known of one number.
#[derive(Debug, Clone)]
pub struct Known {
    pub number: Tn,
    pub at: Time,
    /// All versions of all rows that touch the number, oldest first.
    pub allocations: Vec<Allocation>,
    pub delegations: Vec<Delegation>,
    pub exclusions: Vec<Exclusion>,
    /// The accounts that may have a token for it at `at`; of the past, as far as was known then.
    pub accounts: Vec<AccountId>,
    /// The newest grants that name it, the last one first.
    pub grants: Vec<Grant>,
}

impl Authority {
    /// Looks a number up, as of now or of a past instant. A reseller sees what it and its customers have to do with the
    /// number, and nothing if that is nothing. Blocks.
    ///
    /// # Errors
    /// [`Refused`] if the caller may not read, or the store cannot answer.
    pub fn look_up(&self, caller: &Caller, number: Tn, at: Option<Time>) -> Result<Known, Refused> {
        self.require(caller, Action::Read)?;
        let now = self.clock.now();
        let at = at.unwrap_or(now);
        // Of the past, what was believed then: that is what a request would have been decided on.
        let then = at.min(now);
        let (numbers, scope) = ([NumberRange::from(number)], Scope::of(caller));
        self.store.read(|tx| {
            let allocations = tx.allocations_touching(&numbers, Versions::All, MAX_ROWS)?;
            let mut delegations = tx.delegations_touching(&numbers, Versions::All, MAX_ROWS)?;
            let exclusions = tx.exclusions_touching(&numbers, Versions::All, MAX_ROWS)?;
            let filter = GrantFilter {
                numbers: Some(numbers[0]),
                within: scope.roots(tx)?,
                ..GrantFilter::default()
            };
            let grants = tx.newest_grants(&filter, 100)?;
            let lent_to: BTreeSet<&AccountId> =
                delegations.iter().map(|row| &row.account).collect();
            let lent_to = tx.accounts(&lent_to.into_iter().collect::<Vec<_>>())?;
            let mut suspended = Vec::new();
            for account in &lent_to {
                if tx.was_suspended(&account.id, then)? {
                    suspended.push(account.id.clone());
                }
            }
            let believed = Facts {
                standing: Standing::Good,
                suspended_above: suspended.clone(),
                spcs: Vec::new(),
                delegations: believed(&delegations, then),
                lent_on: Vec::new(),
                allocations: believed(&allocations, then),
                exclusions: believed(&exclusions, then),
            };
            let mut accounts = decision::holders(number, at, &believed);
            accounts.retain(|account| !suspended.contains(account));

            let is_visible = |id: &AccountId| lent_to.iter().any(|a| a.id == *id && scope.holds(a));
            delegations.retain(|row| is_visible(&row.account));
            accounts.retain(is_visible);
            // What the carrier holds is told to those who were lent some of it.
            let is_lent = scope == Scope::Everything || !delegations.is_empty();
            Ok(Known {
                number,
                at,
                allocations: if is_lent { allocations } else { Vec::new() },
                delegations,
                exclusions: if is_lent { exclusions } else { Vec::new() },
                accounts,
                grants,
            })
        })
    }
}

/// The versions that were believed at an instant.
fn believed<T: Versioned + Clone>(rows: &[T], at: Time) -> Vec<T> {
    let believed = rows.iter().filter(|row| {
        let belief = row.belief();
        belief.recorded_at <= at
            && belief
                .superseded_at
                .is_none_or(|superseded| at < superseded)
    });
    believed.cloned().collect()
}
