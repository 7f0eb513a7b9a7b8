//! Waiting that can be interrupted when the client has to stop.

use std::thread;
use std::time::Duration;

use thiserror::Error;

/// The client was asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("stopped")]
pub struct Stopped;

/// A way to wait.
pub trait Pause {
    /// Returns after `time`, or immediately with [`Stopped`] if the client has to stop.
    fn pause(&self, time: Duration) -> Result<(), Stopped>;
}

/// Sleeps without interruption; only a signal that ends the process stops it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sleep;

impl Pause for Sleep {
    fn pause(&self, time: Duration) -> Result<(), Stopped> {
        thread::sleep(time);
        Ok(())
    }
}
