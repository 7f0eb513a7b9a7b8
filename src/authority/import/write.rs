//! From a difference to rows: looks up what is known, and writes what changes.

use std::collections::{BTreeMap, HashSet};

use serde_json::json;
use uuid::Uuid;

use super::error::ImportError;
use super::outcome::{Amount, Difference, Imported, RANGES_NAMED};
use super::row_diff::{self, Plan};
use super::{block_diff, checks};
use crate::authority::ChangeError;
use crate::authority::delegate::{end_with_all_below, record_end};
use crate::authority::withdraw;
use crate::domain::clock::Time;
use crate::domain::inventory::withdrawal::{
    ALLOCATION_RETURNED, AuthorityEnd, DELEGATION_ENDED, EndingRow,
};
use crate::domain::inventory::{
    Allocation, Basis, Delegation, Exclusion, InventoryRow, RecordedPeriod, RowRef, Versioned,
};
use crate::domain::numbers::range_index::Index;
use crate::domain::numbers::range_set::gaps;
use crate::domain::{AccountId, Event, NumberRange, Spc, Window, new_id};
use crate::store::{Loss, Tx, Versions};
use crate::tables::{
    AllocationRow, DelegationRow, ExclusionRow, Holding, Holdings, Note, TableContent, TableRow,
    TableSummary,
};

/// What an import changes.
#[derive(Debug, Default)]
pub(super) struct ImportChange {
    allocations: TableChange<Allocation>,
    delegations: TableChange<Delegation>,
    exclusions: TableChange<Exclusion>,
    ending: BTreeMap<Spc, u64>,
    unchanged: Amount,
    elsewhere: u64,
}

/// What changes in one table.
#[derive(Debug)]
struct TableChange<R> {
    add: Vec<R>,
    /// Parts of rows that end, as rows of their own.
    keep: Vec<R>,
    /// Rows as they are known, and when they end.
    end: Vec<(R, Time)>,
    /// The numbers that end with them, and are not kept.
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

impl ImportChange {
    /// How many numbers end, by who holds them.
    pub(super) const fn numbers_ending(&self) -> &BTreeMap<Spc, u64> {
        &self.ending
    }

