//! What an import changes: the difference between a parsed table and the database. Reads only;
//! `write` writes it.

use std::collections::{BTreeMap, HashSet};

use uuid::Uuid;

use super::error::ImportError;
use super::outcome::{Amount, Difference, Imported, RANGES_NAMED};
use super::row_diff::{self, Plan};
use super::{block_diff, checks, delegation_diff};
use crate::authority::ChangeError;
use crate::domain::clock::Time;
use crate::domain::inventory::withdrawal::{
    ALLOCATION_RETURNED, AuthorityEnd, DELEGATION_ENDED, EndingRow,
};
use crate::domain::inventory::{
    Allocation, Basis, Delegation, Exclusion, InventoryRow, RecordedPeriod, RowRef,
};
use crate::domain::numbers::range_index::Index;
use crate::domain::numbers::range_set::gaps;
use crate::domain::{NumberRange, Spc, Window, new_id};
use crate::store::{Loss, StoreError, Tx, Versions};
use crate::tables::{
    AllocationRow, ExclusionRow, Holding, Holdings, Note, TableContent, TableRow, TableSummary,
};

/// What an import changes.
#[derive(Debug, Default)]
pub(super) struct ImportChange {
    pub(super) allocations: TableChange<Allocation>,
    pub(super) delegations: TableChange<Delegation>,
    pub(super) exclusions: TableChange<Exclusion>,
    /// How many numbers end, by service provider code.
    ending: BTreeMap<Spc, u64>,
    unchanged: Amount,
    /// Numbers outside the table's scope, which stay as they are.
    elsewhere: u64,
}

/// What changes in one database table.
#[derive(Debug)]
pub(super) struct TableChange<R> {
    pub(super) add: Vec<R>,
    /// The parts of ending rows that continue, as new rows.
    pub(super) keep: Vec<R>,
    /// Existing rows that end, and when.
    pub(super) end: Vec<(R, Time)>,
    /// The numbers of `end` that are not in `keep`.
    ended: Vec<NumberRange>,
}

impl<R> Default for TableChange<R> {
    fn default() -> Self {
        Self {
            add: Vec::new(),
            keep: Vec::new(),
            end: Vec::new(),
            ended: Vec::new(),
        }
    }
}

impl<R> TableChange<R> {
    /// The numbers that end.
    pub(super) fn ended(&self) -> &[NumberRange] {
        &self.ended
    }
}

impl ImportChange {
    /// Delegations that end, and when; nothing else.
    pub(super) fn of_ends(end: Vec<(Delegation, Time)>) -> Self {
        let ended = end.iter().map(|(row, _)| row.numbers).collect();
        let delegations = TableChange {
            end,
            ended,
            ..TableChange::default()
        };
        Self {
            delegations,
            ..Self::default()
        }
    }

    /// Where the lines that change nothing are counted.
    pub(super) const fn unchanged_mut(&mut self) -> &mut Amount {
        &mut self.unchanged
    }

    /// How many numbers end, by service provider code.
    pub(super) const fn numbers_ending(&self) -> &BTreeMap<Spc, u64> {
        &self.ending
    }

    /// Which numbers lose authority, from when on, and why.
    pub(super) fn losses(&self, now: Time) -> Vec<Loss> {
        let loss = |numbers, at: Time, reason: &str, cause| Loss {
            // Not limited to one account: sub-delegations of the numbers lose authority too.
            of: None,
            numbers: Some(numbers),
            ended: AuthorityEnd {
                at: at.max(now),
                reason: reason.to_owned(),
                cause: Some(cause),
            },
        };
        let mut out = Vec::new();
        out.extend(self.lost_allocations(now).map(|lost| {
            let cause = EndingRow::Allocation(lost.cause);
            loss(lost.numbers, lost.at, ALLOCATION_RETURNED, cause)
        }));
        out.extend(self.delegations.end.iter().map(|(row, end)| {
            let end = row.window.from().max(*end);
            loss(
                row.numbers,
                end,
                DELEGATION_ENDED,
                EndingRow::Delegation(row.row.id),
            )
        }));
        out.extend(self.exclusions.add.iter().map(|row| {
            let (from, cause) = (row.window.from(), EndingRow::Exclusion(row.row.id));
            loss(row.numbers, from, row.reason.as_str(), cause)
        }));
        out
    }

