//! Whether the client of a request is still connected.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the client of a connection is still there. Its connection notes that it has left; the
/// writer reads it before it begins an order.
#[derive(Debug, Clone, Default)]
pub struct ClientPresence(Arc<AtomicBool>);

impl ClientPresence {
    /// The client has closed its side of the connection, so it most likely expects no answer.
    pub fn leave(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    #[must_use]
    pub fn has_left(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
