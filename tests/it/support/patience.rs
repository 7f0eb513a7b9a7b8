//! How long tests wait for the database.

use std::time::Duration;

use tn_authority::store::{DatabaseTimeouts, PostgresSettings};

/// Bounds for tests of something else, on a machine that may be busy.
pub fn patient() -> PostgresSettings {
    let timeouts = DatabaseTimeouts {
        lock: Duration::from_secs(60),
        statement: Duration::from_secs(60),
        idle_in_transaction: Duration::from_secs(60),
        request: Duration::from_secs(120),
        ..DatabaseTimeouts::default()
    };
    PostgresSettings {
        timeouts,
        ..PostgresSettings::default()
    }
}
