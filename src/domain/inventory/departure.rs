//! Departures: numbers leave the carrier, and the delegations that covered them end for them.

use uuid::Uuid;

use super::window::Window;
use super::withdrawal::EndingRow;
use super::{InventoryRow, Reason, RecordedPeriod, RowRef};
use crate::domain::clock::Time;
use crate::domain::numbers::number::NumberRange;
use crate::domain::text::words::words;

/// Numbers that left: what was delegated before does not revive when they come back. One row for
/// each deed and contiguous range, however many delegations it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    pub id: Uuid,
    pub kind: DepartureKind,
    /// The id of the exclusion or allocation that caused it.
    pub cause: Uuid,
    pub numbers: NumberRange,
    /// When they leave: a port-out is often known in advance.
    pub at: Time,
    /// The change that recorded it; compared with that of a delegation.
    pub sequence: i64,
    /// Superseded when it was called off before it took effect, or undone.
    pub belief: RecordedPeriod,
}

/// How numbers left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DepartureKind {
    /// Ported to another carrier.
    PortedOut,
    /// Taken out of service. The holder of a block, who assigns its numbers itself, keeps them.
    Aging,
    /// The carrier returned them.
    Returned,
    /// The carrier got them, and had not held them just before: so they had left at some time.
    Acquired,
}

words! {
    /// The name in the API and the database.
    impl FromStr for DepartureKind {
        PortedOut = "ported-out",
        Aging = "aging",
        Returned = "returned",
        Acquired = "acquired",
    }
}

impl DepartureKind {
    /// How numbers leave that are excluded for this reason; `None` if they only pause.
    #[must_use]
    pub const fn of(reason: Reason) -> Option<Self> {
        match reason {
            Reason::PortedOut => Some(Self::PortedOut),
            Reason::Aging => Some(Self::Aging),
            Reason::Contaminated | Reason::Suspended | Reason::Reserved => None,
        }
    }
}

impl Departure {
    /// The row that caused it.
    #[must_use]
    pub const fn caused_by(&self) -> EndingRow {
        match self.kind {
            DepartureKind::PortedOut | DepartureKind::Aging => EndingRow::Exclusion(self.cause),
            DepartureKind::Returned | DepartureKind::Acquired => EndingRow::Allocation(self.cause),
        }
    }
}

impl InventoryRow for Departure {
    /// It has one version: it is superseded, never replaced.
    fn row(&self) -> RowRef {
        RowRef {
            id: self.id,
            version: 1,
        }
    }
    fn numbers(&self) -> NumberRange {
        self.numbers
    }
    /// From when on the numbers have left.
    fn window(&self) -> Window {
        Window::open(self.at)
    }
    fn recorded_at(&self) -> Time {
        self.belief.recorded_at
    }
}
