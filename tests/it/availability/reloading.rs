//! Files that the configuration names are replaced while the service runs.

use std::fs;
use std::time::{Duration, Instant};

use super::Process;
use crate::crash::kill::Carrier;
use crate::support::{Db, Kind, Signal, send_signal};

const SOON: Duration = Duration::from_secs(60);

#[track_caller]
fn reload_has_failed(process: &Process, failed: bool) {
    let line = format!("tn_authority_tls_reload_failed {}", u8::from(failed));
    let start = Instant::now();
    loop {
        let metrics = process.operator_gets("/metrics").expect("metrics");
        if metrics.text().lines().any(|one| one == line) {
            return;
        }
        assert!(start.elapsed() < SOON, "no `{line}`:\n{}", process.said());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// By watching and by SIGHUP, for a service without TLS of its own, too.
#[test]
fn the_cas_of_webhooks_are_taken_over_and_faulty_ones_change_nothing() {
    let db = Db::from(Kind::Sqlite);
    let carrier = Carrier::over(&db);
    let chain = fs::read_to_string(carrier.dir.path().join("chain.pem")).expect("a chain");
    let ca_file = carrier.dir.path().join("hooks.pem");
    fs::write(&ca_file, &chain).expect("a file");
    let path = ca_file.to_str().expect("a path");
    let start = |interval| {
        let settings = [
            ("TN_AUTHORITY__WEBHOOKS__CA_FILE", path),
            ("TN_AUTHORITY__SERVER__TLS_POLL_INTERVAL", interval),
        ];
        let process = Process::start(&carrier, &settings);
        process.becomes(200, SOON);
        process
    };
    let process = start("86400");
    fs::write(&ca_file, "no certificate").expect("a file");
    send_signal(&process.child, Signal::HUP);
    reload_has_failed(&process, true);
    process.says("the CAs of webhooks in force stay in force", SOON);
    process.says(path, SOON);
    fs::write(&ca_file, &chain).expect("a file");
    send_signal(&process.child, Signal::HUP);
    reload_has_failed(&process, false);
    process.says("took over the CAs of webhooks", SOON);
    drop(process);

    let process = start("1");
    assert!(!process.said().contains("took over the CAs of webhooks"));
    fs::remove_file(&ca_file).expect("no file");
    reload_has_failed(&process, true);
    fs::write(&ca_file, chain).expect("a file");
    reload_has_failed(&process, false);
}
