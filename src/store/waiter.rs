//! Waits for the writer on a thread that does nothing else meanwhile.

use std::future::Future;
use std::io;

use tokio::runtime::{Builder, Runtime};

/// Runs futures of the store to completion, one at a time. It lives as long as its thread: it is
/// built once, and has no I/O and no timers, so waiting never needs a file descriptor.
#[derive(Debug)]
pub struct Waiter(Runtime);

impl Waiter {
    /// # Errors
    /// The system's error if it cannot be built.
    pub fn new() -> io::Result<Self> {
        Builder::new_current_thread().build().map(Self)
    }

    /// Blocks until the future is complete.
    pub fn wait<F: Future>(&self, future: F) -> F::Output {
        self.0.block_on(future)
    }
}
