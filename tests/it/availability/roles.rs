//! What a role of PostgreSQL may do, and what its server does with a commit, decide whether a token could be issued.

use std::time::{Duration, Instant};

use super::Process;
use super::readiness::failing;
use crate::crash::kill::Carrier;
use crate::support::{Db, PgServer, PgVersion};

const START: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(20);

/// A service whose role is no superuser.
struct Service {
    process: Process,
    carrier: Carrier,
    db: Db,
    server: PgServer,
}

impl Service {
    fn start() -> Self {
        let server = PgServer::start(PgVersion::Oldest);
        let db = Db::on(server.url());
        let carrier = Carrier::over(&db);
        let url = server.carrier_role(&db);
        let process = Process::start(&carrier, &[("TN_AUTHORITY__DATABASE__URL", &url)]);
        process.becomes(200, START);
        Self {
            process,
            carrier,
            db,
            server,
        }
    }

    fn mints(&self) -> u16 {
        let answer = self.process.mint(&self.carrier);
        answer.expect("an answer").status
    }

    /// Waits until this check fails alone.
    #[track_caller]
    fn fails(&self, check: &str) {
        let start = Instant::now();
        loop {
            let failing = failing(&self.process);
            if failing == [check] {
                break;
            }
            assert!(start.elapsed() < SOON, "{failing:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
        let status = self.process.get("/readyz").expect("an answer").status;
        assert_eq!(status, 503);
    }
}

/// The writer has the only session that there may be.
#[test]
fn a_replica_that_can_write_and_not_read_is_not_ready() {
    let service = Service::start();
    // Between two transactions, the last statement of the writer is its COMMIT.
    let ends = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                WHERE usename = 'carrier' AND state = 'idle' AND query <> 'COMMIT'";
    service
        .server
        .execute(&["ALTER ROLE carrier CONNECTION LIMIT 1"]);
    let start = Instant::now();
    while failing(&service.process) != ["readers"] && start.elapsed() < SOON {
        // A connection may have been in use at that moment.
        service.server.execute(&[ends]);
        std::thread::sleep(Duration::from_millis(200));
    }
    service.fails("readers");
    service
        .server
        .execute(&["ALTER ROLE carrier CONNECTION LIMIT -1"]);
    service.process.becomes(200, SOON);
    assert_eq!(service.mints(), 200);
}

#[test]
fn a_replica_that_may_not_write_what_a_token_needs_is_not_ready() {
    let service = Service::start();
    assert_eq!(service.mints(), 200);
    for (privilege, table) in [("INSERT", "grants"), ("SELECT", "exclusions")] {
        service
            .db
            .execute(&format!("REVOKE {privilege} ON {table} FROM carrier"));
        service.fails("privileges");
        assert_eq!(service.mints(), 503);
        let readyz = service.process.operator_gets("/readyz").expect("an answer");
        let text = String::from_utf8(readyz.body).expect("text");
        assert!(text.contains(&format!("{table} ({privilege})")), "{text}");
        service
            .db
            .execute(&format!("GRANT {privilege} ON {table} TO carrier"));
        service.process.becomes(200, SOON);
    }
}

/// What it knows of the server and of the other replicas gets old, although it issues tokens.
#[test]
fn a_heartbeat_that_fails_makes_a_replica_unready_although_others_write() {
    let service = Service::start();
    service.db.execute("REVOKE UPDATE ON replicas FROM carrier");
    let start = Instant::now();
    while service.process.get("/readyz").expect("an answer").status == 200 {
        assert_eq!(service.mints(), 200);
        assert!(start.elapsed() < SOON, "it is still ready");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(failing(&service.process), ["database"]);
    assert_eq!(service.mints(), 200);
    service.db.execute("GRANT UPDATE ON replicas TO carrier");
    service.process.becomes(200, SOON);
}

#[test]
fn a_server_that_does_not_wait_for_its_disk_is_not_durable() {
    let service = Service::start();
    for setting in ["fsync", "full_page_writes"] {
        let switch = |value: &str| {
            service.server.execute(&[
                &format!("ALTER SYSTEM SET {setting} = {value}"),
                "SELECT pg_reload_conf()",
            ]);
        };
        switch("off");
        service.fails("durability");
        assert_eq!(service.mints(), 503);
        let check = service.carrier.command(&["check"]).output();
        let check = check.expect("the command");
        let said = String::from_utf8(check.stdout).expect("text");
        assert!(!check.status.success(), "{said}");
        let failed = format!("FAILED  durability: `{setting}` must be on");
        assert!(said.contains(&failed), "{said}");
        let mut trusting = service.carrier.command(&["check"]);
        trusting.env("TN_AUTHORITY__DATABASE__TRUST_STORAGE", "true");
        let trusting = trusting.output().expect("the command");
        let said = String::from_utf8(trusting.stdout).expect("text");
        assert!(trusting.status.success(), "{said}");
        switch("on");
        service.process.becomes(200, SOON);
    }
}
