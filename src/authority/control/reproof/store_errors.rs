//! What fails beside the store, as a failure of it.

use super::super::start::unprotected;
use crate::authority::{ChangeError, StoreError};
use crate::domain::control::codes::CodeError;
use crate::domain::tokens::tn_auth_list::TnAuthListError;

/// A failure to protect a code is a failure of the service, like one of its database.
pub(super) fn store_error(error: &CodeError) -> StoreError {
    match unprotected(error) {
        ChangeError::Store(error) => error,
        other => StoreError::Unavailable(other.to_string()),
    }
}

/// The list of a right was checked when the right was given.
pub(super) fn unreadable(error: &TnAuthListError) -> StoreError {
    StoreError::Corrupt(error.to_string())
}
