//! `[api_keys]`: the secret under which API keys are hashed.

use std::path::PathBuf;

use serde::Deserialize;

use super::bounds::exclude_each_other;
use super::{ConfigError, Secret};

/// How API keys are kept: as a hash under a secret key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiKeys {
    pub secret: Option<Secret>,
    pub secret_file: Option<PathBuf>,
}

impl ApiKeys {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        exclude_each_other(
            ("api_keys.secret", self.secret.is_some()),
            ("api_keys.secret_file", self.secret_file.is_some()),
        )
    }
}
