//! `[aging]`: how long numbers age after they are disconnected.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde::Deserialize;

use super::ConfigError;
use super::bounds::wrong;

/// The permitted days, for numbers of any class.
const DAYS: RangeInclusive<u32> = 45..=365;

/// How long disconnected numbers age before they can be delegated again.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Aging {
    /// Days, by the class of the previous subscriber; 45 to 365 each.
    pub days: BTreeMap<String, u32>,
}

impl Default for Aging {
    fn default() -> Self {
        // 47 CFR 52.15(f)(1)(ii): at most 90 days for residential numbers and 365 for those of
        // businesses.
        let days = [("residential", 90), ("business", 365)];
        Self {
            days: days.map(|(class, days)| (class.to_owned(), days)).into(),
        }
    }
}

impl Aging {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        match self.days.iter().find(|(_, days)| !DAYS.contains(days)) {
            None => Ok(()),
            Some((class, days)) => wrong(
                "aging.days",
                format!("has {days} days for `{class}`; must be 45 to 365"),
            ),
        }
    }
}
