//! The difference between a table of delegations and the database. What left does not revive by a
//! table that still names it.

use std::collections::BTreeMap;

use super::checks;
use super::difference::new_row;
use super::difference::{EVER, ImportChange, note_kept_ends, numbers, recorded, table_change};
use super::error::ImportError;
use super::outcome::Amount;
use super::row_diff::{self, Reconcile as _};
use crate::authority::departures::KnownDepartures;
use crate::domain::clock::Time;
use crate::domain::inventory::departure::DepartureKind;
use crate::domain::inventory::{Delegation, InventoryRow as _};
use crate::domain::numbers::range_index::Index;
use crate::domain::numbers::range_set::gaps;
use crate::domain::{NumberRange, Window};
use crate::store::{Tx, Versions};
use crate::tables::{DelegationRow, Note, TableRow, TableSummary};

pub(super) fn compare(
    tx: &mut Tx<'_>,
    rows: &[TableRow<DelegationRow>],
    now: Time,
    summary: &mut TableSummary,
) -> Result<ImportChange, ImportError> {
    let mut known = tx.delegations_touching(&numbers(rows), EVER, usize::MAX)?;
    // The table is the carrier's, so it does not speak for what resellers delegate on.
    known.retain(|row| row.cut_from.is_none());
    let left = KnownDepartures::of_table(tx, &numbers(rows))?;
    let (rows, ended) = without_ended(tx, rows, (&known, &left), now)?;
    known.retain(|row| left.leave_any(row, row.numbers, Window::open(now)) || !is_open(row, now));
    let counts = |row: &Delegation, numbers, window| left.leave_any(row, numbers, window);
    let mut plan = row_diff::plan(rows, known, now, counts, &mut summary.refused);
    checks::must_have_accounts(tx, &mut plan, &mut summary.refused)?;
    checks::must_be_held(tx, &mut plan, now, &mut summary.refused)?;
    note_kept_ends(plan.ends_kept, summary);
    plan.unchanged.ranges += ended.ranges;
    plan.unchanged.numbers += ended.numbers;
    if ended.ranges > 0 {
        summary.notes.push(Note {
            count: ended.ranges,
            what: "rows name delegations that ended because their numbers left; they stay ended"
                .into(),
            lines: Vec::new(),
        });
    }
    let mut change = ImportChange::default();
    change.delegations = table_change(
        plan,
        change.unchanged_mut(),
        |numbers, of: DelegationRow, window| Delegation {
            row: new_row(now),
            account: of.account,
            cut_from: None,
            numbers,
            ca: of.ca,
            lend_on: of.lend_on,
            reference: of.reference,
            window,
            belief: recorded(now),
            // `write` sets it, since only a transaction that writes can count.
            sequence: 0,
            made_at: now,
        },
    );
    Ok(change)
}

/// The lines without those that name a delegation that ended because its numbers left, and how
/// much these name. A line without `valid_from` names it as long as the numbers are out; once they
/// are back, it delegates them anew.
fn without_ended(
    tx: &mut Tx<'_>,
    rows: &[TableRow<DelegationRow>],
    (known, left): (&[Delegation], &KnownDepartures),
    now: Time,
) -> Result<(Vec<TableRow<DelegationRow>>, Amount), ImportError> {
    let mut by_numbers: BTreeMap<NumberRange, Vec<&Delegation>> = BTreeMap::new();
    for row in known {
        by_numbers.entry(row.numbers).or_default().push(row);
    }
    let has_ended = |row: &Delegation| !left.leave_any(row, row.numbers, Window::open(now));
    let names_ended = |line: &TableRow<DelegationRow>| {
        let named = by_numbers.get(&line.numbers).into_iter().flatten();
        let named = named.filter(|row| {
            line.of.same(row)
                && is_open(row, now)
                && line.valid_from.is_none_or(|from| from == row.window.from())
        });
        let mut named = named.peekable();
        named.peek().is_some() && named.all(|row| has_ended(row))
    };
    let candidates: Vec<NumberRange> = rows
        .iter()
        .filter(|line| names_ended(line))
        .map(|line| line.numbers)
        .collect();
    if candidates.is_empty() {
        return Ok((rows.to_vec(), Amount::default()));
    }
    let at_now = Versions::HoldingIn {
        from: now,
        until: Some(now + chrono::TimeDelta::seconds(1)),
    };
    let held = tx.allocations_touching(&candidates, at_now, usize::MAX)?;
    let held = Index::new(held.into_iter().map(|row| (row.numbers, ())));
    let excluded = tx.exclusions_touching(&candidates, at_now, usize::MAX)?;
    let excluded = excluded.into_iter();
    let out = excluded.filter(|row| DepartureKind::of(row.reason).is_some());
    let out = Index::new(out.map(|row| (row.numbers(), ())));
    let is_out = |numbers: NumberRange| {
        let held = held.touching(numbers).map(|(held, ())| *held);
        !gaps(numbers, held).is_empty() || out.touching(numbers).next().is_some()
    };
    let stays_ended = |line: &&TableRow<DelegationRow>| {
        names_ended(line) && (line.valid_from.is_some() || is_out(line.numbers))
    };
    let (ended, open): (Vec<_>, Vec<_>) = rows.iter().partition(stays_ended);
    let ended: Vec<NumberRange> = ended.iter().map(|line| line.numbers).collect();
    Ok((open.into_iter().cloned().collect(), Amount::of(&ended)))
}

/// Whether the row itself has not ended.
fn is_open(row: &Delegation, now: Time) -> bool {
    row.window.until().is_none_or(|until| until > now)
}
