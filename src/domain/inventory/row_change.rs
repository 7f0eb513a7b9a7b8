//! What one change did to one row of the inventory: kept with an import or a disconnect, so that a
//! mistake can be undone as a whole.

use uuid::Uuid;

use super::{Allocation, Delegation, Exclusion, Versioned};
use crate::domain::text::words::words;

/// A table of the inventory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowKind {
    Allocation,
    Delegation,
    Exclusion,
}

words! {
    /// The name in messages and the database.
    impl FromStr for RowKind {
        Allocation = "allocation",
        Delegation = "delegation",
        Exclusion = "exclusion",
    }
}

/// A row of a table that can be undone.
pub trait Undoable: Versioned + Clone {
    const KIND: RowKind;
}

impl Undoable for Allocation {
    const KIND: RowKind = RowKind::Allocation;
}

impl Undoable for Delegation {
    const KIND: RowKind = RowKind::Delegation;
}

impl Undoable for Exclusion {
    const KIND: RowKind = RowKind::Exclusion;
}

/// What one change did to one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowChange {
    pub kind: RowKind,
    pub row: Uuid,
    pub versions: ChangedVersions,
}

/// The versions of a row before and after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangedVersions {
    /// The row is new, with this version.
    Added(i32),
    /// The first version was superseded by the second, which has another window.
    Ended(i32, i32),
    /// This version was superseded and has no successor.
    Cancelled(i32),
}

impl ChangedVersions {
    /// The newest version of the row after the change.
    #[must_use]
    pub const fn newest(self) -> i32 {
        match self {
            Self::Added(newest) | Self::Ended(_, newest) | Self::Cancelled(newest) => newest,
        }
    }
}

impl RowChange {
    /// A row is added.
    #[must_use]
    pub fn added<R: Undoable>(row: &R) -> Self {
        Self {
            kind: R::KIND,
            row: row.row().id,
            versions: ChangedVersions::Added(row.row().version),
        }
    }

    /// `known` is superseded; `next` is its successor, unless it was cancelled.
    #[must_use]
    pub fn ended<R: Undoable>(known: &R, next: Option<&R>) -> Self {
        let before = known.row().version;
        Self {
            kind: R::KIND,
            row: known.row().id,
            versions: match next {
                Some(next) => ChangedVersions::Ended(before, next.row().version),
                None => ChangedVersions::Cancelled(before),
            },
        }
    }
}
