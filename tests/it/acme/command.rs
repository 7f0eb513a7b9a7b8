//! `redeem` as it is run: its files, its exit codes, its end.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use serde_json::{Value, json};
use tempfile::TempDir;
use tn_authority::domain::Clock;
use tn_authority::domain::clock::rfc3339;

use super::carrier::{Carrier, EXECUTABLE, PATIENCE, list};
use super::little_ca::{Faults, LittleCa, Reply};
use crate::support::{Db, Logged as _, Signal, keep_text, send_signal};

both!(
    one_certificate_and_the_exit_codes,
    a_timeout_of_the_cas_gateway_costs_no_second_order,
    a_certificate_is_kept_alive_until_the_number_leaves,
    a_right_to_renew_keeps_a_certificate_alive_until_the_delegation_ends,
    an_order_that_the_ca_renews_is_canceled_when_the_number_leaves,
);

/// An enterprise between a carrier and a CA.
pub struct Enterprise {
    carrier: Carrier,
    pub ca: LittleCa,
    dir: TempDir,
    token_url: String,
}

impl Enterprise {
    fn new(db: Db, faults: Faults) -> Self {
        Self::at(Carrier::over(db), faults)
    }

    pub fn at(carrier: Carrier, faults: Faults) -> Self {
        let ca = LittleCa::with(faults);
        let dir = TempDir::new().expect("a folder");
        let root = fs::read_to_string(carrier.file("root.pem")).expect("a file");
        fs::write(dir.path().join("roots.pem"), ca.root() + &root).expect("a file");
        let token_url = carrier.token_url();
        Self {
            carrier,
            ca,
            dir,
            token_url,
        }
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(EXECUTABLE);
        command
            .args([
                "redeem",
                "--directory",
                &self.ca.directory(),
                "--account-key",
            ])
            .arg(self.file("account.key"))
            .arg("--ca-file")
            .arg(self.file("roots.pem"))
            .env("TN_AUTHORITY_API_KEY", &self.carrier.api_key)
            .args(more);
        command
    }