    /// The counts and ranges that the result shows.
    pub(super) fn amounts(&self) -> Imported {
        let added = (self.allocations.add.iter().map(|row| row.numbers))
            .chain(self.delegations.add.iter().map(|row| row.numbers))
            .chain(self.exclusions.add.iter().map(|row| row.numbers));
        let ended = (self.allocations.ended.iter())
            .chain(&self.delegations.ended)
            .chain(&self.exclusions.ended);
        let added: Vec<NumberRange> = added.collect();
        Imported {
            added: Amount::of(&added),
            ended: Amount::of(ended.clone()),
            unchanged: self.unchanged,
            elsewhere: self.elsewhere,
            difference: Difference {
                added: added.into_iter().take(RANGES_NAMED).collect(),
                ended: ended.take(RANGES_NAMED).copied().collect(),
            },
            ..Imported::default()
        }
    }
}

/// Compares a table with the database. Lines that cannot be imported are added to `summary`.
pub(super) fn compare(
    tx: &mut Tx<'_>,
    content: &TableContent,
    force: bool,
    now: Time,
    summary: &mut TableSummary,
) -> Result<ImportChange, ImportError> {
    match content {
        TableContent::Holdings { spc, table } => compare_holdings(tx, spc, table, now),
        TableContent::Allocations(rows) => {
            let known = tx.allocations_touching(&numbers(rows), EVER, usize::MAX)?;
            let plan = row_diff::plan(rows.clone(), known, now, always, &mut summary.refused);
            note_kept_ends(plan.ends_kept, summary);
            let mut change = ImportChange::default();
            for (row, _) in &plan.end {
                *change.ending.entry(row.spc.clone()).or_default() += row.numbers.count();
            }
            change.allocations = table_change(
                plan,
                &mut change.unchanged,
                |numbers, of: AllocationRow, window| Allocation {
                    row: new_row(now),
                    spc: of.spc,
                    numbers,
                    basis: of.basis,
                    window,
                    belief: recorded(now),
                },
            );
            Ok(change)
        }
        TableContent::Delegations(rows) => delegation_diff::compare(tx, rows, now, summary),
        TableContent::ManyDelegations(_) => {
            // `staged` compares it, a part at a time.
            Err(StoreError::Unavailable("the table is too long for one transaction".into()).into())
        }
        TableContent::Exclusions(rows) => {
            let known = tx.exclusions_touching(&numbers(rows), EVER, usize::MAX)?;
            let mut plan = row_diff::plan(rows.clone(), known, now, always, &mut summary.refused);
            checks::must_meet(tx, &mut plan, force, now, summary)?;
            note_kept_ends(plan.ends_kept, summary);
            let mut change = ImportChange::default();
            change.exclusions = table_change(
                plan,
                &mut change.unchanged,
                |numbers, of: ExclusionRow, window| Exclusion {
                    row: new_row(now),
                    numbers,
                    reason: of.reason,
                    window,
                    belief: recorded(now),
                },
            );
            Ok(change)
        }
    }
}

/// Rows of any period, past ones included.
pub(super) const EVER: Versions = Versions::HoldingIn {
    from: chrono::DateTime::UNIX_EPOCH,
    until: None,
};

