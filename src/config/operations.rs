//! `[operations]`: the listener for metrics and health.

use std::net::SocketAddr;

use serde::Deserialize;

/// The listener for metrics and health.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Operations {
    pub listen: SocketAddr,
}

impl Default for Operations {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9090)),
        }
    }
}
