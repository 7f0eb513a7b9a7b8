//! `[policy]`: where the Cedar policies are.

use std::path::PathBuf;

use serde::Deserialize;

use super::ConfigError;
use super::bounds::at_least_one;

/// Where the Cedar policies stand.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// The built-in policies when absent.
    pub dir: Option<PathBuf>,
    /// Seconds between two looks at the folder.
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
