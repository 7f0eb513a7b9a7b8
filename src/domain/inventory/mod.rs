//! The carrier's inventory: what it holds, what it has lent to whom, and what it may not use now.
//!
//! Rows are never edited. To end one is to supersede it by a version with an end, so that what was believed at any past
//! instant can still be read.

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
use crate::domain::words::words;

/// One version of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowRef {
    pub id: Uuid,
    /// Counts from 1.
    pub version: i32,
}

impl fmt::Display for RowRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.id, self.version)
    }
}

/// When a version was believed: `[recorded_at, superseded_at)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordedPeriod {
    pub recorded_at: Time,
    pub superseded_at: Option<Time>,
}

/// Why the carrier holds numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// A thousands-block, or a block of another width.
    Block,
    /// A whole code, such as an NPA-NXX without pooling.
    Code,
    /// A number that was ported in from another carrier's block.
    PortedIn,
    /// A toll-free number, held as its RespOrg.
    TollFree,
}

words! {
    /// The word of the API and of the database.
    impl FromStr for Basis {
        Block = "block",
        Code = "code",
        PortedIn = "ported-in",
        TollFree = "toll-free",
    }
}

/// Why numbers inside an allocation carry no authority now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Another carrier serves the number now.
    PortedOut,
    /// The number stayed with the donor of a pooled block.
    Contaminated,
    /// Disconnected, and not yet to be assigned again (47 CFR 52.15(f)).
    Aging,
    Suspended,
    Reserved,
}

words! {
    /// The word of the API and of the database.
    impl FromStr for Reason {
        PortedOut = "ported-out",
        Contaminated = "contaminated",
        Aging = "aging",
        Suspended = "suspended",
        Reserved = "reserved",
    }
}

/// Numbers that the carrier holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allocation {
    pub row: RowRef,
    pub spc: Spc,
    pub numbers: NumberRange,
    pub basis: Basis,
    pub window: Window,
    pub belief: RecordedPeriod,
}

/// Numbers lent to an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegation {
    pub row: RowRef,
    pub account: AccountId,
    /// The loan of a reseller that this one is cut from; `None` when the carrier itself lends.
    pub cut_from: Option<CutFrom>,
    pub numbers: NumberRange,
    /// Whether tokens for CA certificates are allowed (RFC 9447 §4, `ca`).
    pub ca: bool,
    /// Whether the account may lend the numbers on to customers of its own (RFC 9060 §4).
    pub lend_on: bool,
    /// The carrier's own order or contract.
    pub reference: Option<String>,
    pub window: Window,
    pub belief: RecordedPeriod,
}

/// The loan that another one is cut from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutFrom {
    /// The delegation; it holds all numbers of what is cut from it.
    pub parent: Uuid,
    /// The reseller who was lent that one, and lends this one.
    pub lender: AccountId,
    /// Whether the lender may still get tokens for the numbers itself.
    pub lender_keeps: bool,
}

/// Numbers without authority now, though an allocation holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exclusion {
    pub row: RowRef,
    pub numbers: NumberRange,
    pub reason: Reason,
    pub window: Window,
    pub belief: RecordedPeriod,
}

/// What every row of the inventory has: numbers, and when it holds for them.
pub trait InventoryRow {
    /// The row and its version.
    fn row(&self) -> RowRef;
    /// The numbers it speaks of.
    fn numbers(&self) -> NumberRange;
    /// When it holds.
    fn window(&self) -> Window;
}

/// A row of which versions are kept: it is superseded, never edited.
pub trait Versioned: InventoryRow + Sized {
    /// When this version was believed.
    fn belief(&self) -> RecordedPeriod;

    /// The version that takes the place of this one from `now` on, with another window; or, without one, this version as
    /// nothing that holds any more.
    #[must_use]
    fn next_version(&self, window: Option<Window>, now: Time) -> Self;
}

macro_rules! held {
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

held!(Allocation, Delegation, Exclusion);
