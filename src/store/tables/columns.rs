//! Conversions that several tables need: numbers, times and versions.

use uuid::Uuid;

use crate::domain::clock::{Time, from_unix};
use crate::domain::inventory::{RecordedPeriod, RowRef};
use crate::domain::tokens::grant::Jti;
use crate::domain::{NumberRange, Tn, Window};
use crate::store::error::StoreError;

pub(in crate::store) fn row_ref(id: &str, version: i32) -> Result<RowRef, StoreError> {
    let id = Uuid::parse_str(id).map_err(StoreError::corrupt)?;
    Ok(RowRef { id, version })
}

pub(in crate::store) fn numbers(first: i64, last: i64) -> Result<NumberRange, StoreError> {
    Tn::from_position(first)
        .and_then(|first| NumberRange::between(first, Tn::from_position(last)?))
        .map_err(StoreError::corrupt)
}

pub(in crate::store) fn window(from: i64, until: Option<i64>) -> Result<Window, StoreError> {
    Window::new(from_unix(from), until.map(from_unix)).map_err(StoreError::corrupt)
}

pub(in crate::store) fn belief(recorded_at: i64, superseded_at: Option<i64>) -> RecordedPeriod {
    RecordedPeriod {
        recorded_at: from_unix(recorded_at),
        superseded_at: superseded_at.map(from_unix),
    }
}

pub(in crate::store) fn seconds(time: Option<Time>) -> Option<i64> {
    time.map(|time| time.timestamp())
}

/// An id of a grant as the database stores it.
pub(in crate::store) fn jti(jti: &Jti) -> Result<Vec<u8>, StoreError> {
    jti_bytes(jti.as_str())
}

/// The same of its text; of the empty text, which is before all ids, no bytes.
pub(in crate::store) fn jti_bytes(text: &str) -> Result<Vec<u8>, StoreError> {
    let malformed = |_| StoreError::corrupt("malformed id of a grant");
    hex::decode(text).map_err(malformed)
}
