//! `serve` when there are no more file descriptors, for a moment: afterwards everything works again.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::crash::kill::{Carrier, free_port};
use crate::support::{Db, Kind};

both! {
    a_policy_comes_into_force_despite_idle_connections,
    a_policy_comes_into_force_after_a_time_without_file_descriptors,
}

const OWN: &str = r#"@id("own")
permit (principal, action in [Action::"ask", Action::"mint"], resource);
"#;
const NONE: &str = r#"@id("none") @code("closed")
forbid (principal, action == Action::"mint", resource);
"#;

/// A service of its own process, with a folder of policies that is polled each second.
struct Limited {
    process: Child,
    address: SocketAddr,
    operations: SocketAddr,
    log: PathBuf,
    policies: PathBuf,
    _carrier: Carrier,
    _db: Db,
}

impl Limited {
    /// Starts it with a limit of open files.
    fn serving(kind: Kind, files: u32) -> Self {
        let db = Db::from(kind);
        let carrier = Carrier::over(&db);
        let policies = carrier.dir.path().join("policies");
        fs::create_dir(&policies).expect("a folder");
        fs::write(policies.join("own.cedar"), OWN).expect("a file");
        let (address, operations) = (free_port(), free_port());
        let log = carrier.dir.path().join("log");
        let service = carrier.command(&["serve"]);
        let mut shell = Command::new("sh");
        let line = format!("ulimit -n {files} && exec \"$0\" serve");
        shell.args(["-c", &line]).arg(service.get_program());
        for (name, value) in service.get_envs() {
            shell.env(name, value.unwrap_or_default());
        }
        let process = shell
            .env("TN_AUTHORITY__POLICY__DIR", &policies)
            .env("TN_AUTHORITY__POLICY__POLL_INTERVAL", "1")
            .env("TN_AUTHORITY__SERVER__LISTEN", address.to_string())
            .env("TN_AUTHORITY__OPERATIONS__LISTEN", operations.to_string())
            .env("TN_AUTHORITY__LOG__FORMAT", "json")
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).expect("a file"))
            .spawn()
            .expect("the service");
        let limited = Self {
            process,
            address,
            operations,
            log,
            policies,
            _carrier: carrier,
            _db: db,
        };
        limited.until("it serves", || !limited.set_in_force().is_empty());
        limited
    }

    fn get(&self, path: &str) -> String {
        let answer = TcpStream::connect(self.operations).and_then(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())?;
            let mut text = String::new();
            stream.read_to_string(&mut text).map(|_| text)
        });
        answer.unwrap_or_default()
    }

    /// The line of the metrics that names the policies in force.
    fn set_in_force(&self) -> String {
        let metrics = self.get("/metrics");
        let is_set = |line: &&str| line.starts_with("tn_authority_policy_set_info");
        metrics.lines().find(is_set).unwrap_or_default().to_owned()
    }

    fn logged(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    #[track_caller]
    fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let start = Instant::now();
        while !is_so() {
            let passed = start.elapsed() < Duration::from_secs(60);
            assert!(passed, "not in a minute: {what}\n{}", self.logged());
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn forbid_all(&self) {
        fs::write(self.policies.join("none.cedar"), NONE).expect("a file");
    }

    /// Limits the files that the running process can open.
    fn limit_files(&self, files: u64) -> Rlimit {
        let pid = i32::try_from(self.process.id()).expect("a process id");
        let limit = Rlimit {
            current: Some(files),
            maximum: Some(500),
        };
        prlimit(Pid::from_raw(pid), Resource::Nofile, limit).expect("a limit")
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn a_policy_comes_into_force_despite_idle_connections(kind: Kind) {
    let service = Limited::serving(kind, 500);
    let first = service.set_in_force();
    // More than it can have open. Those that it does not accept wait in the backlog.
    let idle: Vec<TcpStream> = (0..700)
        .filter_map(|_| TcpStream::connect(service.address).ok())
        .collect();
    assert!(idle.len() > 500, "{} connections", idle.len());
    service.forbid_all();
    // Many polls happen while the connections are open.
    thread::sleep(Duration::from_secs(4));
    drop(idle);
    service.until("the policy is in force", || {
        ![&first, ""].contains(&service.set_in_force().as_str())
    });
    let ready = service.get("/readyz");
    assert!(ready.starts_with("HTTP/1.0 200"), "{ready}");
    let warned = service.logged();
    assert!(
        warned.contains("`server.max_connections` is 10000"),
        "{warned}"
    );
}

fn a_policy_comes_into_force_after_a_time_without_file_descriptors(kind: Kind) {
    let service = Limited::serving(kind, 500);
    let first = service.set_in_force();
    // It cannot open anything; what is open stays open.
    service.limit_files(3);
    service.forbid_all();
    service.until("a poll failed", || {
        let log = service.logged();
        log.contains("Too many open files")
    });
    thread::sleep(Duration::from_secs(3));
    service.limit_files(500);
    service.until("the policy is in force", || {
        ![&first, ""].contains(&service.set_in_force().as_str())
    });
    let ready = service.get("/readyz");
    assert!(ready.starts_with("HTTP/1.0 200"), "{ready}");
}
