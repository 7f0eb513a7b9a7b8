//! `[webhooks]`: the targets that notifications can be sent to.

use std::path::PathBuf;

use serde::Deserialize;

use crate::domain::Network;

/// The targets that notifications can be sent to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Webhooks {
    /// Networks that are not public, but in which targets are permitted.
    pub allow_private: Vec<Network>,
    /// CAs (PEM) for TLS with targets, in place of those of the system.
    pub ca_file: Option<PathBuf>,
}
