//! What a delegation requires: an existing account, and numbers that the carrier holds.

use std::collections::BTreeMap;

use super::error::ImportError;
use super::row_diff::Plan;
use crate::domain::clock::Time;
use crate::domain::numbers::range_index::Index;
use crate::domain::numbers::range_set::gaps;
use crate::domain::{AccountId, NumberRange};
use crate::store::{Tx, Versions};
use crate::tables::DelegationRow;
use crate::tables::RefusedLines;

/// Refuses lines whose account does not exist.
pub(super) fn must_have_accounts(
    tx: &mut Tx<'_>,
    plan: &mut Plan<DelegationRow>,
    refused: &mut RefusedLines,
) -> Result<(), ImportError> {
    let mut accounts: BTreeMap<AccountId, bool> = BTreeMap::new();
    for (row, _) in &plan.add {
        if !accounts.contains_key(&row.of.account) {
            let exists = tx.account(&row.of.account)?.is_some();
            accounts.insert(row.of.account.clone(), exists);
        }
    }
    plan.add.retain(|(row, _)| {
        let exists = accounts.get(&row.of.account) == Some(&true);
        if !exists {
            refused.add(
                row.line,
                format!(
                    "account `{}` does not exist; create it first",
                    row.of.account
                ),
            );
        }
        exists
    });
    Ok(())
}

/// Refuses lines with numbers that the carrier does not hold when the delegation starts.
pub(super) fn must_be_held(
    tx: &mut Tx<'_>,
    plan: &mut Plan<DelegationRow>,
    now: Time,
    refused: &mut RefusedLines,
) -> Result<(), ImportError> {
    let all: Vec<NumberRange> = plan.add.iter().map(|(row, _)| row.numbers).collect();
    let from_now = Versions::HoldingIn {
        from: now,
        until: None,
    };
    let held = tx.allocations_touching(&all, from_now, usize::MAX)?;
    let held = Index::new(held.into_iter().map(|row| (row.numbers, row.window)));
    plan.add.retain(|(row, window)| {
        let start = window.from().max(now);
        let held = held.touching(row.numbers);
        let held_at_start = held.filter(|(_, window)| window.contains(start));
        let missing = gaps(row.numbers, held_at_start.map(|(numbers, _)| *numbers));
        if let Some(first) = missing.first() {
            let why = format!("the carrier does not hold {first} when the delegation starts");
            refused.add(row.line, why);
        }
        missing.is_empty()
    });
    Ok(())
}
