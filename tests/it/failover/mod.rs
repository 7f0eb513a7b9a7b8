//! What the service does while its database fails: every wait has an end, nothing is lost, and nothing is decided by a
//! server that may be out of date.

mod connections;
mod engines;
mod hanging_readers;
mod held_locks;
mod languages;
mod long_transactions;
mod pooler;
mod privileges;
mod recovery;
mod replaced_primaries;
mod row_security;
mod silent_servers;

use std::time::{Duration, Instant};

use tn_authority::authority::{ChangeError, IssueError, Issued, NewExclusion, StoreError};
use tn_authority::domain::inventory::Reason;
use tn_authority::store::{DatabaseTimeouts, PostgresSettings};

use crate::support::{World, numbers, wait};

/// Bounds that a test can wait for.
fn short() -> PostgresSettings {
    PostgresSettings {
        timeouts: DatabaseTimeouts {
            connect: Duration::from_secs(2),
            lock: Duration::from_secs(1),
            statement: Duration::from_secs(2),
            reconnect: Duration::from_secs(2),
            request: Duration::from_secs(3),
            ..DatabaseTimeouts::default()
        },
        ..PostgresSettings::default()
    }
}

/// How long something took, and what came of it.
fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let started = Instant::now();
    let done = work();
    (started.elapsed(), done)
}

/// The carrier has a block, and has lent it to acme.
fn lends_a_block(world: &World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.1XXX");
}

fn mints(world: &World) -> Result<Issued, IssueError> {
    world.mints("acme", &["one:12125551001"])
}

fn ports_out(world: &World, number: &str) -> Result<(), ChangeError> {
    let new = NewExclusion {
        numbers: numbers(number),
        reason: Reason::PortedOut,
        valid_from: None,
        valid_until: None,
        force: false,
    };
    wait(world.authority.exclude(&world.provisioner(), new)).map(drop)
}

/// It was not begun, and is answered with 503 and `Retry-After`.
fn is_busy<T>(answer: &Result<T, IssueError>) -> bool {
    matches!(answer, Err(IssueError::Store(StoreError::Busy)))
}

/// The request has waited for as long as it may.
fn has_no_answer<T>(answer: &Result<T, IssueError>) -> bool {
    matches!(answer, Err(IssueError::Store(error)) if *error == StoreError::no_answer())
}
