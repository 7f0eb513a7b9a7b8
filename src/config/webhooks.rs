//! `[webhooks]`: the targets that notifications can be sent to.

use std::path::PathBuf;

use serde::Deserialize;

use crate::domain::Network;
use crate::domain::network::embedded_ipv4::Nat64Prefix;

/// The targets that notifications can be sent to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Webhooks {
    /// Networks that are not public, but in which targets are permitted.
    pub allow_private: Vec<Network>,
    /// The prefixes of translators from IPv6 to IPv4, besides the well-known one.
    pub nat64_prefixes: Vec<Nat64Prefix>,
    /// CAs (PEM) for TLS with targets, in place of those of the system.
    pub ca_file: Option<PathBuf>,
}
