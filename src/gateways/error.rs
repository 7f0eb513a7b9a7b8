//! Why a gateway cannot be used as it is configured.

use std::fmt::Display;

use thiserror::Error;

/// A key of a gateway that cannot be used. The caller names the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{key}` {why}")]
pub struct GatewayError {
    key: &'static str,
    why: String,
}

impl GatewayError {
    #[must_use]
    pub fn wrong(key: &'static str, why: &dyn Display) -> Self {
        Self {
            key,
            why: why.to_string(),
        }
    }
}
