//! A service that starts while the database is away.

use std::time::Duration;

use super::Process;
use super::readiness::chain_of;
use crate::crash::kill::Carrier;
use crate::support::{Db, Kind, Signal, send_signal};

const SOON: Duration = Duration::from_secs(30);
const UNKNOWN: &str = "/certs/5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e.pem";

#[test]
fn a_service_that_starts_while_the_database_is_away_serves_chains_and_waits() {
    let db = Db::from(Kind::Postgres);
    let carrier = Carrier::over(&db);
    db.let_in(false);
    let mut process = Process::start(&carrier, &[]);
    process.becomes(503, SOON);
    for answer in [process.get("/readyz"), process.operator_gets("/readyz")] {
        let problem = answer.expect("an answer").problem(503, "unavailable");
        assert_eq!(problem["ready"], false);
        assert_eq!(problem["checks"][0]["name"], "start", "{problem}");
        let detail = problem["checks"][0]["detail"].as_str().expect("a detail");
        assert!(detail.contains("waits for the database"), "{detail}");
    }
    assert_eq!(process.get("/healthz").expect("an answer").status, 200);
    assert_eq!(
        process.get(&chain_of(&carrier)).expect("an answer").status,
        200
    );
    // Another replica may have published it.
    for path in [UNKNOWN, "/v1/accounts"] {
        let answer = process.get(path).expect("an answer");
        answer.problem(503, "unavailable");
        assert_eq!(answer.header("retry-after"), Some("1"), "{path}");
    }
    assert_eq!(process.mint(&carrier).expect("an answer").status, 503);

    db.let_in(true);
    process.becomes(200, SOON);
    assert_eq!(process.mint(&carrier).expect("an answer").status, 200);
    process
        .get(UNKNOWN)
        .expect("an answer")
        .problem(404, "not-found");
    process.terminate();
    assert_eq!(process.ends(SOON).code(), Some(0), "{}", process.said());
    // Its row is gone, so nobody has to wait for it.
    db.execute(
        "DO $$ BEGIN IF EXISTS (SELECT FROM replicas) THEN RAISE 'a row is left'; END IF; END $$",
    );
}

/// As a supervisor or a script sends it when a certificate was renewed, whatever the service does then.
#[test]
fn a_hangup_during_the_start_ends_nothing_and_is_not_forgotten() {
    let db = Db::from(Kind::Postgres);
    let carrier = Carrier::over(&db);
    db.let_in(false);
    let process = Process::start(&carrier, &[]);
    process.becomes(503, SOON);
    send_signal(&process.child, Signal::HUP);
    assert_eq!(process.get("/healthz").expect("an answer").status, 200);
    let scans = "SIGHUP: scanning for certificates";
    assert!(!process.said().contains(scans));
    db.let_in(true);
    process.becomes(200, SOON);
    process.says(scans, SOON);
}

#[test]
fn it_does_not_wait_for_ever_and_can_be_stopped_while_it_waits() {
    let db = Db::from(Kind::Postgres);
    let carrier = Carrier::over(&db);
    db.let_in(false);
    let mut process = Process::start(&carrier, &[("TN_AUTHORITY__DATABASE__WAIT_AT_START", "1")]);
    assert_eq!(process.ends(SOON).code(), Some(1), "{}", process.said());
    assert!(
        process.said().contains("cannot be reached"),
        "{}",
        process.said()
    );

    let mut process = Process::start(&carrier, &[]);
    process.becomes(503, SOON);
    process.terminate();
    assert_eq!(process.ends(SOON).code(), Some(0), "{}", process.said());
    db.let_in(true);
}

/// By the SQLSTATE, so in any language of the server.
#[test]
fn a_wrong_password_or_an_unknown_database_is_not_waited_for() {
    let db = Db::from(Kind::Postgres);
    let carrier = Carrier::over(&db);
    let url = db.text_url();
    let (start, end) = url.split_once('@').expect("a user");
    let (scheme, _) = start.split_once("://").expect("a scheme");
    let host = end.split('/').next().expect("a host");
    for (wrong, says) in [
        (
            format!("{start}@{host}/no_such_database"),
            "no such database",
        ),
        (
            format!("{scheme}://postgres:WRONGPW@{end}"),
            "the password is wrong",
        ),
    ] {
        let mut process = Process::start(&carrier, &[("TN_AUTHORITY__DATABASE__URL", &wrong)]);
        let code = process.ends(SOON).code();
        let said = process.said();
        assert_eq!(code, Some(78), "{said}");
        assert!(said.contains(says) && !said.contains("WRONGPW"), "{said}");
    }
}

#[test]
fn a_configuration_that_cannot_work_is_not_worth_another_start() {
    let db = Db::from(Kind::Sqlite);
    let carrier = Carrier::over(&db);
    for (name, value, says) in [
        ("TN_AUTHORITY__SERVER__READY_AGE", "0", "server.ready_age"),
        (
            "TN_AUTHORITY__DATABASE__WAIT_AT_START",
            "9999",
            "wait_at_start",
        ),
        (
            "TN_AUTHORITY__DATABASE__REQUIRE_SYNCHRONOUS",
            "true",
            "needs PostgreSQL",
        ),
        (
            "TN_AUTHORITY__DATABASE__URL",
            "mysql://nothing",
            "the database URL",
        ),
    ] {
        let mut process = Process::start(&carrier, &[(name, value)]);
        assert_eq!(process.ends(SOON).code(), Some(78), "{}", process.said());
        assert!(process.said().contains(says), "{}", process.said());
    }
}

#[test]
fn check_says_whether_a_commit_outlives_a_failover_and_deep_what_the_server_is() {
    let db = Db::from(Kind::Postgres);
    let carrier = Carrier::over(&db);
    let said = carrier.run(&["check"]);
    let standbys = "ok      synchronous standbys: none, since `synchronous_standby_names` is empty";
    assert!(said.contains(standbys), "{said}");
    assert!(!said.contains("full_page_writes"), "{said}");
    let said = carrier.run(&["check", "--deep"]);
    for line in [
        "database server: PostgreSQL ",
        ", primary",
        "clock of the database: ",
        "`fsync` is `",
        "`synchronous_standby_names` is ``",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    let mut strict = carrier.command(&["check"]);
    strict.env("TN_AUTHORITY__DATABASE__REQUIRE_SYNCHRONOUS", "true");
    let output = strict.output().expect("the command");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success());
    assert!(
        said.contains("FAILED  synchronous standbys: none"),
        "{said}"
    );
    assert!(
        said.contains("`database.require_synchronous` is set"),
        "{said}"
    );
}

/// Without a standby, a replica that requires one starts, is not ready, and issues nothing.
#[test]
fn a_required_standby_that_does_not_exist_is_a_condition_of_readiness() {
    let db = Db::from(Kind::Postgres);
    let carrier = Carrier::over(&db);
    let settings = [("TN_AUTHORITY__DATABASE__REQUIRE_SYNCHRONOUS", "true")];
    let process = Process::start(&carrier, &settings);
    process.becomes(503, SOON);
    let start = std::time::Instant::now();
    loop {
        let answer = process.operator_gets("/readyz").expect("an answer").json();
        if answer["detail"]
            .as_str()
            .is_some_and(|d| d.contains("require_synchronous"))
        {
            break;
        }
        assert!(start.elapsed() < SOON, "{answer}");
    }
    assert_eq!(process.mint(&carrier).expect("an answer").status, 503);
    let chain = process.get(&chain_of(&carrier)).expect("an answer");
    assert_eq!(chain.status, 200);
}
