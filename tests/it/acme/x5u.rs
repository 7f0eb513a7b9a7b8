//! `verify --x5u-host`: a CA fetches an `x5u` from the hosts on its list, and from nowhere else.

use std::process::{Command, Output};

use tn_authority::acme::TokenWanted;

use super::carrier::{Carrier, EXECUTABLE, list};
use super::little_ca::{LittleCa, Reply};
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

/// A host on the list that does not do what it should: the check could not be run, and nothing is accepted.
#[test]
fn a_chain_that_does_not_come_as_it_should_is_no_chain() {
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
        (
            "large",
            Reply::status(200).body(&"x".repeat(65 * 1024)),
            "longer than 65536 bytes",
        ),
        (
            "no chain",
            Reply::status(200).body("hello"),
            "no certificate found",
        ),
    ] {
        let ca = LittleCa::answering(reply);
        let token = LittleCa::token_naming(&format!("https://{}/certs/1.pem", ca.address));
        let root = ca.root_file().display().to_string();
        let output = Command::new(EXECUTABLE)
            .args([
                "verify",
                "--trust",
                &root,
                "--fingerprint",
                &fingerprint().to_string(),
            ])
            .args([
                "--x5u-host",
                &ca.address.to_string(),
                "--x5u-ca",
                &root,
                &token,
            ])
            .logged_output();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{name}: {error}");
        assert!(error.contains(reason), "{name}: {error}");
    }
}
