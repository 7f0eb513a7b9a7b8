//! `[tokens]`: the lifetimes of tokens.

use serde::Deserialize;

use super::ConfigError;
use super::bounds::{at_least_one, wrong};

/// The lifetimes of tokens, in seconds. Policies can be stricter.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tokens {
    pub default_lifetime: u32,
    pub min_lifetime: u32,
    /// The longest that can be requested.
    pub max_lifetime: u32,
    /// The longest in grant-horizon mode.
    pub max_horizon: u32,
    /// Whether tokens for JWTClaimConstraints are available, as far as policies permit.
    pub jwt_claim_constraints: bool,
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            default_lifetime: 3600,
            min_lifetime: 300,
            max_lifetime: 86_400,
            max_horizon: 2_592_000,
            jwt_claim_constraints: false,
        }
    }
}

impl Tokens {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        at_least_one("tokens.min_lifetime", self.min_lifetime.into())?;
        if self.min_lifetime > self.default_lifetime {
            return wrong(
                "tokens.min_lifetime",
                format!(
                    "is {} seconds, more than `tokens.default_lifetime`, which is {}",
                    self.min_lifetime, self.default_lifetime
                ),
            );
        }
        if self.max_lifetime < self.default_lifetime {
            return wrong(
                "tokens.max_lifetime",
                format!(
                    "is {} seconds, less than `tokens.default_lifetime`, which is {}",
                    self.max_lifetime, self.default_lifetime
                ),
            );
        }
        if self.max_horizon < self.min_lifetime {
            return wrong(
                "tokens.max_horizon",
                "is less than `tokens.min_lifetime`, so no token could be signed",
            );
        }
        Ok(())
    }
}
