//! What a change that takes authority away meets: the numbers that the carrier holds then, whether
//! they are delegated or not.
//!
//! An exclusion that meets none is most likely a mistyped number, and the tokens for the number
//! that was meant are still issued. So it is refused, unless the caller says that it is meant, or
//! the carrier has once held the numbers: a wrong table can have taken them, and when that is
//! undone, what was ported out meanwhile must not come back. The answer says that nothing was met.

use super::ChangeError;
use super::acquisition::once_held;
use crate::domain::NumberRange;
use crate::domain::clock::Time;
use crate::domain::inventory::Exclusion;
use crate::domain::numbers::range_set::merged;
use crate::store::{StoreError, Tx, Versions};

/// The most ranges that an answer lists.
const MAX_LISTED: usize = 100;
/// The most allocations that are read. A larger range is met anyway.
const MAX_ALLOCATIONS: usize = 10_000;

/// The part of some numbers that the carrier holds within a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Met {
    /// Sorted, and as few as possible.
    pub ranges: Vec<NumberRange>,
    /// Whether there are more.
    pub more: bool,
}

/// An exclusion, and what it met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excluded {
    pub exclusion: Exclusion,
    pub met: Met,
}

impl Met {
    fn of(mut held: Vec<NumberRange>, mut more: bool) -> Self {
        held = merged(held);
        more |= held.len() > MAX_LISTED;
        held.truncate(MAX_LISTED);
        Self { ranges: held, more }
    }
}

/// What an exclusion meets.
///
/// # Errors
/// [`ChangeError::MeetsNothing`] if that is nothing and the carrier has never held the numbers,
/// unless `force` says that this is meant or they may be excluded before the carrier holds them.
pub(super) fn must_meet(
    tx: &mut Tx<'_>,
    exclusion: &Exclusion,
    force: bool,
    now: Time,
) -> Result<Met, ChangeError> {
    let met = held_part(tx, exclusion, now)?;
    let is_meant = force || exclusion.reason.may_precede_its_block();
    if met.ranges.is_empty() && !is_meant {
        let once_held = once_held(tx, &[exclusion.numbers], now)?;
        if once_held.is_some_and(|held| held.is_empty()) {
            return Err(ChangeError::MeetsNothing(exclusion.numbers));
        }
    }
    Ok(met)
}

/// An allocation that starts within the window of the exclusion counts too.
fn held_part(tx: &mut Tx<'_>, exclusion: &Exclusion, now: Time) -> Result<Met, StoreError> {
    let versions = Versions::HoldingIn {
        from: exclusion.window.from().max(now),
        until: exclusion.window.until(),
    };
    let numbers = exclusion.numbers;
    let found = tx.allocations_touching(&[numbers], versions, MAX_ALLOCATIONS + 1)?;
    let more = found.len() > MAX_ALLOCATIONS;
    let held = found.iter();
    let held = held.filter_map(|row| row.numbers.intersection(numbers));
    Ok(Met::of(held.collect(), more))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_joined_and_bounded() {
        let range = |start: u64, count| {
            let start = crate::domain::Tn::from_digits(&start.to_string()).expect("a number");
            NumberRange::new(start, count).expect("a range")
        };
        let touching = vec![range(12_125_551_010, 10), range(12_125_551_000, 10)];
        let met = Met::of(touching, false);
        assert_eq!(
            (met.ranges, met.more),
            (vec![range(12_125_551_000, 20)], false)
        );
        let apart = (0..=MAX_LISTED as u64).map(|n| range(12_125_551_000 + 2 * n, 1));
        let met = Met::of(apart.collect(), false);
        assert_eq!((met.ranges.len(), met.more), (MAX_LISTED, true));
    }
}
