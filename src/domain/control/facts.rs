//! What policies see of control: whether the numbers of a request were proven, how long ago, and
//! by which methods.

use std::collections::BTreeSet;

use super::proof::Method;
use crate::domain::numbers::number::Tn;

/// What is known of control of the numbers of one request, in the transaction that decides it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ControlFacts {
    /// Whether every number that has to be proven has a proof that counts. `false` for a request
    /// without numbers.
    pub proven: bool,
    /// The age of the oldest of these proofs in seconds, rounded up by [`coarse_up`]; `None` if a
    /// number has none.
    pub age: Option<u64>,
    /// The methods of these proofs.
    pub methods: BTreeSet<Method>,
    /// The numbers that have to be proven, each with the age of its newest proof that counts: all
    /// numbers, or the sample that stands for them.
    pub numbers: Vec<(Tn, Option<u64>)>,
    /// Whether `numbers` is a sample.
    pub is_sample: bool,
}

/// Whole minutes below a day, whole hours above, rounded up: so that decisions can be cached, and
/// a proof never seems younger than it is.
#[must_use]
pub const fn coarse_up(seconds: u64) -> u64 {
    let step = step(seconds);
    seconds.div_ceil(step).saturating_mul(step)
}

/// The same, rounded down: so that a delegation or a key never seems older than it is.
#[must_use]
pub const fn coarse_down(seconds: u64) -> u64 {
    let step = step(seconds);
    seconds / step * step
}

const fn step(seconds: u64) -> u64 {
    if seconds < 86_400 { 60 } else { 3_600 }
}
