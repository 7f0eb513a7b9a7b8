//! Which clock judges the minutes in which a code is valid. Each replica judges by its own; so one
//! whose clock is wrong would end the proofs of the others, or accept codes that have expired. The
//! database's clock is the one that they have in common.

use crate::authority::{Authority, StoreError};
use crate::domain::Clock;
use crate::domain::control::proof::ControlProof;
use crate::store::Tx;

/// What the clock of this replica is compared with.
#[derive(Debug, Clone)]
pub enum ReferenceClock {
    /// That of the database.
    Database,
    /// One that tests set.
    Given(Clock),
}

impl Authority {
    /// Refuses to go on if the clock of this replica is wrong: nothing is started, sent, confirmed
    /// or reported as failed, which is left to the other replicas.
    ///
    /// # Errors
    /// If the clocks differ by more than those of replicas may, or the database fails.
    pub(super) fn check_clock(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let now = self.clock.now();
        let reference = match &self.control.reference {
            ReferenceClock::Database => tx.database_time()?,
            ReferenceClock::Given(clock) => Some(clock.now()),
        };
        let difference = reference.map_or(0, |reference| (now - reference).num_seconds());
        if difference.abs() <= ControlProof::MAX_CLOCK_DIFFERENCE {
            return Ok(());
        }
        let direction = if difference > 0 { "ahead of" } else { "behind" };
        Err(StoreError::Unavailable(format!(
            "the clock of this machine is {} seconds {direction} that of the database, so it cannot be said which \
             codes are valid; synchronize it",
            difference.abs()
        )))
    }
}
