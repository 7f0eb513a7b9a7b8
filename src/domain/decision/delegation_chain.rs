//! A delegation, and those that it is cut from.

use std::collections::HashMap;

use uuid::Uuid;

use super::Facts;
use crate::domain::accounts::account::{Account, AccountId};
use crate::domain::inventory::window::Window;
use crate::domain::inventory::{Delegation, InventoryRow, RowRef};
use crate::domain::numbers::number::NumberRange;

/// A delegation together with all those that it is cut from, up to the carrier's: it holds when all of them do.
#[derive(Debug, Clone)]
pub(super) struct DelegationChain {
    own: RowRef,
    /// The delegation itself, then the one that it is cut from, and so on.
    rows: Vec<RowRef>,
    numbers: NumberRange,
    window: Window,
    /// Whether all of them allow CA certificates.
    pub(super) ca: bool,
    pub(super) lender_suspended: bool,
}

impl InventoryRow for DelegationChain {
    fn row(&self) -> RowRef {
        self.own
    }
    fn numbers(&self) -> NumberRange {
        self.numbers
    }
    fn window(&self) -> Window {
        self.window
    }
}

impl DelegationChain {
    /// What was delegated to an account, each with what it is cut from. A delegation whose origin is not among the facts
    /// does not count.
    pub(super) fn all_of(account: &AccountId, facts: &Facts) -> Vec<Self> {
        let is_cut = facts.delegations.iter().any(|row| row.cut_from.is_some());
        let origins: HashMap<Uuid, &Delegation> = facts
            .delegations
            .iter()
            .filter(|_| is_cut)
            .map(|row| (row.row.id, row))
            .collect();
        let own = facts.delegations.iter();
        own.filter(|row| row.account == *account)
            .filter_map(|own| Self::up_from(own, &origins, &facts.suspended_above))
            .collect()
    }

    fn up_from(
        own: &Delegation,
        origins: &HashMap<Uuid, &Delegation>,
        suspended: &[AccountId],
    ) -> Option<Self> {
        let mut chain = Self {
            own: own.row,
            rows: vec![own.row],
            numbers: own.numbers,
            window: own.window,
            ca: own.ca,
            lender_suspended: false,
        };
        let mut below = own;
        while let Some(from) = &below.cut_from {
            let parent = *origins.get(&from.parent)?;
            // Chains are short; a circle, which no change can make, is not followed.
            if chain.rows.len() > Account::MAX_DEPTH {
                return None;
            }
            chain.rows.push(parent.row);
            chain.numbers = chain.numbers.intersection(parent.numbers)?;
            chain.window = chain.window.intersection(parent.window)?;
            chain.ca &= parent.ca;
            chain.lender_suspended |= suspended.contains(&parent.account);
            below = parent;
        }
        Some(chain)
    }

    /// All of them.
    pub(super) fn rows(&self) -> &[RowRef] {
        &self.rows
    }
}
