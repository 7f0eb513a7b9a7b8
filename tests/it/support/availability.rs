//! When a replica of a test is ready.

use std::time::Duration;

use tn_authority::authority::ReadinessSettings;
use tn_authority::domain::replica::SharedSettings;

/// One commit is enough for the length of a test, since worlds have no heartbeat of their own.
pub fn readiness_settings() -> ReadinessSettings {
    ReadinessSettings {
        name: "replica".to_owned(),
        shared: SharedSettings {
            secrets: vec!["one for all worlds".to_owned()],
            ..SharedSettings::default()
        },
        max_age: Duration::from_secs(3_600),
        require_synchronous: false,
        trust_storage: false,
        max_clock_offset: 5,
    }
}
