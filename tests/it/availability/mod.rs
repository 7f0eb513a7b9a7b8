//! Whether tokens can be issued, and who is told: balancers, operators, other replicas and systemd.

mod certs;
mod plaintext;
mod readiness;
mod reloading;
mod replicas;
mod roles;
mod starting;
mod stopping;
mod supervised;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::crash::kill::{Carrier, free_port};
use crate::support::service::Answer;
use crate::support::{Signal, send_signal};

/// A service of its own process.
struct Process {
    child: Child,
    api: SocketAddr,
    operations: SocketAddr,
    log: PathBuf,
}

impl Process {
    fn start(carrier: &Carrier, settings: &[(&str, &str)]) -> Self {
        let (api, operations) = (free_port(), free_port());
        let log = carrier.dir.path().join(format!("log-{}", api.port()));
        let mut command = carrier.command(&["serve"]);
        command
            .env("TN_AUTHORITY__SERVER__LISTEN", api.to_string())
            .env("TN_AUTHORITY__OPERATIONS__LISTEN", operations.to_string())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).expect("a file"));
        for (name, value) in settings {
            command.env(name, value);
        }
        Self {
            child: command.spawn().expect("the service"),
            api,
            operations,
            log,
        }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// What the API answers; `None` if nobody does.
    fn get(&self, path: &str) -> Option<Answer> {
        ask(self.api, &format!("GET {path} HTTP/1.1\r\n"), "")
    }

    /// What operators are answered.
    fn operator_gets(&self, path: &str) -> Option<Answer> {
        ask(self.operations, &format!("GET {path} HTTP/1.1\r\n"), "")
    }

    fn mint(&self, carrier: &Carrier) -> Option<Answer> {
        let key = &carrier.api_key;
        let head = format!(
            "POST /at/account/acme/token HTTP/1.1\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\n"
        );
        let body = crate::support::service::asking(&["one:12125551001"]).to_string();
        ask(self.api, &head, &body)
    }

    /// Waits until `/readyz` has this status, and returns how long that took.
    #[track_caller]
    fn becomes(&self, status: u16, within: Duration) -> Duration {
        let start = Instant::now();
        while self.get("/readyz").is_none_or(|one| one.status != status) {
            assert!(
                start.elapsed() < within,
                "no {status} within {within:?}: {:?}\n{}",
                self.operator_gets("/readyz"),
                self.said()
            );
            thread::sleep(Duration::from_millis(50));
        }
        start.elapsed()
    }

    /// Waits until the log has this text.
    #[track_caller]
    fn says(&self, text: &str, within: Duration) {
        let start = Instant::now();
        while !self.said().contains(text) {
            assert!(start.elapsed() < within, "no `{text}`:\n{}", self.said());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the process has ended.
    #[track_caller]
    fn ends(&mut self, within: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a process") {
                return status;
            }
            assert!(start.elapsed() < within, "it still runs:\n{}", self.said());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends SIGTERM.
    fn terminate(&self) {
        send_signal(&self.child, Signal::TERM);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ask(address: SocketAddr, head: &str, body: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    let timeout = Some(Duration::from_secs(30));
    stream.set_read_timeout(timeout).expect("a timeout");
    let length = body.len();
    let request = format!(
        "{head}host: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    (!bytes.is_empty()).then(|| Answer::read(&bytes))
}
