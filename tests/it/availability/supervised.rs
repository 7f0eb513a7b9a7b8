//! The service below systemd: `Type=notify`, and a watchdog.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use tn_authority::store::AUTHORITY_LOCK;

use super::Process;
use crate::crash::kill::Carrier;
use crate::support::{Db, Kind, Raw};

const SOON: Duration = Duration::from_secs(60);

struct Systemd(UnixDatagram);

impl Systemd {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("a socket");
        let timeout = Some(Duration::from_millis(200));
        socket.set_read_timeout(timeout).expect("a timeout");
        Self(socket)
    }

    /// Waits until a message has this line, and returns all lines that came.
    #[track_caller]
    fn hears(&self, line: &str, process: &Process) -> Vec<String> {
        let (start, mut heard) = (Instant::now(), Vec::new());
        let mut bytes = [0; 1_024];
        loop {
            if let Ok(length) = self.0.recv(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                heard.extend(text.lines().map(str::to_owned));
                if text.lines().any(|one| one == line) {
                    return heard;
                }
            }
            let said = process.said();
            assert!(start.elapsed() < SOON, "no `{line}` in {heard:?}\n{said}");
        }
    }
}

/// It serves chains meanwhile, so a start that takes long is no reason to kill it.
#[test]
fn a_replica_that_does_not_become_ready_is_given_time() {
    let db = Db::from(Kind::Postgres);
    let carrier = Carrier::over(&db);
    let path = carrier.dir.path().join("notify");
    let systemd = Systemd::at(&path);
    let settings = [
        ("NOTIFY_SOCKET", path.to_str().expect("a path")),
        ("TN_AUTHORITY__DATABASE__REQUIRE_SYNCHRONOUS", "true"),
        ("TN_AUTHORITY__SERVER__SHUTDOWN_TIMEOUT", "120"),
    ];
    let mut process = Process::start(&carrier, &settings);
    systemd.hears("STATUS=not ready: durability", &process);
    for _ in 0..3 {
        let heard = systemd.hears("EXTEND_TIMEOUT_USEC=10000000", &process);
        assert!(!heard.contains(&"READY=1".to_owned()), "{heard:?}");
    }
    process.terminate();
    // What it takes at most, and a little more.
    systemd.hears("EXTEND_TIMEOUT_USEC=135000000", &process);
    assert_eq!(process.ends(SOON).code(), Some(0), "{}", process.said());
}

#[test]
fn systemd_is_notified_and_the_watchdog_fed_while_the_database_is_away() {
    let db = Db::from(Kind::Postgres);
    let carrier = Carrier::over(&db);
    let path = carrier.dir.path().join("notify");
    let systemd = Systemd::at(&path);
    db.let_in(false);
    let settings = [
        ("NOTIFY_SOCKET", path.to_str().expect("a path")),
        ("WATCHDOG_USEC", "60000000"),
    ];
    let mut process = Process::start(&carrier, &settings);
    let heard = systemd.hears("STATUS=waiting for the database", &process);
    assert!(!heard.contains(&"READY=1".to_owned()), "{heard:?}");
    systemd.hears("WATCHDOG=1", &process);
    db.let_in(true);
    systemd.hears("READY=1", &process);
    systemd.hears("STATUS=ready", &process);
    assert_eq!(process.get("/readyz").expect("an answer").status, 200);
    systemd.hears("WATCHDOG=1", &process);

    let Raw::Postgres(mut foreign) = db.connect() else {
        panic!("PostgreSQL")
    };
    let lock = format!("BEGIN; SELECT pg_advisory_xact_lock({AUTHORITY_LOCK})");
    foreign.batch_execute(&lock).expect("the lock");
    loop {
        let heard = systemd.hears("WATCHDOG=1", &process);
        if heard
            .iter()
            .any(|line| line.starts_with("STATUS=not ready: database"))
        {
            break;
        }
    }
    // The writer goes from one attempt to the next, so nobody kills it.
    for _ in 0..3 {
        systemd.hears("WATCHDOG=1", &process);
    }
    foreign.batch_execute("ROLLBACK").expect("the end");
    systemd.hears("STATUS=ready", &process);
    process.terminate();
    systemd.hears("STOPPING=1", &process);
    assert_eq!(process.ends(SOON).code(), Some(0), "{}", process.said());
}
