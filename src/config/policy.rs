//! `[policy]`: the Cedar policies.

use std::path::PathBuf;

use serde::Deserialize;

use super::ConfigError;
use super::bounds::at_least_one;

/// The Cedar policies.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// The folder of policies; the built-in ones when absent.
    pub dir: Option<PathBuf>,
    /// Seconds between two polls of the folder.
    pub poll_interval: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            dir: None,
            poll_interval: 10,
        }
    }
}

impl Policy {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        at_least_one("policy.poll_interval", self.poll_interval.into())
    }
}
