//! What is and was known of one number.

use std::collections::BTreeSet;

use super::scope::Visibility;
use super::{Action, Authority, ChangeError};
use crate::domain::accounts::account::Account;
use crate::domain::clock::Time;
use crate::domain::decision::{self, AccountStanding, Facts, MAX_ROWS};
use crate::domain::inventory::{Allocation, Delegation, Exclusion, Versioned};
use crate::domain::tokens::grant::Grant;
use crate::domain::{AccountId, Caller, NumberRange, Tn};
use crate::store::{GrantFilter, StoreError, Tx, Versions};

/// All that is and was known of one number.
#[derive(Debug, Clone)]
pub struct NumberHistory {
    pub number: Tn,
    pub at: Time,
    /// All versions of all rows that touch the number, oldest first.
    pub allocations: Vec<Allocation>,
    pub delegations: Vec<Delegation>,
    pub exclusions: Vec<Exclusion>,
    /// Whether there are older versions than are listed here.
    pub more: bool,
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
    pub fn look_up(
        &self,
        caller: &Caller,
        number: Tn,
        at: Option<Time>,
    ) -> Result<NumberHistory, ChangeError> {
        self.require(caller, Action::Read)?;
        let now = self.clock.now();
        let at = at.unwrap_or(now);
        // Of the past, what was believed then: that is what a request would have been decided on.
        let then = at.min(now);
        let (numbers, scope) = ([NumberRange::from(number)], Visibility::of(caller));
        self.store.read(|tx| {
            let held_at = Versions::HeldAt { at, believed: then };
            let believed = Facts {
                standing: AccountStanding::Good,
                delegations: tx.delegations_touching(&numbers, held_at, MAX_ROWS)?,
                allocations: tx.allocations_touching(&numbers, held_at, MAX_ROWS)?,
                exclusions: tx.exclusions_touching(&numbers, held_at, MAX_ROWS)?,
                ..Facts::default()
            };
            let accounts = holders(tx, number, at, then, believed)?;
            let mut allocations = tx.allocations_touching(&numbers, Versions::All, MAX_ROWS + 1)?;
            let mut delegations = tx.delegations_touching(&numbers, Versions::All, MAX_ROWS + 1)?;
            let mut exclusions = tx.exclusions_touching(&numbers, Versions::All, MAX_ROWS + 1)?;
            let more = cut(&mut allocations) | cut(&mut delegations) | cut(&mut exclusions);
            let filter = GrantFilter {
                numbers: Some(numbers[0]),
                within: scope.within(tx)?,
                ..GrantFilter::default()
            };
            let mut grants = tx.newest_grants(&filter, 100)?;
            scope.redact(tx, &mut grants)?;
            if let Visibility::AccountSubset(_) = &scope {
                let lent_to = accounts_of(tx, &delegations)?;
                let is_visible =
                    |id: &AccountId| lent_to.iter().any(|a| a.id == *id && scope.holds(a));
                delegations.retain(|row| is_visible(&row.account));
                // What the carrier holds is told to those who were lent some of it, for as long as they were.
                allocations.retain(|row| while_lent(row, &delegations));
                exclusions.retain(|row| while_lent(row, &delegations));
            }
            let accounts = accounts.into_iter().filter(|account| scope.holds(account));
            let accounts = accounts.map(|account| account.id).collect();
            Ok(NumberHistory {
                number,
                at,
                allocations,
                delegations,
                exclusions,
                more,
                accounts,
                grants,
            })
        })
    }
}

/// The accounts that may have a token at an instant, by rows that hold then.
fn holders(
    tx: &mut Tx<'_>,
    number: Tn,
    at: Time,
    then: Time,
    mut held: Facts,
) -> Result<Vec<Account>, StoreError> {
    let mut accounts = accounts_of(tx, &held.delegations)?;
    for account in &accounts {
        if tx.was_suspended(&account.id, then)? {
            held.suspended_above.push(account.id.clone());
        }
    }
    let holders = decision::holders(number, at, &held);
    accounts.retain(|a| holders.contains(&a.id) && !held.suspended_above.contains(&a.id));
    Ok(accounts)
}

/// The accounts that these were lent to, in the order of their ids.
fn accounts_of(tx: &mut Tx<'_>, delegations: &[Delegation]) -> Result<Vec<Account>, StoreError> {
    let ids: BTreeSet<&AccountId> = delegations.iter().map(|row| &row.account).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut accounts = tx.accounts(&ids.into_iter().collect::<Vec<_>>())?;
    accounts.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    Ok(accounts)
}

/// Leaves as many rows as an answer has, and says whether there were more.
fn cut<R>(rows: &mut Vec<R>) -> bool {
    let more = rows.len() > MAX_ROWS;
    if more {
        // They are sorted by their ids, which grow with time.
        rows.drain(..rows.len() - MAX_ROWS);
    }
    more
}

/// Whether a row was known, and held, while one of these loans did.
fn while_lent<R: Versioned>(row: &R, loans: &[Delegation]) -> bool {
    let known_before = |end: Option<Time>| end.is_none_or(|end| row.belief().recorded_at < end);
    loans.iter().any(|loan| {
        loan.window.overlaps(row.window())
            && known_before(loan.window.until())
            && known_before(loan.belief.superseded_at)
    })
}