    pub fn redeem(&self, more: &[&str]) -> Command {
        let mut command = self.command(&["--token-url", &self.token_url, "--out"]);
        command.arg(self.file("cert.pem")).args(more);
        command
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// Runs a command that ends with this code, and returns what it wrote.
#[track_caller]
pub fn ends(command: &mut Command, code: i32) -> String {
    let output = command.logged_output();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

fn one_certificate_and_the_exit_codes(db: Db) {
    let enterprise = Enterprise::new(db, Faults::default());
    let number = ["--numbers", "+12125551001"];
    let printed = ends(enterprise.redeem(&number).arg("--json"), 0);
    let printed: Value = serde_json::from_str(&printed).expect("one JSON object");
    assert_eq!(printed["subject"], "CN=12125551001");
    assert_eq!(printed["star_certificate"], Value::Null);
    let first = fs::read_to_string(enterprise.file("cert.pem")).expect("a certificate");
    let key = fs::read_to_string(enterprise.file("cert.key")).expect("a key");

    // Again: the account and the key stay, the certificate is new.
    ends(&mut enterprise.redeem(&number), 0);
    assert_ne!(
        fs::read_to_string(enterprise.file("cert.pem")).expect("a certificate"),
        first
    );
    assert_eq!(
        fs::read_to_string(enterprise.file("cert.key")).expect("a key"),
        key
    );

    // 3: the authority refuses, and names the number. The certificate that is there stays.
    let before = fs::read(enterprise.file("cert.pem")).expect("a certificate");
    let refused = ends(&mut enterprise.redeem(&["--numbers", "+12125552001"]), 3);
    assert!(refused.contains("not-delegated"), "{refused}");
    let wrong_key = "x".repeat(40);
    ends(
        enterprise
            .redeem(&number)
            .env("TN_AUTHORITY_API_KEY", &wrong_key),
        3,
    );
    assert_eq!(
        enterprise.ca.tokens().len(),
        2,
        "nothing was answered without a token"
    );
    // 4: the CA refuses.
    enterprise.ca.becomes(Faults {
        refuses: true,
        ..Faults::default()
    });
    ends(&mut enterprise.redeem(&number), 4);
    // 1: it cannot be done; and what the CA issued is not what was ordered.
    enterprise.ca.becomes(Faults {
        other_key: true,
        ..Faults::default()
    });
    let wrong = ends(&mut enterprise.redeem(&number), 1);
    assert!(wrong.contains("it is for another key"), "{wrong}");
    assert_eq!(
        fs::read(enterprise.file("cert.pem")).expect("a certificate"),
        before
    );
    ends(
        enterprise
            .redeem(&number)
            .env_remove("TN_AUTHORITY_API_KEY"),
        1,
    );
    ends(
        enterprise
            .redeem(&number)
            .args(["--csr-key", "/nowhere/at/all.key"]),
        1,
    );
    let account = enterprise.file("account.key").display().to_string();
    ends(enterprise.redeem(&number).args(["--csr-key", &account]), 1);
    // 2: the arguments make no sense. Plain HTTP is none.
    ends(&mut enterprise.redeem(&[]), 2);
    let mut plain = Command::new(EXECUTABLE);
    plain.args([
        "redeem",
        "--directory",
        "http://127.0.0.1/directory",
        "--account-key",
        "k",
    ]);
    plain.args([
        "--token-url",
        "https://a/",
        "--out",
        "o",
        "--numbers",
        "+12125551001",
    ]);
    ends(&mut plain, 2);
}

fn a_timeout_of_the_cas_gateway_costs_no_second_order(db: Db) {
    let faults = Faults {
        passed_on: Some(("finalize", 1, Reply::status(504))),
        processing: 3,
        ..Faults::default()
    };
    let enterprise = Enterprise::new(db, faults);
    ends(&mut enterprise.redeem(&["--numbers", "+12125551001"]), 0);
    let ca = &enterprise.ca;
    assert_eq!((ca.asked("order"), ca.asked("finalize")), (1, 1));
    assert_eq!(ca.forbidden(), [""; 0]);
}

/// A process with its log, which is killed when the test fails.
struct Running(Child, PathBuf);

impl Running {
    fn start(enterprise: &Enterprise, more: &[&str]) -> Self {
        let path = enterprise.file("renew.log");
        let log = fs::File::create(&path).expect("a file");
        let mut command = enterprise.redeem(more);
        command.args(["--renew", "--numbers", "+12125551001"]);
        Self(
            command
                .env("RUST_LOG", "debug")
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .expect("the command"),
            path,
        )
    }

    /// Waits until something has come about, or the process has ended.
    #[track_caller]
    fn until(&mut self, what: &str, done: impl Fn() -> bool) {
        let began = Instant::now();
        while !done() {
            assert!(began.elapsed() < PATIENCE, "{what} did not come about");
            if let Some(status) = self.0.try_wait().expect("a state") {
                assert!(done(), "it ended with {status} before {what}");
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn code(mut self) -> Option<i32> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().expect("a state") {
                return status.code();
            }
            assert!(began.elapsed() < PATIENCE, "it goes on");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        keep_text(&fs::read_to_string(&self.1).unwrap_or_default());
    }
}

fn a_certificate_is_kept_alive_until_the_number_leaves(db: Db) {
    let short = Faults {
        validity: Some((0, 6)),
        ..Faults::default()
    };
    let enterprise = Enterprise::new(db, short);
    let mut running = Running::start(&enterprise, &[]);
    running.until("a third certificate", || {
        enterprise.ca.asked("certificate") >= 3
    });
    // SIGTERM ends it well, also while it waits.
    send_signal(&running.0, Signal::TERM);
    assert_eq!(running.code(), Some(0));

    // Started again it goes on with the certificate that is there, until the number is ported out.
    let mut running = Running::start(&enterprise, &[]);
    let before = enterprise.ca.asked("certificate");
    running.until("another certificate", || {
        enterprise.ca.asked("certificate") > before
    });
    enterprise.carrier.ports_out("+12125551001");
    assert_eq!(running.code(), Some(3));
    let log = fs::read_to_string(enterprise.file("renew.log")).expect("a log");
    assert!(
        log.contains("no more certificates are fetched") && log.contains("ported-out"),
        "{log}"
    );
}

/// An agent whose key can do nothing but use one right.
fn a_right_to_renew_keeps_a_certificate_alive_until_the_delegation_ends(db: Db) {
    let short = Faults {
        validity: Some((0, 6)),
        ..Faults::default()
    };
    let mut enterprise = Enterprise::new(db, short);
    // The first certificate, and with it the account key that the right is for, is fetched by hand.
    ends(&mut enterprise.redeem(&["--numbers", "+12125551001"]), 0);
    let carrier = &enterprise.carrier;
    let key = enterprise.file("account.key").display().to_string();
    let fingerprint = carrier.run(&["fingerprint", &key]);
    let manager = carrier.run(&["api-key", "create", "--role", "provisioner"]);
    let agent = ["--role", "renewer", "--account", "acme"];
    let agent = carrier.run(&[&["api-key", "create"][..], &agent].concat());
    let loans = carrier.call(&manager, "/v1/accounts/acme/delegations", None);
    let loan = loans["items"][0]["id"].as_str().expect("a loan");
    let wanted = json!({
        "account": "acme",
        "delegation": loan,
        "tkvalue": list(&["one:12125551001"]).to_tkvalue(),
        "fingerprint": fingerprint,
        "lifetime": 300,
        "caller": agent.split('_').nth(1),
    });
    let right = carrier.call(&manager, "/v1/renewals", Some(&wanted));
    let token_url = right["token_url"].as_str().expect("a URL");
    enterprise.token_url = format!("https://{}{token_url}", carrier.address);
    enterprise.carrier.api_key = agent;

    let mut running = Running::start(&enterprise, &[]);
    let before = enterprise.ca.asked("certificate");
    running.until("two certificates by the right", || {
        enterprise.ca.asked("certificate") >= before + 2
    });
    let end = format!("/v1/delegations/{loan}/end");
    enterprise.carrier.call(&manager, &end, Some(&json!({})));
    assert_eq!(running.code(), Some(3));
}

fn an_order_that_the_ca_renews_is_canceled_when_the_number_leaves(db: Db) {
    let offering = Faults {
        star: Some((1, 86_400)),
        ..Faults::default()
    };
    let enterprise = Enterprise::new(db, offering);
    let until = rfc3339(&(Clock::system().now() + TimeDelta::hours(1)));
    let star = ["--star-until", &until, "--star-lifetime", "6"];
    let mut running = Running::start(&enterprise, &star);
    running.until("a third certificate", || enterprise.ca.asked("star") >= 3);
    assert_eq!(enterprise.ca.asked("order"), 1, "the CA renews by itself");
    enterprise.carrier.ports_out("+12125551001");
    assert_eq!(running.code(), Some(3));
    assert!(enterprise.ca.is_canceled());

    // By hand, for an order of another day.
    let enterprise_order = format!("https://{}/orders/1", enterprise.ca.address);
    let said = ends(
        &mut enterprise.command(&["--star-cancel", &enterprise_order]),
        0,
    );
    assert!(said.contains("canceled"), "{said}");
    let mut as_json = enterprise.command(&["--star-cancel", &enterprise_order, "--json"]);
    let said: serde_json::Value = serde_json::from_str(&ends(&mut as_json, 0)).expect("JSON");
    assert_eq!(said["canceled"], enterprise_order);
}
