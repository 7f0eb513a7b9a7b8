//! `[webhooks]`: where notifications may be sent.

use std::path::PathBuf;

use serde::Deserialize;

use crate::domain::Network;

/// Who may be told of what happens.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Webhooks {
    /// Networks of the carrier's own that targets may be in, though they are not public.
    pub allow_private: Vec<Network>,
    /// CAs (PEM) that targets are believed by, in place of those of the system.
    pub ca_file: Option<PathBuf>,
}
