//! Which of the rows that overlap are wanted: versions, and departures that matter.

use crate::domain::clock::Time;

/// Which versions of the rows are searched.
#[derive(Debug, Clone, Copy)]
pub enum Versions {
    /// The newest versions that are valid at some instant of `[from, until)`; if `until` is `None`,
    /// at some instant at or after `from`.
    HoldingIn { from: Time, until: Option<Time> },
    /// The versions that were valid at `at`, according to what was recorded at `believed`.
    HeldAt { at: Time, believed: Time },
    /// All versions, superseded ones included, the newest first.
    All,
}

/// Which versions count, by the time when they were recorded.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) enum VersionFilter {
    Any,
    Newest,
    AsOf(i64),
}

impl Versions {
    /// The instants at one of which a row has to be valid.
    pub(super) fn period(self) -> Option<(i64, i64)> {
        match self {
            Self::All => None,
            Self::HoldingIn { from, until } => Some((
                from.timestamp(),
                until.map_or(i64::MAX, |until| until.timestamp()),
            )),
            Self::HeldAt { at, .. } => {
                let at = at.timestamp();
                // Times are whole seconds, so an instant is a period of one second.
                Some((at, at.saturating_add(1)))
            }
        }
    }

    pub(super) const fn filter(self) -> VersionFilter {
        match self {
            Self::All => VersionFilter::Any,
            Self::HoldingIn { .. } => VersionFilter::Newest,
            Self::HeldAt { believed, .. } => VersionFilter::AsOf(believed.timestamp()),
        }
    }
}

/// What is common to some delegations, so that departures that can end none of them are left out.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct EndsAny {
    /// The lowest sequence of them.
    pub(in crate::store) sequence: i64,
    /// The earliest time at which one of them was made.
    pub(in crate::store) made_at: i64,
    /// Whether numbers that age can end any of them.
    pub(in crate::store) by_aging: bool,
}
