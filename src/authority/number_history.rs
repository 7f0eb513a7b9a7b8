//! The past and present of one number.

use std::collections::BTreeSet;

use super::departures::MAX_WITH_ENDED;
use super::scope::Visibility;
use super::{Action, Authority, ChangeError};
use crate::domain::accounts::account::Account;
use crate::domain::clock::Time;
use crate::domain::decision::{self, AccountStanding, Facts, MAX_ROWS};
use crate::domain::inventory::departure::Departure;
use crate::domain::inventory::{Allocation, Delegation, Exclusion, Versioned};
use crate::domain::tokens::grant::Grant;
use crate::domain::{AccountId, Caller, NumberRange, Tn};
use crate::store::{GrantFilter, StoreError, Tx, Versions};

/// The most grants that are listed.
const MAX_GRANTS: u16 = 100;

/// All that is and was known about one number.
#[derive(Debug, Clone)]
pub struct NumberHistory {
    pub number: Tn,
    pub at: Time,
    /// All versions of all rows that overlap the number, oldest first.
    pub allocations: Vec<Allocation>,
    pub delegations: Vec<Delegation>,
    pub exclusions: Vec<Exclusion>,
    /// When the number left; delegations that were made before have ended for it.
    pub departures: Vec<Departure>,
    /// Whether older versions, older grants or accounts were left out.
    pub more: bool,
    /// The accounts that could get a token for the number at `at`; for a past instant, by what was
    /// recorded then.
    pub accounts: Vec<AccountId>,
    /// The newest grants that name it, newest first.
    pub grants: Vec<Grant>,
}

impl Authority {
    /// Looks up a number, as of now or of another instant. A reseller sees only what concerns
    /// itself and its customers. Blocks.
    pub fn look_up(
        &self,
        caller: &Caller,
        number: Tn,
        at: Option<Time>,
    ) -> Result<NumberHistory, ChangeError> {
        self.require(caller, Action::Read)?;
        let now = self.clock.now();
        let at = at.unwrap_or(now);
        // For a past instant, use what the service believed then: a request would have been decided
        // on that.
        let believed_at = at.min(now);
        let (numbers, scope) = ([NumberRange::from(number)], Visibility::of(caller));
        self.store.read(|tx| {
            let valid_at = Versions::HeldAt {
                at,
                believed: believed_at,
            };
            let mut believed = Facts {
                standing: AccountStanding::Good,
                delegations: tx.delegations_touching(&numbers, valid_at, MAX_ROWS + 1)?,
                allocations: tx.allocations_touching(&numbers, valid_at, MAX_ROWS + 1)?,
                exclusions: tx.exclusions_touching(&numbers, valid_at, MAX_ROWS + 1)?,
                departures: tx.departures_touching(&numbers, valid_at, MAX_ROWS + 1)?,
                ..Facts::default()
            };
            if believed.delegations.len() > MAX_ROWS {
                let limit = MAX_WITH_ENDED;
                let all = tx.delegations_touching(&numbers, valid_at, limit)?;
                believed.delegations = not_ended(all, &believed.departures, at);
            }
            let accounts_left_out = believed.exceeds(MAX_ROWS);
            let accounts = holders(tx, number, at, believed_at, believed)?;
            // One more than is shown, to learn whether there are more.
            let mut allocations = tx.allocations_touching(&numbers, Versions::All, MAX_ROWS + 1)?;
            let mut delegations = tx.delegations_touching(&numbers, Versions::All, MAX_ROWS + 1)?;
            let mut exclusions = tx.exclusions_touching(&numbers, Versions::All, MAX_ROWS + 1)?;
            let mut departures = tx.departures_touching(&numbers, Versions::All, MAX_ROWS + 1)?;
            let rows_left_out = truncate_rows(&mut departures)
                | truncate_rows(&mut allocations)
                | truncate_rows(&mut delegations)
                | truncate_rows(&mut exclusions);
            let filter = GrantFilter {
                numbers: Some(numbers[0]),
                within: scope.within(tx)?,
                ..GrantFilter::default()
            };
            let mut grants = tx.newest_grants(&filter, MAX_GRANTS + 1)?;
            let grants_left_out = grants.len() > usize::from(MAX_GRANTS);
            grants.truncate(MAX_GRANTS.into());
            scope.redact(tx, &mut grants)?;
            if let Visibility::AccountSubset(_) = &scope {
                let delegates = accounts_of(tx, &delegations)?;
                let is_visible =
                    |id: &AccountId| delegates.iter().any(|a| a.id == *id && scope.holds(a));
                delegations.retain(|row| is_visible(&row.account));
                // Account holders see the carrier's own rows only for the time in which they held
                // the numbers.
                allocations.retain(|row| overlaps_any(row, &delegations));
                exclusions.retain(|row| overlaps_any(row, &delegations));
                departures.retain(|departure| {
                    let mut delegations = delegations.iter();
                    delegations.any(|row| decision::departures::ends(departure, row))
                });
            }
            let accounts = accounts.into_iter().filter(|account| scope.holds(account));
            let accounts = accounts.map(|account| account.id).collect();
            Ok(NumberHistory {
                number,
                at,
                allocations,
                delegations,
                exclusions,
                more: rows_left_out || grants_left_out || accounts_left_out,
                departures,
                accounts,
                grants,
            })
        })
    }
}

/// The accounts that could get a token at `at`, by the rows that were valid then.
fn holders(
    tx: &mut Tx<'_>,
    number: Tn,
    at: Time,
    believed_at: Time,
    mut facts: Facts,
) -> Result<Vec<Account>, StoreError> {
    let mut accounts = accounts_of(tx, &facts.delegations)?;
    for account in &accounts {
        if tx.was_suspended(&account.id, believed_at)? {
            facts.suspended_above.push(account.id.clone());
        }
    }
    let holders = decision::holders(number, at, &facts);
    accounts.retain(|a| holders.contains(&a.id) && !facts.suspended_above.contains(&a.id));
    Ok(accounts)
}

/// The delegations that have not ended by then because their numbers left.
fn not_ended(mut rows: Vec<Delegation>, departures: &[Departure], at: Time) -> Vec<Delegation> {
    let counts = |row: &Delegation| {
        let parts = decision::departures::parts_of(row, departures);
        parts.iter().any(|part| part.counts_at(at))
    };
    rows.retain(counts);
    rows
}

/// The accounts of these delegations, ordered by id.
fn accounts_of(tx: &mut Tx<'_>, delegations: &[Delegation]) -> Result<Vec<Account>, StoreError> {
    let ids: BTreeSet<&AccountId> = delegations.iter().map(|row| &row.account).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut accounts = tx.accounts(&ids.into_iter().collect::<Vec<_>>())?;
    accounts.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    Ok(accounts)
}

/// Drops the oldest rows beyond [`MAX_ROWS`]. Returns whether there were any.
fn truncate_rows<R>(rows: &mut Vec<R>) -> bool {
    let more = rows.len() > MAX_ROWS;
    if more {
        // Rows are sorted by id or sequence, and both grow with time.
        rows.drain(..rows.len() - MAX_ROWS);
    }
    more
}

/// Whether a row was recorded, and valid, while one of these delegations was.
fn overlaps_any<R: Versioned>(row: &R, delegations: &[Delegation]) -> bool {
    let known_before = |end: Option<Time>| end.is_none_or(|end| row.belief().recorded_at < end);
    delegations.iter().any(|delegation| {
        delegation.window.overlaps(row.window())
            && known_before(delegation.window.until())
            && known_before(delegation.belief.superseded_at)
    })
}
