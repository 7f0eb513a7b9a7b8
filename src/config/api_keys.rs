//! `[api_keys]`: the secret that API keys are hashed with.

use std::path::PathBuf;

use serde::Deserialize;

use super::bounds::exclude_each_other;
use super::{ConfigError, Secret};

/// The secret that API keys are hashed with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiKeys {
    pub secret: Option<Secret>,
    pub secret_file: Option<PathBuf>,
    /// The secret before this one, which still works while keys are hashed anew.
    pub previous_secret_file: Option<PathBuf>,
}

impl ApiKeys {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        exclude_each_other(
            ("api_keys.secret", self.secret.is_some()),
            ("api_keys.secret_file", self.secret_file.is_some()),
        )
    }
}
