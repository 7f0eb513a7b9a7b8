//! Secrets that are written wrongly, or encrypted: no piece of one is shown, and nobody is asked for
//! one on a terminal.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use openssl::pkey::PKey;
use openssl::symm::Cipher;
use tempfile::TempDir;
use tn_authority::domain::Clock;
use tn_authority::signer::development::DevelopmentCa;

use crate::support::{Logged as _, write_private};

const EXECUTABLE: &str = env!("CARGO_BIN_EXE_tn-authority");

fn shown(ran: &Output) -> String {
    let all = [ran.stdout.as_slice(), &ran.stderr].concat();
    String::from_utf8(all).expect("text")
}

#[test]
fn no_piece_of_a_password_is_shown_when_a_url_is_malformed() {
    for url in [
        "postgres://tna:hunter/2@db.example/tna",
        "postgres://tna@db.example/tna?password=hunter%zz",
        "postgres://tna:hunter%zz@db.example/tna",
        "postgres://tna:hunter@two@db.example/tna",
        "postgres://tna:hunter",
        "postgres://tna@db.example/tna?password=a&hunter",
        "postgres:tna:hunter@db.example/tna",
        "postgress://tna:hunter@db.example/tna",
        "hunter",
    ] {
        for command in ["check", "serve", "migrate"] {
            let ran = Command::new(EXECUTABLE)
                .arg(command)
                .env("TN_AUTHORITY__DATABASE__URL", url)
                .env("RUST_LOG", "trace")
                .logged_output();
            let shown = shown(&ran);
            assert!(
                !ran.status.success() && shown.contains("database URL"),
                "{url}: {shown}"
            );
            assert!(!shown.contains("hunter"), "{url}: {shown}");
        }
    }
}

/// A number without quotes is no text, and the error would repeat it.
#[test]
fn no_secret_of_the_configuration_is_shown_when_its_type_is_wrong() {
    let dir = TempDir::new().expect("a folder");
    let file = dir.path().join("tn-authority.toml");
    for section in [
        "[signer.pkcs11]\npin = 71352468",
        "[signer]\npassphrase = 71352468",
        "[api_keys]\nsecret = 71352468",
        "[api_keys]\nsecret = \"71352468\"",
        "[database]\nurl = 71352468",
        "[signer]\npassphrase = [\"71352468\"]",
        "[signer]\nkey_uri = \"pkcs11:token=a?pin-value=71352468\"\ndir = \"/nonexistent\"\n[carrier]\nspcs = [\"1234\"]",
    ] {
        write_private(&file, section);
        let ran = Command::new(EXECUTABLE)
            .arg("--config")
            .arg(&file)
            .arg("check")
            .current_dir(dir.path())
            .logged_output();
        let shown = shown(&ran);
        assert!(!shown.contains("71352468"), "{section}: {shown}");
        assert!(!ran.status.success(), "{section}: {shown}");
    }
}

fn check(dir: &Path, key: &str, passphrase: Option<&str>) -> Output {
    let mut command = Command::new("setsid");
    // Without a terminal of its own, a prompt would fail at once: `script` gives it one.
    command
        .args([
            "script",
            "-qec",
            &format!("{EXECUTABLE} check"),
            "/dev/null",
        ])
        .env("TN_AUTHORITY__SERVER__TLS_CERTIFICATE", dir.join("tls.pem"))
        .env("TN_AUTHORITY__SERVER__TLS_KEY", dir.join(key))
        .env(
            "TN_AUTHORITY__DATABASE__URL",
            format!("sqlite:{}", dir.join("db").display()),
        )
        .stdin(std::process::Stdio::null());
    if let Some(file) = passphrase {
        command.env("TN_AUTHORITY__SERVER__TLS_PASSPHRASE_FILE", dir.join(file));
    }
    command.logged_output()
}

#[test]
fn an_encrypted_tls_key_never_asks_on_the_terminal() {
    let dir = TempDir::new().expect("a folder");
    let now = Clock::system().now();
    let validity = now - chrono::TimeDelta::hours(1)..=now + chrono::TimeDelta::days(1);
    let ca = DevelopmentCa::new("Development CA", validity.clone()).expect("a CA");
    let issued = ca.issue_tls_certificate(&["localhost"], &validity);
    let issued = issued.expect("a certificate");
    write_private(&dir.path().join("tls.pem"), &issued.chain_pem);
    let key = PKey::private_key_from_pem(issued.key_pem.as_bytes()).expect("a key");
    let ec = key.ec_key().expect("an EC key");
    let cipher = Cipher::aes_256_cbc();
    let pem = |pem: Result<Vec<u8>, _>| String::from_utf8(pem.expect("PEM")).expect("ASCII");
    write_private(
        &dir.path().join("pkcs8.key"),
        &pem(key.private_key_to_pem_pkcs8_passphrase(cipher, b"open sesame")),
    );
    write_private(
        &dir.path().join("sec1.key"),
        &pem(ec.private_key_to_pem_passphrase(cipher, b"open sesame")),
    );
    let marked = format!(
        "\u{feff}Bag Attributes\r\n{}",
        issued.key_pem.replace('\n', "\r\n")
    );
    write_private(&dir.path().join("marked.key"), &marked);
    write_private(&dir.path().join("right"), "open sesame\n");
    write_private(&dir.path().join("wrong"), "sesame\n");
    for key in ["pkcs8.key", "sec1.key"] {
        for (passphrase, line) in [
            (
                None,
                "is encrypted and no passphrase is configured; set `server.tls_passphrase_file`",
            ),
            (
                Some("wrong"),
                "is encrypted, and the configured passphrase does not decrypt it",
            ),
            (Some("missing"), "cannot read the passphrase of the TLS key"),
            (
                Some("right"),
                "ok      TLS: 1.2 and 1.3, with the configured certificate",
            ),
        ] {
            let started = Instant::now();
            let ran = check(dir.path(), key, passphrase);
            assert!(
                started.elapsed() < Duration::from_secs(10),
                "it waited for an answer"
            );
            let shown = shown(&ran);
            assert!(
                shown.contains(line) && !shown.contains("pass phrase"),
                "{key}: {shown}"
            );
        }
    }
    let ran = check(dir.path(), "marked.key", None);
    assert!(shown(&ran).contains("ok      TLS: 1.2"), "{}", shown(&ran));
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(dir.path().join("marked.key"), open).expect("a mode");
    let ran = check(dir.path(), "marked.key", None);
    assert!(shown(&ran).contains("other users have access to the file of the TLS key"));
}
