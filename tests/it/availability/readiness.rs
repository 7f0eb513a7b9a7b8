//! `/readyz` says whether a token could be recorded, and not whether something can be read.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use tn_authority::signer::Chain;
use tn_authority::store::AUTHORITY_LOCK;

use super::Process;
use crate::crash::kill::{Carrier, free_port};
use crate::support::{Db, Kind, Raw};

both!(a_database_that_lets_nobody_write_makes_the_service_unready);

const START: Duration = Duration::from_secs(60);

pub fn failing(process: &Process) -> Vec<String> {
    let answer = process.operator_gets("/readyz").expect("an answer").json();
    let checks = answer["checks"].as_array().expect("checks").iter();
    let failing = checks.filter(|check| check["ok"] == false);
    let failing = failing.inspect(|check| {
        assert!(
            check["since"].is_string() && check["detail"].is_string(),
            "{check}"
        );
    });
    failing
        .map(|check| check["name"].as_str().expect("a name").to_owned())
        .collect()
}

/// The path of the only certificate chain.
pub fn chain_of(carrier: &Carrier) -> String {
    let pem = std::fs::read_to_string(carrier.dir.path().join("chain.pem")).expect("a chain");
    format!(
        "/certs/{}.pem",
        Chain::from_pem(&pem).expect("a chain").name()
    )
}

/// A token that cannot be recorded is refused before the client gives up.
#[track_caller]
fn mint_is_refused_in_time(process: &Process, carrier: &Carrier) {
    let asked = Instant::now();
    assert_eq!(process.mint(carrier).expect("an answer").status, 503);
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(11), "{took:?}");
}

/// What needs no database is served, whatever happens to it.
#[track_caller]
fn serves_what_needs_no_database(process: &Process, carrier: &Carrier) {
    assert_eq!(process.get("/healthz").expect("an answer").status, 200);
    let chain = process.get(&chain_of(carrier)).expect("an answer");
    assert_eq!(chain.status, 200);
}

/// A foreign session holds the lock of PostgreSQL alone, or the write lock of SQLite.
fn a_database_that_lets_nobody_write_makes_the_service_unready(db: Db) {
    let carrier = Carrier::over(&db);
    let process = Process::start(&carrier, &[]);
    process.becomes(200, START);
    let ready = process.get("/readyz").expect("an answer").with(200);
    assert_eq!(ready["ready"], true);
    assert_eq!(process.mint(&carrier).expect("an answer").status, 200);

    let run = |raw: &mut Raw, sqlite: &str, postgres: &str| match raw {
        Raw::Sqlite(connection) => connection.batch_execute(sqlite).expect(sqlite),
        Raw::Postgres(connection) => connection.batch_execute(postgres).expect(postgres),
    };
    let mut foreign = db.connect();
    let lock = format!("BEGIN; SELECT pg_advisory_xact_lock({AUTHORITY_LOCK})");
    run(&mut foreign, "BEGIN IMMEDIATE", &lock);
    let took = process.becomes(503, Duration::from_secs(5));
    assert!(
        failing(&process).contains(&"database".to_owned()),
        "{took:?}"
    );
    let public = process.get("/readyz").expect("an answer");
    let problem = public.problem(503, "unavailable");
    assert_eq!(problem["ready"], false);
    assert!(
        !public.body.is_empty() && problem["detail"].is_null(),
        "{problem}"
    );
    serves_what_needs_no_database(&process, &carrier);
    mint_is_refused_in_time(&process, &carrier);

    run(&mut foreign, "ROLLBACK", "ROLLBACK");
    process.becomes(200, Duration::from_secs(3));
    assert_eq!(process.mint(&carrier).expect("an answer").status, 200);
    let metrics = process.operator_gets("/metrics").expect("metrics");
    let text = String::from_utf8(metrics.body).expect("text");
    for line in [
        "tn_authority_ready 1",
        "tn_authority_database_in_recovery 0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}: {text}");
    }
    let value = |name: &str| -> f64 {
        let line = text
            .lines()
            .find(|line| line.starts_with(name))
            .expect(name);
        line.rsplit(' ')
            .next()
            .and_then(|v| v.parse().ok())
            .expect(name)
    };
    assert!(value("tn_authority_writer_last_commit_timestamp_seconds ") > 1.7e9);
    assert!(value("tn_authority_readers{state=\"idle\"}") >= 1.0);
}

/// Forwards connections to a server, until it falls silent.
pub struct SilentProxy {
    pub address: SocketAddr,
    silent: Arc<AtomicBool>,
}

impl SilentProxy {
    pub fn before(server: &str) -> Self {
        let address = free_port();
        let listener = TcpListener::bind(address).expect("a port");
        let silent = Arc::new(AtomicBool::new(false));
        let (server, is_silent) = (server.to_owned(), Arc::clone(&silent));
        thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(&server)) else {
                    continue;
                };
                let clone = |stream: &TcpStream| stream.try_clone().expect("a stream");
                for (from, to) in [(clone(&client), clone(&server)), (server, client)] {
                    let is_silent = Arc::clone(&is_silent);
                    thread::spawn(move || forward(from, to, &is_silent));
                }
            }
        });
        Self { address, silent }
    }

    pub fn falls_silent(&self, silent: bool) {
        self.silent.store(silent, Ordering::SeqCst);
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, is_silent: &AtomicBool) {
    let mut bytes = [0; 16_384];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        while is_silent.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(20));
        }
        if to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// The address of the server in a URL, and the URL with another address.
pub fn through(url: &str, proxy: impl FnOnce(&str) -> SilentProxy) -> (String, SilentProxy) {
    let (start, rest) = url.split_once('@').expect("a user");
    let (server, rest) = rest.split_once('/').expect("a database");
    let proxy = proxy(server);
    (format!("{start}@{}/{rest}", proxy.address), proxy)
}

#[test]
fn a_database_that_falls_silent_makes_the_service_unready_and_comes_back_without_a_restart() {
    let db = Db::from(Kind::Postgres);
    let carrier = Carrier::over(&db);
    let (url, proxy) = through(&db.text_url(), SilentProxy::before);
    let process = Process::start(&carrier, &[("TN_AUTHORITY__DATABASE__URL", &url)]);
    process.becomes(200, START);
    proxy.falls_silent(true);
    process.becomes(503, Duration::from_secs(5));
    mint_is_refused_in_time(&process, &carrier);
    serves_what_needs_no_database(&process, &carrier);
    proxy.falls_silent(false);
    process.becomes(200, Duration::from_secs(5));
    assert_eq!(process.mint(&carrier).expect("an answer").status, 200);
}
