//! What the lines of a table require: a delegation an existing account, and numbers that the
//! carrier holds; an exclusion at least one of them.

use std::collections::BTreeMap;

use super::error::ImportError;
use super::row_diff::{Plan, Reconcile};
use crate::authority::acquisition::once_held;
use crate::domain::clock::Time;
use crate::domain::numbers::range_index::Index;
use crate::domain::numbers::range_set::gaps;
use crate::domain::{AccountId, NumberRange, Window};
use crate::store::{Tx, Versions};
use crate::tables::{DelegationRow, ExclusionRow, NotedLines, RefusedLines, TableSummary};

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

/// Refuses exclusions of numbers that the carrier does not hold while they are excluded and has
/// never held, unless `force` says that they are meant. Notes those of which it holds only a part,
/// or none.
pub(super) fn must_meet(
    tx: &mut Tx<'_>,
    plan: &mut Plan<ExclusionRow>,
    force: bool,
    now: Time,
    summary: &mut TableSummary,
) -> Result<(), ImportError> {
    let held = held_from(tx, plan, now)?;
    let missing = |numbers: NumberRange, window: Window| {
        let met = held.touching(numbers);
        let met = met.filter(|(_, theirs)| theirs.overlaps(window));
        gaps(numbers, met.map(|(numbers, _)| *numbers))
    };
    let unmet = plan.add.iter().map(|(row, window)| (row.numbers, *window));
    let unmet = unmet.filter(|(numbers, window)| missing(*numbers, *window) == [*numbers]);
    let unmet: Vec<NumberRange> = unmet.map(|(numbers, _)| numbers).collect();
    let once_held = once_held(tx, &unmet, now)?;
    let once_held = once_held.map(|held| Index::new(held.into_iter().map(|n| (n, ()))));
    let was_held = |numbers: NumberRange| {
        let once_held = once_held.as_ref();
        once_held.is_none_or(|held| held.touching(numbers).next().is_some())
    };
    let (mut partly, mut ahead) = (NotedLines::default(), NotedLines::default());
    plan.add.retain(|(row, window)| {
        let missing = missing(row.numbers, *window);
        if missing != [row.numbers] {
            if !missing.is_empty() {
                partly.add(row.line);
            }
            return true;
        }
        if force || row.of.reason.may_precede_its_block() || was_held(row.numbers) {
            ahead.add(row.line);
            return true;
        }
        let why = format!(
            "the carrier holds none of {}, now or later; check the digits, and if they are right, import with \
             `--force` (REST: `force=true`)",
            row.numbers
        );
        summary.refused.add(row.line, why);
        false
    });
    summary.note_lines(
        partly,
        "lines exclude numbers of which the carrier holds only a part",
    );
    summary.note_lines(
        ahead,
        "lines exclude numbers of which the carrier holds none",
    );
    Ok(())
}

/// Refuses lines with numbers that the carrier does not hold when the delegation starts.
pub(super) fn must_be_held(
    tx: &mut Tx<'_>,
    plan: &mut Plan<DelegationRow>,
    now: Time,
    refused: &mut RefusedLines,
) -> Result<(), ImportError> {
    let held = held_from(tx, plan, now)?;
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

/// When the carrier holds the numbers of the lines to add, from now on.
fn held_from<T: Reconcile>(
    tx: &mut Tx<'_>,
    plan: &Plan<T>,
    now: Time,
) -> Result<Index<Window>, ImportError> {
    let all: Vec<NumberRange> = plan.add.iter().map(|(row, _)| row.numbers).collect();
    let from_now = Versions::HoldingIn {
        from: now,
        until: None,
    };
    let held = tx.allocations_touching(&all, from_now, usize::MAX)?;
    Ok(Index::new(
        held.into_iter().map(|row| (row.numbers, row.window)),
    ))
}
