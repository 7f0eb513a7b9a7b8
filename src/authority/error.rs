//! Why a change of what the carrier keeps is refused.

use thiserror::Error;
use uuid::Uuid;

use crate::domain::clock::Time;
use crate::domain::decision::MAX_ROWS;
use crate::domain::tn_auth_list::TnAuthListError;
use crate::domain::window::WindowError;
use crate::domain::{AccountId, NumberRange, Spc};
use crate::store::StoreError;

/// Why a verb was not done; nothing of it stays.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refused {
    /// The caller's role does not allow it.
    #[error("the caller's role does not allow this")]
    Forbidden,
    #[error("there is no account `{0}`")]
    UnknownAccount(AccountId),
    /// No such row or grant.
    #[error("there is no {0} with this id")]
    NotFound(&'static str),
    #[error("the account has a parent already, which cannot be changed")]
    ParentChange,
    #[error("an account cannot be its own parent")]
    OwnParent,
    #[error("{numbers} stands in {kind} {id} at the same time")]
    Overlap {
        numbers: NumberRange,
        kind: &'static str,
        id: Uuid,
    },
    /// What is to be recorded at once names these numbers more than once.
    #[error("{0} stands in it more than once")]
    Twice(NumberRange),
    /// The carrier does not hold these numbers at the start of what was asked; at least one range.
    #[error("the carrier does not hold {} then", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    NotHeld(Vec<NumberRange>),
    #[error("`{0}` is not one of the carrier's service provider codes")]
    SpcNotHeld(Spc),
    #[error(transparent)]
    Window(#[from] WindowError),
    #[error("the window was over at {0}")]
    Over(Time),
    #[error("the numbers touch more than {MAX_ROWS} rows of the inventory; take fewer at once")]
    TooFragmented,
    /// The numbers cannot stand in a TNAuthList.
    #[error(transparent)]
    List(#[from] TnAuthListError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refused {
    /// The stable code of the API.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Forbidden => "forbidden",
            Self::UnknownAccount(_) => "unknown-account",
            Self::NotFound(_) => "not-found",
            Self::ParentChange => "parent-change",
            Self::OwnParent => "own-parent",
            Self::Overlap { .. } | Self::Twice(_) => "overlap",
            Self::NotHeld(_) => "not-allocated",
            Self::SpcNotHeld(_) => "spc-not-held",
            Self::Window(_) => "window",
            Self::Over(_) => "window-over",
            Self::TooFragmented => "too-fragmented",
            Self::List(_) => "malformed-list",
            Self::Store(_) => "unavailable",
        }
    }
}
