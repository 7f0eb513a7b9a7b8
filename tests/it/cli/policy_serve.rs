//! `serve` with a folder of policies: what it says of them at the start and while it runs.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::crash::kill::Carrier;
use crate::support::Db;

both!(a_running_service_takes_sound_policies_and_no_others);

const OWN: &str = r#"@id("own")
permit (principal, action in [Action::"ask", Action::"mint"], resource);
"#;
const SHORT: &str = r#"@id("short") @code("too-long")
forbid (principal, action == Action::"mint", resource) when { context.lifetime > 600 };
"#;

/// A service of its own process.
struct Served {
    process: Child,
    operations: SocketAddr,
    log: PathBuf,
}

impl Served {
    fn metrics(&self) -> String {
        let answer = TcpStream::connect(self.operations).and_then(|mut stream| {
            stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text).map(|_| text)
        });
        answer.unwrap_or_default()
    }

    /// Waits until a line of the metrics is there.
    #[track_caller]
    fn comes_to(&self, line: &str) {
        let start = Instant::now();
        while !self.metrics().lines().any(|l| l == line) {
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "no `{line}` in:\n{}\n{}",
                self.metrics(),
                self.told()
            );
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn told(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address")
}

fn a_running_service_takes_sound_policies_and_no_others(db: Db) {
    let carrier = Carrier::over(&db);
    let dir = carrier.dir.path().join("policies");
    fs::create_dir(&dir).expect("a folder");
    let write = |name: &str, text: &str| fs::write(dir.join(name), text).expect("a file");
    let (operations, log) = (free(), carrier.dir.path().join("log"));
    let serve = || {
        let mut command = carrier.command(&["serve"]);
        command
            .env("TN_AUTHORITY__POLICY__DIR", &dir)
            .env("TN_AUTHORITY__POLICY__POLL_INTERVAL", "1")
            .env("TN_AUTHORITY__SERVER__LISTEN", free().to_string())
            .env("TN_AUTHORITY__OPERATIONS__LISTEN", operations.to_string())
            .env("TN_AUTHORITY__LOG__FORMAT", "json")
            .stdout(Stdio::null());
        command
    };
    // It does not start with what is faulty.
    write("own.cedar", "permit (principal");
    let refused = serve().output().expect("the service");
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success());
    assert!(told.contains("invalid policies: own.cedar:1:"), "{told}");

    write("own.cedar", OWN);
    let process = serve()
        .stderr(fs::File::create(&log).expect("a file"))
        .spawn()
        .expect("the service");
    let served = Served {
        process,
        operations,
        log,
    };
    served.comes_to("tn_authority_policy_reload_failed 0");
    let set = |text: String| {
        let line = text
            .lines()
            .find(|l| l.starts_with("tn_authority_policy_set_info"));
        line.map(str::to_owned)
    };
    let first = set(served.metrics()).expect("a set");

    write("own.cedar", "permit (principal");
    served.comes_to("tn_authority_policy_reload_failed 1");
    thread::sleep(Duration::from_secs(3));
    let errors = served
        .told()
        .matches("the previous policies stay in force")
        .count();
    assert_eq!(errors, 1, "{}", served.told());
    assert!(
        served.told().contains("own.cedar:1:18"),
        "{}",
        served.told()
    );
    assert_eq!(set(served.metrics()), Some(first.clone()));

    write("own.cedar", OWN);
    served.comes_to("tn_authority_policy_reload_failed 0");
    write("short.cedar", SHORT);
    let start = Instant::now();
    while set(served.metrics()) == Some(first.clone()) {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "{}",
            served.told()
        );
        thread::sleep(Duration::from_millis(50));
    }
    assert!(
        served.told().contains("new policies are in force"),
        "{}",
        served.told()
    );
    let ready = TcpStream::connect(served.operations).and_then(|mut stream| {
        stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text).map(|_| text)
    });
    let ready = ready.expect("an answer");
    assert!(ready.starts_with("HTTP/1.0 200"), "{ready}");
}
