//! Timestamps in bodies and parameters.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::ToSchema;

use crate::domain::Time;
use crate::domain::clock::{parse_time, rfc3339};

/// A time (RFC 3339), in whole seconds. Answers are in UTC.
#[derive(Debug, Clone, Copy, ToSchema)]
#[schema(as = Time, value_type = String, format = DateTime, example = "2026-01-01T00:00:00Z")]
pub(in crate::api) struct Instant(pub(in crate::api) Time);

impl From<Time> for Instant {
    fn from(time: Time) -> Self {
        Self(time)
    }
}

impl Serialize for Instant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&rfc3339(&self.0))
    }
}

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_time(&text).map(Self).map_err(de::Error::custom)
    }
}