    /// What loses authority by it, and from when on.
    pub(super) fn losses(&self, now: Time) -> Vec<Loss> {
        let loss = |numbers, at: Time, reason: &str, cause| Loss {
            // Also of those whom an account lent them on to.
            of: None,
            numbers: Some(numbers),
            ended: AuthorityEnd {
                at: at.max(now),
                reason: reason.to_owned(),
                cause: Some(cause),
            },
        };
        let mut out = Vec::new();
        let ending = self.allocations.end.iter();
        let ending = Index::new(
            ending.map(|(row, end)| (row.numbers, (row.row.id, row.window.from().max(*end)))),
        );
        for lost in &self.allocations.ended {
            let rows = ending.touching(*lost);
            out.extend(rows.filter_map(|(numbers, (id, end))| {
                let numbers = numbers.intersection(*lost)?;
                Some(loss(
                    numbers,
                    *end,
                    ALLOCATION_RETURNED,
                    EndingRow::Allocation(*id),
                ))
            }));
        }
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

    /// The counts of the answer.
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

/// Holds what a table says against what is known. Lines that cannot be are told; nothing is written.
pub(super) fn difference(
    tx: &mut Tx<'_>,
    says: &TableContent,
    now: Time,
    told: &mut TableSummary,
) -> Result<ImportChange, ImportError> {
    match says {
        TableContent::Holdings { spc, table } => of_holdings(tx, spc, table, now),
        TableContent::Allocations(rows) => {
            let known = tx.allocations_touching(&numbers(rows), EVER, usize::MAX)?;
            let plan = row_diff::plan(rows.clone(), known, now, &mut told.refused);
            note_kept_ends(plan.ends_kept, told);
            let mut change = ImportChange::default();
            for (row, _) in &plan.end {
                *change.ending.entry(row.spc.clone()).or_default() += row.numbers.count();
            }
            change.allocations = of_plan(
                plan,
                &mut change.unchanged,
                |numbers, of: AllocationRow, window| Allocation {
                    row: fresh(now),
                    spc: of.spc,
                    numbers,
                    basis: of.basis,
                    window,
                    belief: believed(now),
                },
            );
            Ok(change)
        }
        TableContent::Delegations(rows) => of_delegations(tx, rows, now, told),
        TableContent::Exclusions(rows) => {
            let known = tx.exclusions_touching(&numbers(rows), EVER, usize::MAX)?;
            let plan = row_diff::plan(rows.clone(), known, now, &mut told.refused);
            note_kept_ends(plan.ends_kept, told);
            let mut change = ImportChange::default();
            change.exclusions = of_plan(
                plan,
                &mut change.unchanged,
                |numbers, of: ExclusionRow, window| Exclusion {
                    row: fresh(now),
                    numbers,
                    reason: of.reason,
                    window,
                    belief: believed(now),
                },
            );
            Ok(change)
        }
    }
}

/// Writes the difference. What ends and what takes its place change hands at one instant.
pub(super) fn apply(
    tx: &mut Tx<'_>,
    event: &Event,
    change: &ImportChange,
    now: Time,
) -> Result<(), ImportError> {
    let (ids, rows) = next_versions(&change.allocations, now);
    tx.supersede_allocations(&ids, now)?;
    tx.insert_allocations(&rows)?;
    for (row, end) in &change.delegations.end {
        // What a reseller lent on of them ends at the same instant.
        if let (ended, Some(below)) = end_with_all_below(tx, event, row, *end, now)? {
            record_end(tx, event, &ended, *end, below)?;
        }
    }
    tx.insert_delegations(&change.delegations.add)?;
    record_loans(tx, event, &change.delegations.add)?;
    let (ids, rows) = next_versions(&change.exclusions, now);
    tx.supersede_exclusions(&ids, now)?;
    tx.insert_exclusions(&rows)?;
    Ok(())
}

/// Records for each account how many loans it gets; which they are stands in their rows.
fn record_loans(tx: &mut Tx<'_>, event: &Event, added: &[Delegation]) -> Result<(), ImportError> {
    let mut by_account: BTreeMap<&AccountId, u64> = BTreeMap::new();
    for loan in added {
        *by_account.entry(&loan.account).or_default() += 1;
    }
    for (account, loans) in by_account {
        let detail = json!({ "delegations_added": loans });
        tx.record(&event.about(account).done(account, detail))?;
    }
    Ok(())
}

/// Which rows are superseded, and all that is written.
fn next_versions<R: Versioned + Clone>(of: &TableChange<R>, now: Time) -> (Vec<Uuid>, Vec<R>) {
    let mut ids = Vec::with_capacity(of.end.len());
    let mut rows = Vec::with_capacity(of.end.len() + of.keep.len() + of.add.len());
    for (row, end) in &of.end {
        let (ended, changed) = withdraw::ended(row, *end, now);
        if changed {
            ids.push(row.row().id);
            rows.extend(withdraw::still_held(&ended).cloned());
        }
    }
    rows.extend(of.keep.iter().chain(&of.add).cloned());
    (ids, rows)
}

/// All instants that there are.
const EVER: Versions = Versions::HoldingIn {
    from: chrono::DateTime::UNIX_EPOCH,
    until: None,
};

fn of_holdings(
    tx: &mut Tx<'_>,
    spc: &Spc,
    table: &Holdings,
    now: Time,
) -> Result<ImportChange, ImportError> {
    let plan = block_diff::plan(tx.blocks_of(spc, now)?, table, now);
    let allocation = |numbers, basis, window| Allocation {
        row: fresh(now),
        spc: spc.clone(),
        numbers,
        basis,
        window,
        belief: believed(now),
    };
    let ending: HashSet<Uuid> = plan.end.iter().map(|row| row.row.id).collect();
    let new = free_of_others(tx, spc, &plan.new, &ending, now)?;
    let mut change = ImportChange {
        unchanged: plan.unchanged,
        elsewhere: plan.elsewhere,
        ..ImportChange::default()
    };
    let lacking: u64 = plan.new.iter().map(|n| n.numbers.count()).sum();
    for held in new {
        let window =
            Window::new(held.valid_from.unwrap_or(now), None).map_err(ChangeError::from)?;
        let row = allocation(held.numbers, held.basis, window);
        change.allocations.add.push(row);
    }
    // What is held on another basis is there already.
    let added: u64 = change
        .allocations
        .add
        .iter()
        .map(|row| row.numbers.count())
        .sum();
    change.unchanged.numbers += lacking - added;
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

/// Leaves out what the same code holds on another basis, such as ported in: it is held already. What another code holds is
/// a contradiction.
fn free_of_others(
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

fn of_delegations(
    tx: &mut Tx<'_>,
    rows: &[TableRow<DelegationRow>],
    now: Time,
    told: &mut TableSummary,
) -> Result<ImportChange, ImportError> {
    let mut known = tx.delegations_touching(&numbers(rows), EVER, usize::MAX)?;
    // What a reseller lends on is its own business.
    known.retain(|row| row.cut_from.is_none());
    let mut plan = row_diff::plan(rows.to_vec(), known, now, &mut told.refused);
    checks::must_have_accounts(tx, &mut plan, &mut told.refused)?;
    checks::must_be_held(tx, &mut plan, now, &mut told.refused)?;
    note_kept_ends(plan.ends_kept, told);
    let mut change = ImportChange::default();
    change.delegations = of_plan(
        plan,
        &mut change.unchanged,
        |numbers, of: DelegationRow, window| Delegation {
            row: fresh(now),
            account: of.account,
            cut_from: None,
            numbers,
            ca: of.ca,
            lend_on: of.lend_on,
            reference: of.reference,
            window,
            belief: believed(now),
        },
    );
    Ok(change)
}

fn of_plan<T: row_diff::Reconcile>(
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

fn note_kept_ends(count: u64, told: &mut TableSummary) {
    if count > 0 {
        told.notes.push(Note {
            count,
            what: "rows are known with an earlier end, which is not put off",
            lines: Vec::new(),
        });
    }
}

fn numbers<T>(rows: &[TableRow<T>]) -> Vec<NumberRange> {
    rows.iter().map(|row| row.numbers).collect()
}

fn fresh(now: Time) -> RowRef {
    RowRef {
        id: new_id(now),
        version: 1,
    }
}

fn believed(now: Time) -> RecordedPeriod {
    RecordedPeriod {
        recorded_at: now,
        superseded_at: None,
    }
}
