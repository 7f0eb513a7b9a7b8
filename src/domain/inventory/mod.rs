//! The inventory: the numbers that the carrier holds, to whom they are delegated, and which are
//! excluded.
//!
//! Rows are never edited. A change supersedes the newest version of a row and writes the next one,
//! so that what the service believed at any past instant can still be read.

pub mod departure;
pub mod row_change;
pub mod window;
pub mod withdrawal;

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::accounts::account::AccountId;
use super::clock::Time;
use super::inventory::window::Window;
use super::numbers::number::NumberRange;
use super::numbers::spc::Spc;
use crate::domain::text::words::words;

/// One version of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowRef {
    pub id: Uuid,
    /// Counted from 1.
    pub version: i32,
}

impl fmt::Display for RowRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.id, self.version)
    }
}

/// When the service believed a version: `[recorded_at, superseded_at)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordedPeriod {
    pub recorded_at: Time,
    pub superseded_at: Option<Time>,
}

/// How the carrier came to hold numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// A thousands-block (number pooling), or a block of another size.
    Block,
    /// A whole central office code, such as an NPA-NXX without pooling.
    Code,
    /// A number that was ported in from another carrier.
    PortedIn,
    /// A toll-free number that the carrier manages as its RespOrg.
    TollFree,
}

words! {
    /// The name in the API and the database.
    impl FromStr for Basis {
        Block = "block",
        Code = "code",
        PortedIn = "ported-in",
        TollFree = "toll-free",
    }
}

/// Why numbers in an allocation have no authority now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Ported to another carrier, which serves the number now.
    PortedOut,
    /// Contaminated: the number stayed with the donor when its block was pooled.
    Contaminated,
    /// Disconnected, and not yet available for reassignment (47 CFR 52.15(f)).
    Aging,
    Suspended,
    Reserved,
}

words! {
    /// The name in the API and the database.
    impl FromStr for Reason {
        PortedOut = "ported-out",
        Contaminated = "contaminated",
        Aging = "aging",
        Suspended = "suspended",
        Reserved = "reserved",
    }
}

impl Reason {
    /// Whether numbers may be excluded before the carrier holds them. Only a donor's list of
    /// contaminated numbers may come before the block; for the other reasons, numbers that the
    /// carrier does not hold are a mistake.
    #[must_use]
    pub const fn may_precede_its_block(self) -> bool {
        match self {
            Self::Contaminated => true,
            Self::PortedOut | Self::Aging | Self::Suspended | Self::Reserved => false,
        }
    }
}

/// Numbers that the carrier holds, under one of its service provider codes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allocation {
    pub row: RowRef,
    pub spc: Spc,
    pub numbers: NumberRange,
    pub basis: Basis,
    pub window: Window,
    pub belief: RecordedPeriod,
}

/// Numbers delegated to an account: it can get tokens for them (RFC 9060).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegation {
    pub row: RowRef,
    pub account: AccountId,
    /// The delegation that this one is cut from; `None` if the carrier delegates.
    pub cut_from: Option<CutFrom>,
    pub numbers: NumberRange,
    /// Whether tokens for CA certificates are allowed (RFC 9447 §4, `ca`).
    pub ca: bool,
    /// Whether the account may delegate the numbers further, to customers of its own (RFC 9060 §4).
    pub lend_on: bool,
    /// The order or contract of the carrier, for people.
    pub reference: Option<String>,
    pub window: Window,
    pub belief: RecordedPeriod,
    /// The change that made it, and so all of its versions. Compared with that of a
    /// [`departure::Departure`], it says which was first, also within one second.
    pub sequence: i64,
    /// When its first version was recorded.
    pub made_at: Time,
}

/// The delegation that another one is cut from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutFrom {
    /// The id of the parent delegation, whose numbers include all of those cut from it.
    pub parent: Uuid,
    /// The reseller that has the parent delegation and delegates a part of it.
    pub lender: AccountId,
    /// Whether that reseller can still get tokens for the numbers itself.
    pub lender_keeps: bool,
}

/// Numbers without authority for a time, although an allocation contains them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exclusion {
    pub row: RowRef,
    pub numbers: NumberRange,
    pub reason: Reason,
    pub window: Window,
    pub belief: RecordedPeriod,
}

/// What all rows of the inventory have in common: numbers, and when the row is valid.
pub trait InventoryRow {
    /// The id and the version of the row.
    fn row(&self) -> RowRef;
    /// The numbers that it concerns.
    fn numbers(&self) -> NumberRange;
    /// When it is valid.
    fn window(&self) -> Window;
    /// When this version was recorded.
    fn recorded_at(&self) -> Time;

    /// Whether an instant is past for a decision at `now`. A request is decided on the time at
    /// which it arrived, and can wait while rows change: what had begun or ended when the row was
    /// recorded has done so now, too.
    fn is_past(&self, instant: Time, now: Time) -> bool {
        instant <= now.max(self.recorded_at())
    }
}

/// A row that has versions: it is superseded, never edited.
pub trait Versioned: InventoryRow + Sized {
    /// When the service believed this version.
    fn belief(&self) -> RecordedPeriod;

    /// The version that replaces this one from `now` on, with another window. Without a window,
    /// this version as it is once superseded, with no successor.
    #[must_use]
    fn next_version(&self, window: Option<Window>, now: Time) -> Self;
}

macro_rules! impl_rows {
    ($($row:ty),+) => {$(
        impl InventoryRow for $row {
            fn row(&self) -> RowRef {
                self.row
            }
            fn numbers(&self) -> NumberRange {
                self.numbers
            }
            fn window(&self) -> Window {
                self.window
            }
            fn recorded_at(&self) -> Time {
                self.belief.recorded_at
            }
        }

        impl Versioned for $row {
            fn belief(&self) -> RecordedPeriod {
                self.belief
            }
            fn next_version(&self, window: Option<Window>, now: Time) -> Self {
                let mut next = self.clone();
                match window {
                    Some(window) => {
                        next.row.version = next.row.version.saturating_add(1);
                        next.window = window;
                        next.belief = RecordedPeriod { recorded_at: now, superseded_at: None };
                    }
                    None => next.belief.superseded_at = Some(now),
                }
                next
            }
        }
    )+};
}

impl_rows!(Allocation, Delegation, Exclusion);
