//! What `check` warns about: settings with which the service starts, and does not do what was meant.

use std::fs;
use std::process::Command;

use chrono::TimeDelta;
use tempfile::TempDir;
use tn_authority::domain::Clock;
use tn_authority::signer::FileKey;
use tn_authority::signer::csr::{RequestedNames, certificate_request};
use tn_authority::signer::development::{DevelopmentCa, SpcCertificate};

use super::import_blocks::EXECUTABLE;
use crate::support::{Logged as _, write_private};

/// A folder with everything that `check` wants.
pub(super) struct Service {
    pub(super) dir: TempDir,
    ca: DevelopmentCa,
}

impl Service {
    pub(super) fn new() -> Self {
        let dir = TempDir::new().expect("a folder");
        let now = Clock::system().now();
        let validity = now - TimeDelta::days(1)..=now + TimeDelta::days(30);
        let ca = DevelopmentCa::new("Development CA", validity.clone()).expect("a CA");
        let certificate = SpcCertificate::new("1234".parse().expect("a code"), validity);
        let certificate = certificate.expect("a list");
        let issued = ca
            .issue_spc_certificate(&certificate)
            .expect("a certificate");
        fs::create_dir(dir.path().join("signers")).expect("a folder");
        fs::write(dir.path().join("signers/1.pem"), issued.chain_pem).expect("a file");
        write_private(&dir.path().join("signers/1.key"), &issued.key_pem);
        let service = Self { dir, ca };
        let (migrated, told) = service.run("migrate", &[]);
        assert!(migrated, "{told}");
        service
    }

    /// A TLS certificate for a host, for a time around now, in days. Returns the settings.
    pub(super) fn certificate(&self, host: &str, days: (i64, i64)) -> [(&'static str, String); 2] {
        let now = Clock::system().now();
        let validity = now + TimeDelta::days(days.0)..=now + TimeDelta::days(days.1);
        let issued = self.ca.issue_tls_certificate(&[host], &validity);
        let issued = issued.expect("a certificate");
        let (chain, key) = (self.file("tls.pem"), self.file("tls.key"));
        fs::write(&chain, issued.chain_pem).expect("a file");
        write_private(key.as_ref(), &issued.key_pem);
        [("SERVER__TLS_CERTIFICATE", chain), ("SERVER__TLS_KEY", key)]
    }

    pub(super) fn file(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn run(&self, command: &str, settings: &[(&str, String)]) -> (bool, String) {
        let mut process = Command::new(EXECUTABLE);
        process
            .arg(command)
            .current_dir(self.dir.path())
            .env("TN_AUTHORITY__CARRIER__SPCS", "1234")
            .env("TN_AUTHORITY__SIGNER__DIR", "signers")
            .env("TN_AUTHORITY__DATABASE__URL", "sqlite:data.sqlite")
            .env(
                "TN_AUTHORITY__SERVER__PUBLIC_URL",
                "https://authority.example",
            );
        for (key, value) in settings {
            match *key {
                "SSL_CERT_FILE" | "SSL_CERT_DIR" => process.env(key, value),
                key => process.env(format!("TN_AUTHORITY__{key}"), value),
            };
        }
        let output = process.logged_output();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), told)
    }

    /// The warnings of `check`, which does not fail because of them.
    fn warnings(&self, settings: &[(&str, String)]) -> Vec<String> {
        let (sound, told) = self.run("check", settings);
        assert!(sound, "{told}");
        warnings(&told)
    }
}

fn warnings(told: &str) -> Vec<String> {
    let lines = told
        .lines()
        .filter_map(|line| line.strip_prefix("warning "));
    lines.map(str::to_owned).collect()
}

fn set(key: &'static str, value: &str) -> (&'static str, String) {
    (key, value.to_owned())
}

/// Asserts that there is one warning, and that it has these texts.
fn one(found: &[String], texts: &[&str]) {
    let [warning] = found else {
        panic!("{found:?}")
    };
    for text in texts {
        assert!(warning.contains(text), "{text}: {warning}");
    }
}

#[test]
fn client_certificates_that_keep_cas_out_are_warned_of() {
    let service = Service::new();
    fs::write(
        service.file("clients.pem"),
        service.ca.certificate_pem().expect("a certificate"),
    )
    .expect("a file");
    let [chain, key] = service.certificate("authority.example", (-1, 30));
    let ca = set("CLIENT_CERTIFICATES__CA_FILE", "clients.pem");
    let mut settings = vec![chain, key, ca];
    assert_eq!(service.warnings(&settings), [""; 0]);
    settings.push(set("CLIENT_CERTIFICATES__REQUIRE", "true"));
    one(
        &service.warnings(&settings),
        &["client_certificates.require", "x5u", "RFC 9448 §6"],
    );
    // The only client is the proxy, which has a certificate.
    settings.push(set("PROXY__ADDRESSES", "192.0.2.1"));
    assert_eq!(service.warnings(&settings), [""; 0]);
}

