//! What is and was known of one number.

use super::{Action, Authority, Refused};
use crate::domain::account::LifetimeMode;
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
    /// Looks a number up, as of now or of a past instant. Blocks.
    ///
    /// # Errors
    /// [`Refused`] if the caller may not read, or the store cannot answer.
    pub fn look_up(&self, caller: &Caller, number: Tn, at: Option<Time>) -> Result<Known, Refused> {
        self.require(caller, Action::Read)?;
        let now = self.clock.now();
        let at = at.unwrap_or(now);
        // Of the past, what was believed then: that is what a request would have been decided on.
        let then = at.min(now);
        let numbers = [NumberRange::from(number)];
        self.store.read(|tx| {
            let allocations = tx.allocations_touching(&numbers, Versions::All, MAX_ROWS)?;
            let delegations = tx.delegations_touching(&numbers, Versions::All, MAX_ROWS)?;
            let exclusions = tx.exclusions_touching(&numbers, Versions::All, MAX_ROWS)?;
            let filter = GrantFilter {
                numbers: Some(numbers[0]),
                ..GrantFilter::default()
            };
            let grants = tx.newest_grants(&filter, 100)?;
            let believed = Facts {
                standing: Standing::Good,
                lifetime: LifetimeMode::default(),
                spcs: Vec::new(),
                delegations: believed(&delegations, then),
                allocations: believed(&allocations, then),
                exclusions: believed(&exclusions, then),
            };
            let mut accounts = Vec::new();
            for account in decision::holders(number, at, &believed) {
                if !tx.was_suspended(&account, then)? {
                    accounts.push(account);
                }
            }
            Ok(Known {
                number,
                at,
                allocations,
                delegations,
                exclusions,
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
