//! Which numbers leave, or are acquired, by an import: the delegations of these end. Reads only.

use std::collections::HashSet;

use chrono::TimeDelta;
use uuid::Uuid;

use super::difference::ImportChange;
use super::write::next_versions;
use crate::authority::acquisition::acquired;
use crate::authority::departures::Leaving;
use crate::authority::exclude;
use crate::domain::NumberRange;
use crate::domain::clock::Time;
use crate::domain::inventory::Allocation;
use crate::domain::inventory::departure::DepartureKind;
use crate::domain::numbers::range_index::Index;
use crate::domain::numbers::range_set::{gaps, merged};
use crate::store::{StoreError, Tx, Versions};

/// The numbers that leave. Called before the import is written, as a dry run does not.
pub(super) fn of(
    tx: &mut Tx<'_>,
    change: &ImportChange,
    now: Time,
) -> Result<Vec<Leaving>, StoreError> {
    let mut leaving = really_lost(tx, change, now)?;
    let ending = change.allocations.end.iter();
    let replaced: Vec<NumberRange> = ending.map(|(row, _)| row.numbers).collect();
    leaving.extend(acquired(tx, &change.allocations.add, &replaced, now)?);
    let excluded = change.exclusions.add.iter();
    leaving.extend(excluded.filter_map(|row| exclude::leaving(row, now)));
    Ok(leaving)
}

/// The numbers whose allocation ends, except for those that another one covers from that instant
/// on: they only change their code, or the form of their block.
fn really_lost(
    tx: &mut Tx<'_>,
    change: &ImportChange,
    now: Time,
) -> Result<Vec<Leaving>, StoreError> {
    let lost: Vec<Leaving> = change.lost_allocations(now).collect();
    let instants = || lost.iter().map(|lost| lost.at);
    let (Some(earliest), Some(latest)) = (instants().min(), instants().max()) else {
        return Ok(Vec::new());
    };
    let then = Versions::HoldingIn {
        from: earliest,
        until: Some(latest + TimeDelta::seconds(1)),
    };
    let numbers = merged(lost.iter().map(|lost| lost.numbers).collect());
    let (_, after) = next_versions(&change.allocations, now);
    let ending = change.allocations.end.iter();
    let ending: HashSet<Uuid> = ending.map(|(row, _)| row.row.id).collect();
    let others = tx.allocations_touching(&numbers, then, usize::MAX)?;
    let others = others
        .into_iter()
        .filter(|row| !ending.contains(&row.row.id));
    let held = others.chain(after);
    let held = Index::new(held.map(|row: Allocation| (row.numbers, row.window)));
    let mut really = Vec::new();
    for lost in lost {
        let held = held.touching(lost.numbers);
        let held = held.filter(|(_, window)| window.contains(lost.at));
        let gone = gaps(lost.numbers, held.map(|(numbers, _)| *numbers));
        really.extend(gone.into_iter().map(|numbers| Leaving { numbers, ..lost }));
    }
    Ok(really)
}

impl ImportChange {
    /// The numbers whose allocation ends: one for each range and allocation.
    pub(super) fn lost_allocations(&self, now: Time) -> impl Iterator<Item = Leaving> {
        let ending = self.allocations.end.iter();
        let ending = Index::new(
            ending.map(|(row, end)| (row.numbers, (row.row.id, row.window.from().max(*end)))),
        );
        self.allocations.ended().iter().flat_map(move |lost| {
            let rows = ending.touching(*lost);
            let lost = rows.filter_map(|(numbers, (id, end))| {
                Some(Leaving {
                    kind: DepartureKind::Returned,
                    cause: *id,
                    numbers: numbers.intersection(*lost)?,
                    at: (*end).max(now),
                })
            });
            lost.collect::<Vec<_>>()
        })
    }
}
