//! `[operations]`: the listener for metrics and health.

use std::net::SocketAddr;

use serde::Deserialize;

use super::address::socket_address;

/// The listener for metrics and health.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Operations {
    #[serde(deserialize_with = "socket_address")]
    pub listen: SocketAddr,
}

impl Default for Operations {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9090)),
        }
    }
}
