//! Ids for new rows.

use std::sync::Mutex;

use uuid::timestamp::context::ContextV7;
use uuid::{Timestamp, Uuid};

use super::clock::{Time, within_second};

/// Makes an id for a new row (UUID version 7, RFC 9562 §5.7). Ids from one process increase, within
/// a second too; ids from several processes are ordered by millisecond.
#[must_use]
pub fn new_id(now: Time) -> Uuid {
    static CONTEXT: Mutex<ContextV7> = Mutex::new(ContextV7::new());
    let seconds = u64::try_from(now.timestamp()).unwrap_or_default();
    Uuid::new_v7(Timestamp::from_unix(&CONTEXT, seconds, within_second(now)))
}
