//! Who could get a token for a number: the rule for one number and one instant.

use std::collections::BTreeSet;

use super::delegation_chain::DelegationChain;
use super::{Facts, departures};
use crate::domain::accounts::account::AccountId;
use crate::domain::clock::Time;
use crate::domain::inventory::{Delegation, InventoryRow};
use crate::domain::numbers::number::Tn;

/// The accounts that could get a token for a number at an instant, by these rows alone, ordered by
/// id. `facts.delegations` must contain those of all accounts.
#[must_use]
pub fn holders(number: Tn, at: Time, facts: &Facts) -> Vec<AccountId> {
    fn covers<R: InventoryRow>(row: &R, number: Tn, at: Time) -> bool {
        row.numbers().contains(number) && row.window().contains(at)
    }
    let mut allocations = facts.allocations.iter();
    let mut exclusions = facts.exclusions.iter();
    if !allocations.any(|row| covers(row, number, at))
        || exclusions.any(|row| covers(row, number, at))
    {
        return Vec::new();
    }
    let left = |row: &Delegation| {
        let mut departures = facts.departures.iter();
        departures.any(|departure| {
            departure.at <= at
                && departure.numbers.contains(number)
                && departures::ends(departure, row)
        })
    };
    let delegated_on = |account: &AccountId| {
        facts.delegations.iter().any(|row| {
            let from = row.cut_from.as_ref();
            from.is_some_and(|from| from.lender == *account && !from.lender_keeps)
                && covers(row, number, at)
                && !left(row)
        })
    };
    let accounts: BTreeSet<&AccountId> = facts.delegations.iter().map(|row| &row.account).collect();
    let holders = accounts.into_iter().filter(|account| {
        let mut chains = DelegationChain::all_of(account, facts).into_iter();
        chains.any(|chain| {
            !chain.lender_suspended
                && covers(&chain, number, at)
                && !chain.delegations().iter().any(|row| left(row))
        }) && !delegated_on(account)
    });
    holders.cloned().collect()
}
