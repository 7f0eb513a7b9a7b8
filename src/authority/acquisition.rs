//! Numbers that the carrier did not hold just before: what was delegated when it held them earlier
//! does not revive.

use chrono::TimeDelta;

use super::departures::{Leaving, MAX_READ};
use crate::domain::NumberRange;
use crate::domain::clock::Time;
use crate::domain::inventory::Allocation;
use crate::domain::inventory::departure::DepartureKind;
use crate::domain::numbers::range_index::Index;
use crate::domain::numbers::range_set::gaps;
use crate::store::{StoreError, Tx, Versions};

/// The numbers of new allocations that the carrier did not hold just before they start, and that
/// are delegated from earlier. `replaced` are numbers whose allocation ends in the same change, and
/// that are therefore held without a gap. The new ones may be written already, or not.
pub(super) fn acquired(
    tx: &mut Tx<'_>,
    added: &[Allocation],
    replaced: &[NumberRange],
    now: Time,
) -> Result<Vec<Leaving>, StoreError> {
    let numbers = |rows: &[&Allocation]| rows.iter().map(|row| row.numbers).collect::<Vec<_>>();
    let all: Vec<&Allocation> = added.iter().collect();
    let from_now = Versions::HoldingIn {
        from: now,
        until: None,
    };
    // Most new numbers have never been delegated, and need no other query.
    let delegated = tx.delegations_touching(&numbers(&all), from_now, MAX_READ + 1)?;
    let all_may_be = delegated.len() > MAX_READ;
    let delegated = Index::new(delegated.iter().map(|row| (row.numbers, ())));
    let is_delegated =
        |numbers: NumberRange| all_may_be || delegated.touching(numbers).next().is_some();
    let rows: Vec<&Allocation> = added
        .iter()
        .filter(|row| is_delegated(row.numbers))
        .collect();
    let starts = || rows.iter().map(|row| row.window.from());
    let (Some(first), Some(last)) = (starts().min(), starts().max()) else {
        return Ok(Vec::new());
    };
    let before = Versions::HoldingIn {
        from: just_before(first),
        until: Some(last),
    };
    let held = tx.allocations_touching(&numbers(&rows), before, usize::MAX)?;
    let held = held.iter().chain(added);
    let held = Index::new(held.map(|row| (row.numbers, row.window)));
    let replaced = Index::new(replaced.iter().map(|numbers| (*numbers, ())));
    let mut leaving = Vec::new();
    for row in rows {
        let before = just_before(row.window.from());
        let held = held.touching(row.numbers);
        let held = held.filter(|(_, window)| window.contains(before));
        let held = held.map(|(numbers, _)| *numbers);
        let replaced = replaced.touching(row.numbers).map(|(numbers, ())| *numbers);
        let gained = gaps(row.numbers, held.chain(replaced)).into_iter();
        leaving.extend(gained.filter(|n| is_delegated(*n)).map(|numbers| Leaving {
            kind: DepartureKind::Acquired,
            cause: row.row.id,
            numbers,
            at: row.window.from().max(now),
        }));
    }
    Ok(leaving)
}

fn just_before(instant: Time) -> Time {
    instant - TimeDelta::seconds(1)
}
