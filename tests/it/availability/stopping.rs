//! A service that is stopped: requests in progress are answered, and nothing keeps it from ending.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use tn_authority::store::AUTHORITY_LOCK;

use super::Process;
use crate::crash::kill::Carrier;
use crate::support::{Db, Kind, Raw};

both!(a_request_in_progress_is_answered_when_the_service_stops);

const SOON: Duration = Duration::from_secs(30);

/// A session of somebody else, which keeps the service from writing.
fn holds_the_lock(db: &Db) -> Raw {
    let mut session = db.connect();
    match &mut session {
        Raw::Sqlite(c) => c.batch_execute("BEGIN IMMEDIATE"),
        Raw::Postgres(c) => c.batch_execute(&format!(
            "BEGIN; SELECT pg_advisory_xact_lock({AUTHORITY_LOCK})"
        )),
    }
    .expect("the lock");
    session
}

fn lets_go(mut session: Raw) {
    match &mut session {
        Raw::Sqlite(c) => c.batch_execute("ROLLBACK"),
        Raw::Postgres(c) => c.batch_execute("ROLLBACK"),
    }
    .expect("an end");
}

#[track_caller]
fn wait_for(process: &Process, what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < SOON, "never {what}:\n{}", process.said());
        thread::sleep(Duration::from_millis(10));
    }
}

fn a_request_in_progress_is_answered_when_the_service_stops(db: Db) {
    let carrier = Carrier::over(&db);
    let mut process = Process::start(&carrier, &[]);
    process.becomes(200, SOON);
    let session = holds_the_lock(&db);
    thread::scope(|scope| {
        let minted = scope.spawn(|| process.mint(&carrier));
        wait_for(&process, "a request that waits", || {
            let metrics = process.operator_gets("/metrics").expect("metrics");
            let open = "tn_authority_open_connections{listener=\"api\"} 1";
            metrics.text().contains(open) && !metrics.text().contains("writer_blocked_seconds 0\n")
        });
        process.terminate();
        wait_for(&process, "closed", || {
            TcpStream::connect(process.api).is_err()
        });
        // Longer than it takes to stop a server that has nothing to do.
        thread::sleep(Duration::from_millis(600));
        let alive = process.operator_gets("/healthz").expect("an answer");
        assert_eq!(alive.status, 200, "operators are answered until the end");
        lets_go(session);
        let answer = minted.join().expect("a thread").expect("an answer");
        assert_eq!(answer.status, 200, "{}", process.said());
    });
    assert_eq!(process.ends(SOON).code(), Some(0), "{}", process.said());
}

/// As while another replica applies migrations.
#[test]
fn a_start_that_waits_for_a_lock_serves_chains_and_can_be_stopped() {
    let db = Db::from(Kind::Postgres);
    let carrier = Carrier::over(&db);
    let mut session = db.connect();
    let Raw::Postgres(c) = &mut session else {
        unreachable!("PostgreSQL");
    };
    let locks = "BEGIN; SELECT pg_advisory_xact_lock(8468773)";
    c.batch_execute(locks).expect("the lock of migrations");
    let mut process = Process::start(&carrier, &[]);
    process.becomes(503, SOON);
    assert_eq!(process.get("/healthz").expect("an answer").status, 200);
    process.terminate();
    assert_eq!(process.ends(SOON).code(), Some(0), "{}", process.said());
    lets_go(session);
}
