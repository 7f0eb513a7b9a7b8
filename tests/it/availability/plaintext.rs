//! Why a server refuses the service is asked without TLS, so only where nothing can leak, and nothing is concluded
//! from the lack of TLS.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use super::Process;
use crate::crash::kill::Carrier;
use crate::support::{Db, Kind, PgServer, PgVersion};

const SOON: Duration = Duration::from_secs(30);

/// A server in a failover may answer before it lets anybody in; systemd does not restart what ends with 78.
#[test]
fn a_server_that_lets_in_nobody_without_tls_is_waited_for() {
    let server = PgServer::start(PgVersion::Oldest);
    let db = Db::on(server.url());
    let carrier = Carrier::over(&db);
    server.lets_in("hostssl all all 127.0.0.1/32 trust");
    let plain = format!("{}?sslmode=disable", db.text_url());
    let mut processes = [db.text_url(), plain]
        .map(|url| Process::start(&carrier, &[("TN_AUTHORITY__DATABASE__URL", &url)]));
    for process in &mut processes {
        process.becomes(503, SOON);
        thread::sleep(Duration::from_secs(2));
        assert_eq!(process.get("/healthz").expect("an answer").status, 200);
    }
    server.lets_in("host all all 127.0.0.1/32 trust");
    for process in &mut processes {
        process.becomes(200, SOON);
    }
    drop(processes);
}

/// A server that has no TLS, and asks for SCRAM. It keeps what it is told.
struct FakeServer {
    address: SocketAddr,
    told: Arc<Mutex<Vec<u8>>>,
}

impl FakeServer {
    fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let told: Arc<Mutex<Vec<u8>>> = Arc::default();
        let shared = Arc::clone(&told);
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { continue };
                let told = Arc::clone(&shared);
                thread::spawn(move || talk(client, &told));
            }
        });
        Self { address, told }
    }
}

fn talk(mut client: TcpStream, told: &Mutex<Vec<u8>>) {
    let mut bytes = [0; 4_096];
    while let Ok(length @ 1..) = client.read(&mut bytes) {
        let message = &bytes[..length];
        told.lock().extend_from_slice(message);
        let is_request_for_tls = message.len() == 8;
        let answer: &[u8] = if is_request_for_tls {
            b"N"
        } else if message[0] == 0 {
            b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0"
        } else {
            break;
        };
        if client.write_all(answer).is_err() {
            break;
        }
    }
}

#[test]
fn what_the_environment_says_of_tls_keeps_user_and_password_from_a_server_without_it() {
    let carrier = Carrier::over(&Db::from(Kind::Sqlite));
    let server = FakeServer::start();
    let url = format!("postgres://visible:hunter2@{}/secret", server.address);
    let check = |mode: Option<&str>| {
        let mut command = carrier.command(&["check"]);
        command.env("TN_AUTHORITY__DATABASE__URL", &url);
        if let Some(mode) = mode {
            command.env("PGSSLMODE", mode);
        }
        let output = command.output().expect("the command");
        assert!(!output.status.success());
        let told = std::mem::take(&mut *server.told.lock());
        let name = |name: &[u8]| told.windows(name.len()).any(|part| part == name);
        assert!(!told.is_empty(), "nothing was asked");
        name(b"visible") || name(b"secret")
    };
    for mode in ["verify-full", "require"] {
        assert!(!check(Some(mode)), "{mode}");
    }
    // The fake is one that would be told.
    assert!(check(None));
}
