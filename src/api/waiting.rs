//! The state of the API while the service waits for the database at its start.

use std::sync::Arc;

use crate::authority::Signers;
use crate::domain::Time;

/// What is in the way.
pub(super) const WAITING: &str = "the service starts, and waits for the database";

/// What can be served without a database.
#[derive(Debug)]
pub struct WaitingState {
    /// Since when it waits.
    pub since: Time,
    /// The chains that this replica has.
    pub signers: Arc<Signers>,
    /// Whether there is a facade for clients of an STI-PA.
    pub has_facade: bool,
}
