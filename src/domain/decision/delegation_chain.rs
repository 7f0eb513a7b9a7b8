//! A delegation together with those that it is cut from, up to the carrier.

use std::collections::HashMap;

use uuid::Uuid;

use super::Facts;
use crate::domain::accounts::account::{Account, AccountId};
use crate::domain::clock::Time;
use crate::domain::inventory::window::Window;
use crate::domain::inventory::{Delegation, InventoryRow, RowRef};
use crate::domain::numbers::number::NumberRange;

/// A delegation and all those that it is cut from, up to the carrier's. It is valid for the numbers
/// and the time that all of them share (RFC 9060 §4: encompassed).
#[derive(Debug, Clone)]
pub(super) struct DelegationChain<'a> {
    /// The delegation itself, then the one that it is cut from, and so on.
    rows: Vec<&'a Delegation>,
    own: RowRef,
    numbers: NumberRange,
    window: Window,
    /// When the newest of them was recorded.
    recorded_at: Time,
    /// Whether each of them allows CA certificates.
    pub(super) ca: bool,
    /// Whether a reseller above the account that is part of the chain is suspended.
    pub(super) lender_suspended: bool,
}

impl InventoryRow for DelegationChain<'_> {
    fn row(&self) -> RowRef {
        self.own
    }
    fn numbers(&self) -> NumberRange {
        self.numbers
    }
    fn window(&self) -> Window {
        self.window
    }
    fn recorded_at(&self) -> Time {
        self.recorded_at
    }
}

impl<'a> DelegationChain<'a> {
    /// The chains of an account, one for each of its delegations. A delegation whose parent is not
    /// among the facts does not count.
    pub(super) fn all_of(account: &AccountId, facts: &'a Facts) -> Vec<Self> {
        // Most accounts are the carrier's own customers, and need no map.
        let any_is_cut = facts.delegations.iter().any(|row| row.cut_from.is_some());
        let parents: HashMap<Uuid, &'a Delegation> = facts
            .delegations
            .iter()
            .filter(|_| any_is_cut)
            .map(|row| (row.row.id, row))
            .collect();
        let own = facts.delegations.iter();
        own.filter(|row| row.account == *account)
            .filter_map(|own| Self::up_from(own, &parents, &facts.suspended_above))
            .collect()
    }

    fn up_from(
        own: &'a Delegation,
        parents: &HashMap<Uuid, &'a Delegation>,
        suspended: &[AccountId],
    ) -> Option<Self> {
        let mut chain = Self {
            own: own.row,
            rows: vec![own],
            numbers: own.numbers,
            window: own.window,
            recorded_at: own.belief.recorded_at,
            ca: own.ca,
            lender_suspended: false,
        };
        let mut below = own;
        while let Some(from) = &below.cut_from {
            let parent = *parents.get(&from.parent)?;
            // Stop at the maximum depth, so that a cycle cannot loop forever. No change can create
            // one.
            if chain.rows.len() > Account::MAX_DEPTH {
                return None;
            }
            chain.rows.push(parent);
            chain.numbers = chain.numbers.intersection(parent.numbers)?;
            chain.window = chain.window.intersection(parent.window)?;
            chain.recorded_at = chain.recorded_at.max(parent.belief.recorded_at);
            chain.ca &= parent.ca;
            chain.lender_suspended |= suspended.contains(&parent.account);
            below = parent;
        }
        Some(chain)
    }

    /// The delegations of the chain, the account's own first.
    pub(super) fn delegations(&self) -> &[&'a Delegation] {
        &self.rows
    }
}