#[test]
fn a_public_url_that_is_not_fetched_is_warned_of() {
    let service = Service::new();
    for (url, texts) in [
        ("https://authority.example", &[][..]),
        ("https://authority.example:443/ta", &[]),
        ("https://authority.example:8443", &[]),
        (
            "https://authority.example:9443",
            &["port 9443", "443 and 8443", "ATIS-1000074"],
        ),
        (
            "https://localhost:8443",
            &["cannot reach", "`https://localhost:8443`"],
        ),
        ("https://127.0.0.1", &["cannot reach"]),
        ("https://[::1]:8443", &["cannot reach"]),
    ] {
        let found = service.warnings(&[set("SERVER__PUBLIC_URL", url)]);
        if texts.is_empty() {
            assert_eq!(found, [""; 0], "{url}");
        } else {
            one(&found, texts);
        }
    }
    let operations = |listen| service.warnings(&[set("OPERATIONS__LISTEN", listen)]);
    one(&operations("8.8.8.8:9090"), &["operations.listen"]);
    assert_eq!(operations("10.0.0.1:9090"), [""; 0]);
}

#[test]
fn a_certificate_that_callers_refuse_is_warned_of() {
    let service = Service::new();
    for (host, days, texts) in [
        ("authority.example", (-20, 20), &[][..]),
        (
            "other.example",
            (-20, 20),
            &["server.public_url", "tls.pem"],
        ),
        ("authority.example", (-89, 1), &["tls.pem", "expires on"]),
        ("authority.example", (-89, -1), &["tls.pem", "expired on"]),
    ] {
        let [chain, key] = service.certificate(host, days);
        let mut settings = vec![chain, key];
        let found = service.warnings(&settings);
        if texts.is_empty() {
            assert_eq!(found, [""; 0], "{host} {days:?}");
        } else {
            one(&found, texts);
        }
        // Clients see the certificate of the proxy.
        settings.push(set("SERVER__BEHIND_PROXY", "true"));
        assert_eq!(service.warnings(&settings), [""; 0]);
    }
    let [chain, key] = service.certificate("192.0.2.1", (-20, 20));
    for (url, count) in [("https://192.0.2.1", 0), ("https://192.0.2.2", 1)] {
        let settings = [chain.clone(), key.clone(), set("SERVER__PUBLIC_URL", url)];
        assert_eq!(service.warnings(&settings).len(), count, "{url}");
    }
}

#[test]
fn roots_of_the_system_that_are_not_found_are_warned_of() {
    let service = Service::new();
    let pem = service.ca.certificate_pem().expect("a certificate");
    fs::write(service.file("ca.pem"), &pem).expect("a file");
    for folder in ["empty", "full"] {
        fs::create_dir(service.file(folder)).expect("a folder");
    }
    fs::write(service.file("full/0a1b2c3d.0"), &pem).expect("a file");
    // Nothing listens there, which is the error in any case.
    let at = "postgres://u@127.0.0.1:1/d?sslmode=verify-full";
    for (roots, file, folder, count) in [
        ("&sslrootcert=system", "missing.pem", "empty", 1),
        ("&sslrootcert=system", "missing.pem", "missing", 1),
        ("&sslrootcert=system", "ca.pem", "empty", 0),
        ("&sslrootcert=system", "missing.pem", "full", 0),
        ("&sslrootcert=ca.pem", "missing.pem", "empty", 0),
        ("", "missing.pem", "empty", 0),
    ] {
        let (sound, told) = service.run(
            "check",
            &[
                set("DATABASE__URL", &format!("{at}{roots}")),
                ("SSL_CERT_FILE", service.file(file)),
                ("SSL_CERT_DIR", service.file(folder)),
            ],
        );
        assert!(!sound && told.contains("FAILED  database"), "{told}");
        let found = warnings(&told);
        assert_eq!(found.len(), count, "{roots} {file} {folder}: {found:?}");
        if count > 0 {
            one(&found, &["SSL_CERT_FILE", "sslrootcert=/etc/ssl/certs/"]);
        }
    }
}

/// A certificate that says it follows SHAKEN is compared with all of it; another one only with what holds for every
/// certificate, such as that of a trial or of an authority abroad.
#[test]
fn a_signing_certificate_that_others_may_refuse_is_warned_of() {
    let service = Service::new();
    assert_eq!(service.warnings(&[]), [""; 0]);
    let now = Clock::system().now();
    let replace = |policies: &[&str], until: i64| {
        let (key, pem) = FileKey::generate().expect("a key");
        let names = RequestedNames {
            subject: "CN=SHAKEN 1234,O=Carrier,C=US".to_owned(),
            alternative: Vec::new(),
            policies: policies
                .iter()
                .map(|id| id.parse().expect("an id"))
                .collect(),
        };
        let request = certificate_request(&key, &"1234".parse().expect("a code"), &names);
        let validity = now - TimeDelta::hours(1)..=now + TimeDelta::days(until);
        let chain = service
            .ca
            .sign_request(&request.expect("a request"), &validity);
        fs::write(service.file("signers/1.pem"), chain.expect("a certificate")).expect("a file");
        write_private(service.file("signers/1.key").as_ref(), &pem);
        service.warnings(&[])
    };
    one(
        &replace(&[], 60),
        &[
            "signing key and chain",
            "`CN=SHAKEN 1234",
            "after its issuer ends",
        ],
    );
    let found = replace(&["2.16.840.1.114569.1.1.4"], 10);
    for (words, number) in [
        ("no CRL distribution point (ATIS-1000080 §6.4.1", 1),
        ("`CN` of the CA is `Development CA`", 2),
    ] {
        let number = format!("certificate {number}: ");
        let is_said = |warning: &String| warning.contains(words) && warning.contains(&number);
        assert!(found.iter().any(is_said), "{words}: {found:?}");
    }
}