fn compare_holdings(
    tx: &mut Tx<'_>,
    spc: &Spc,
    table: &Holdings,
    now: Time,
) -> Result<ImportChange, ImportError> {
    let plan = block_diff::plan(tx.blocks_of(spc, now)?, table, now);
    let allocation = |numbers, basis, window| Allocation {
        row: new_row(now),
        spc: spc.clone(),
        numbers,
        basis,
        window,
        belief: recorded(now),
    };
    let ending: HashSet<Uuid> = plan.end.iter().map(|row| row.row.id).collect();
    let new = not_yet_allocated(tx, spc, &plan.new, &ending, now)?;
    let mut change = ImportChange {
        unchanged: plan.unchanged,
        elsewhere: plan.elsewhere,
        ..ImportChange::default()
    };
    let numbers_new: u64 = plan.new.iter().map(|n| n.numbers.count()).sum();
    for held in new {
        let window =
            Window::new(held.valid_from.unwrap_or(now), None).map_err(ChangeError::from)?;
        let row = allocation(held.numbers, held.basis, window);
        change.allocations.add.push(row);
    }
    // Numbers that the code holds on another basis, such as ported in, count as unchanged.
    let added: u64 = change
        .allocations
        .add
        .iter()
        .map(|row| row.numbers.count())
        .sum();
    change.unchanged.numbers += numbers_new - added;
    let kept = plan.keep.iter();
    change.allocations.keep = kept
        .map(|kept| allocation(kept.numbers, kept.basis, kept.window))
        .collect();
    change.allocations.end = plan.end.into_iter().map(|row| (row, now)).collect();
    let ending = Amount::of(&plan.ended).numbers;
    change.ending.insert(spc.clone(), ending);
    change.allocations.ended = plan.ended;
    Ok(change)
}

/// The parts of `new` that no other allocation covers. Numbers that the same code holds on another
/// basis, such as ported in, are left out; an allocation of another code is a conflict.
///
/// # Errors
/// [`ChangeError::Overlap`] for the first conflict.
fn not_yet_allocated(
    tx: &mut Tx<'_>,
    spc: &Spc,
    new: &[Holding],
    ending: &HashSet<Uuid>,
    now: Time,
) -> Result<Vec<Holding>, ImportError> {
    let all: Vec<NumberRange> = new.iter().map(|held| held.numbers).collect();
    let from_now = Versions::HoldingIn {
        from: now,
        until: None,
    };
    let others = tx.allocations_touching(&all, from_now, usize::MAX)?;
    let others = others
        .into_iter()
        .filter(|row| !ending.contains(&row.row.id));
    let others = Index::new(others.map(|row| (row.numbers, row)));
    let mut out = Vec::with_capacity(new.len());
    for held in new {
        let window =
            Window::new(held.valid_from.unwrap_or(now), None).map_err(ChangeError::from)?;
        let mut own = Vec::new();
        for (numbers, other) in others.touching(held.numbers) {
            if !other.window.overlaps(window) {
                continue;
            }
            if other.spc != *spc || matches!(other.basis, Basis::Block | Basis::Code) {
                let id = other.row.id;
                let (numbers, kind) = (*numbers, "allocation");
                return Err(ChangeError::Overlap { numbers, kind, id }.into());
            }
            own.push(*numbers);
        }
        let free = gaps(held.numbers, own).into_iter();
        out.extend(free.map(|numbers| Holding { numbers, ..*held }));
    }
    Ok(out)
}

/// Turns a plan into rows; `row` builds a new one.
pub(super) fn table_change<T: row_diff::Reconcile>(
    plan: Plan<T>,
    unchanged: &mut Amount,
    row: impl Fn(NumberRange, T, Window) -> T::Known,
) -> TableChange<T::Known> {
    *unchanged = plan.unchanged;
    TableChange {
        add: plan
            .add
            .into_iter()
            .map(|(line, window)| row(line.numbers, line.of, window))
            .collect(),
        keep: Vec::new(),
        ended: plan.end.iter().map(|(row, _)| row.numbers()).collect(),
        end: plan.end,
    }
}

pub(super) fn note_kept_ends(count: u64, summary: &mut TableSummary) {
    if count > 0 {
        summary.notes.push(Note {
            count,
            what: "rows already end earlier than the file says; an import never postpones an end"
                .into(),
            lines: Vec::new(),
        });
    }
}

/// Allocations and exclusions count for as long as they say.
fn always<R: InventoryRow>(row: &R, _: NumberRange, window: Window) -> bool {
    row.window().overlaps(window)
}

pub(super) fn numbers<T>(rows: &[TableRow<T>]) -> Vec<NumberRange> {
    rows.iter().map(|row| row.numbers).collect()
}

pub(super) fn new_row(now: Time) -> RowRef {
    RowRef {
        id: new_id(now),
        version: 1,
    }
}

pub(super) fn recorded(now: Time) -> RecordedPeriod {
    RecordedPeriod {
        recorded_at: now,
        superseded_at: None,
    }
}
