//! `verify --x5u-host`: a CA fetches an `x5u` from the hosts on its list, and from nowhere else.

use std::net::TcpListener;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tn_authority::acme::TokenWanted;

use super::carrier::{Carrier, EXECUTABLE, list};
use super::little_ca::{Faults, LittleCa, Reply};
use crate::support::peers::free_port;
use crate::support::{Kind, Logged as _, fingerprint};

/// The carrier's host is one of several, and the certificate is fetched over TLS.
#[test]
fn a_chain_is_fetched_from_a_host_of_the_list_alone() {
    let carrier = Carrier::over(Kind::Sqlite.into());
    let list = list(&["one:12125551001"]);
    let wanted = TokenWanted {
        list: &list,
        ca: false,
        fingerprint: fingerprint(),
    };
    let token = carrier.token(&wanted, None).expect("a token");
    let host = carrier.address.to_string();
    let root = carrier.file("root.pem").display().to_string();
    let verify = |more: &[&str]| -> Output {
        Command::new(EXECUTABLE)
            .args([
                "verify",
                "--trust",
                &root,
                "--fingerprint",
                &fingerprint().to_string(),
                &token,
            ])
            .args(more)
            .logged_output()
    };
    let said = |output: &Output| {
        let both = [output.stdout.as_slice(), &output.stderr].concat();
        String::from_utf8(both).expect("text")
    };

    let fetched = verify(&[
        "--x5u-host",
        "other.example",
        "--x5u-host",
        &host,
        "--x5u-ca",
        &root,
    ]);
    assert_eq!(fetched.status.code(), Some(0), "{}", said(&fetched));
    assert!(
        said(&fetched).contains("by a path to the trust list"),
        "{}",
        said(&fetched)
    );
    // Nothing is fetched by default, nor from a host with another port.
    for more in [
        &[][..],
        &["--x5u-host", "127.0.0.1"],
        &["--x5u-host", "localhost"],
    ] {
        let refused = verify(more);
        assert_eq!(
            refused.status.code(),
            Some(1),
            "{more:?}: {}",
            said(&refused)
        );
        assert!(
            said(&refused).contains("which is not fetched"),
            "{}",
            said(&refused)
        );
    }
    // TLS that nobody vouches for is no answer.
    let untrusted = verify(&["--x5u-host", &host]);
    assert_eq!(untrusted.status.code(), Some(2), "{}", said(&untrusted));
}

/// The authority distrusts the key: its tokens are refused, also by a CA that has the certificate in its list.
#[test]
fn a_chain_that_the_authority_has_withdrawn_is_refused() {
    let ca = LittleCa::answering(Reply::status(410));
    let token = LittleCa::token_naming(&format!("https://{}/certs/1.pem", ca.address));
    let root = ca.root_file().display().to_string();
    let output = Command::new(EXECUTABLE)
        .args(["verify", "--trust", &root])
        .args(["--fingerprint", &fingerprint().to_string()])
        .args(["--x5u-host", &ca.address.to_string(), "--x5u-ca", &root])
        .arg(&token)
        .logged_output();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    let reason = "because its key is distrusted";
    assert!(told.contains(reason), "{told}");
}

/// Checks a text in the form of a token, which names this URL, at a CA that allows this host.
fn naming(url: &str, host: &str, root: &str) -> (Option<i32>, Value, String) {
    let output = Command::new(EXECUTABLE)
        .args(["verify", "--json", "--trust", root, "--x5u-ca", root])
        .args(["--fingerprint", &fingerprint().to_string()])
        .args(["--x5u-host", host, &LittleCa::token_naming(url)])
        .logged_output();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), report, error)
}

/// Whoever makes a token chooses its URL, so what is found there refuses the token, and never keeps the check from
/// running.
#[test]
fn a_chain_that_does_not_come_as_it_should_refuses_the_token() {
    for (name, reply, reason) in [
        (
            "redirect",
            Reply::status(302).header("Location", "https://127.0.0.1/"),
            "expected status 200, got 302",
        ),
        (
            "missing",
            Reply::status(404),
            "expected status 200, got 404",
        ),
        ("broken", Reply::status(500), "expected status 200, got 500"),
        (
            "large",
            Reply::status(200).body(&"x".repeat(65 * 1024)),
            "longer than 65536 bytes",
        ),
        (
            "large head",
            Reply::status(200).header("X", &"x".repeat(40_000)),
            "does not answer",
        ),
        (
            "no chain",
            Reply::status(200).body("hello"),
            "no certificate found",
        ),
        ("hung up", Reply::lost(), "does not answer"),
    ] {
        let ca = LittleCa::answering(reply);
        let root = ca.root_file().display().to_string();
        let host = ca.address.to_string();
        let url = format!("https://{host}/certs/1.pem");
        let (code, report, error) = naming(&url, &host, &root);
        assert_eq!(code, Some(1), "{name}: {error}");
        let step = &report["steps"][1];
        assert_eq!(
            (&step["number"], &step["outcome"]),
            (&json!(2), &json!("failed"))
        );
        let detail = step["detail"].as_str().expect("a detail");
        assert!(
            detail.contains(reason) && detail.contains(&url),
            "{name}: {detail}"
        );
        // The token has other faults too.
        assert_eq!(report["problem"], "urn:ietf:params:acme:error:unauthorized");
    }
}

/// A host that is down, or that takes a connection and says nothing.
#[test]
fn a_host_that_does_not_answer_refuses_the_token() {
    let ca = LittleCa::with(Faults::default());
    let root = ca.root_file().display().to_string();
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = silent.local_addr().map(|address| (silent, address));
    let (_silent, silent) = silent.expect("an address");
    for (host, reason) in [
        (format!("127.0.0.1:{}", free_port()), "refused"),
        (silent.to_string(), "no response within 5 seconds"),
    ] {
        let (code, report, error) = naming(&format!("https://{host}/1.pem"), &host, &root);
        assert_eq!(code, Some(1), "{host}: {error}");
        let detail = report["steps"][1]["detail"].as_str().expect("a detail");
        assert!(detail.contains("does not answer"), "{detail}");
        assert!(detail.contains(reason), "{detail}");
    }
}

/// A fault of this machine: no token is refused for it, and the operator reads what to check.
#[test]
fn a_check_that_cannot_reach_any_host_has_not_been_run() {
    let ca = LittleCa::with(Faults::default());
    let own = ca.root_file().display().to_string();
    let other = LittleCa::with(Faults::default());
    let others = other.root_file().display().to_string();
    let address = ca.address.to_string();
    for (host, root) in [("authority.invalid", &own), (address.as_str(), &others)] {
        let (code, report, error) = naming(&format!("https://{host}/1.pem"), host, root);
        assert_eq!((code, &report), (Some(2), &Value::Null), "{host}: {error}");
        assert!(error.contains("cannot be fetched"), "{error}");
        assert!(error.contains("name resolution of this machine"), "{error}");
        assert!(error.contains("`--x5u-ca`"), "{error}");
    }
}
