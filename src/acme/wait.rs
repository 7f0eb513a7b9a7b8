//! How a client waits: it can be told to stop while it does.

use std::thread;
use std::time::Duration;

use thiserror::Error;

/// Somebody wants the client to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("stopped")]
pub struct Stopped;

/// Waits.
pub trait Pause {
    /// Returns when the time is over, or at once when the client shall stop.
    ///
    /// # Errors
    /// [`Stopped`].
    fn pause(&self, time: Duration) -> Result<(), Stopped>;
}

/// Waits, and nobody can stop it but a signal that ends the process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sleep;

impl Pause for Sleep {
    fn pause(&self, time: Duration) -> Result<(), Stopped> {
        thread::sleep(time);
        Ok(())
    }
}
