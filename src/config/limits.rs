//! `[limits]`: rate limits.

use serde::Deserialize;

use super::ConfigError;
use super::bounds::wrong;

/// The maximum of a rate (per second) and of a burst.
const MAX_RATE: u32 = 1_000_000;

/// Token buckets, in each process: a rate per second, and a burst. A rate of 0 means no limit.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Requests of one caller.
    pub caller_rate: u32,
    pub caller_burst: u32,
    /// Token requests for one account.
    pub account_rate: u32,
    pub account_burst: u32,
    /// Requests without valid credentials from one IPv4 address, or one IPv6 /64.
    pub unproven_rate: u32,
    pub unproven_burst: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            caller_rate: 500,
            caller_burst: 20_000,
            account_rate: 100,
            account_burst: 5_000,
            unproven_rate: 20,
            unproven_burst: 1_000,
        }
    }
}

impl Limits {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        for (key, rate) in [
            ("limits.caller_rate", self.caller_rate),
            ("limits.account_rate", self.account_rate),
            ("limits.unproven_rate", self.unproven_rate),
        ] {
            if rate > MAX_RATE {
                return wrong(key, format!("is {rate}, more than {MAX_RATE} per second"));
            }
        }
        for (key, burst, rate) in [
            ("limits.caller_burst", self.caller_burst, self.caller_rate),
            (
                "limits.account_burst",
                self.account_burst,
                self.account_rate,
            ),
            (
                "limits.unproven_burst",
                self.unproven_burst,
                self.unproven_rate,
            ),
        ] {
            if rate > 0 && !(1..=MAX_RATE).contains(&burst) {
                return wrong(
                    key,
                    format!("is {burst}; with a rate it must be 1 to {MAX_RATE}"),
                );
            }
        }
        Ok(())
    }
}
