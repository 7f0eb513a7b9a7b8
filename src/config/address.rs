//! The address that a server of ours listens on.

use std::net::SocketAddr;

use serde::{Deserialize as _, Deserializer, de};

/// Reads an address with a port.
pub(super) fn socket_address<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wrong = || {
        de::Error::custom(format!(
            "`{text}` is not an address and a port, such as 0.0.0.0:8443 or [::]:8443"
        ))
    };
    text.parse().map_err(|_| wrong())
}
