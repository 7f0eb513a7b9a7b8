//! Loading the configuration. The bounds of the sections are in `bounds`.

use std::io::Write as _;

use super::*;
use crate::domain::{Passphrase, Spc};
use crate::telemetry::LogFormat;

mod authentication;
mod bounds;
mod example;
mod gateways;

fn from_environment(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let pairs = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Config::load_with(None, Some(pairs.collect()))
}

fn from_toml(text: &str) -> Result<Config, ConfigError> {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(text.as_bytes()).expect("written");
    Config::load_with(Some(file.path()), Some(HashMap::new()))
}

fn message(result: Result<Config, ConfigError>) -> String {
    result
        .expect_err("a wrong configuration was accepted")
        .to_string()
}

/// Each variable (given without its prefix) is refused with a message that contains the given part.
fn are_wrong(all: &[(&str, &str, &str)]) {
    are_wrong_beside(&[], all);
}

fn are_wrong_beside(others: &[(&str, &str)], all: &[(&str, &str, &str)]) {
    for (variable, value, part) in all {
        let name = format!("TN_AUTHORITY__{variable}");
        let message = message(from_environment(&[others, &[(&name, value)]].concat()));
        assert!(message.contains(part), "{variable}={value}: {message}");
    }
}

#[test]
fn no_file_and_no_environment_are_the_defaults() {
    let config =
        from_environment(&[("PATH", "/bin"), ("TN_AUTHORITY_OTHER", "x")]).expect("defaults");
    assert_eq!(config, Config::default());
    assert_eq!(config.database.url.expose(), "sqlite:tn-authority.sqlite");
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8443");
}

#[test]
fn the_environment_sets_every_kind_of_key() {
    let config = from_environment(&[
        ("TN_AUTHORITY__CARRIER__SPCS", "0123, 073H,12e4"),
        ("TN_AUTHORITY__CARRIER__ACCOUNT", "007"),
        ("TN_AUTHORITY__SERVER__LISTEN", "0.0.0.0:443"),
        ("TN_AUTHORITY__SERVER__BEHIND_PROXY", "true"),
        ("TN_AUTHORITY__SERVER__WORKERS", "4"),
        ("TN_AUTHORITY__SERVER__PUBLIC_URL", "https://at.example/ta"),
        ("TN_AUTHORITY__DATABASE__URL", "postgres://u@h/db"),
        ("TN_AUTHORITY__DATABASE__MIGRATE", "false"),
        ("TN_AUTHORITY__LOG__FORMAT", "json"),
        ("TN_AUTHORITY__POLICY__DIR", ""),
    ])
    .expect("environment");
    let spcs: Vec<&str> = config.carrier.spcs.iter().map(Spc::as_str).collect();
    assert_eq!(spcs, ["0123", "073H", "12e4"]);
    assert_eq!(
        config.carrier.account.map(|id| id.to_string()).as_deref(),
        Some("007")
    );
    assert_eq!(config.server.listen.to_string(), "0.0.0.0:443");
    assert!(config.server.behind_proxy);
    assert_eq!(config.server.workers, Some(4));
    assert_eq!(config.database.url.expose(), "postgres://u@h/db");
    assert!(!config.database.migrate);
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.policy.dir, None);
}

#[test]
fn the_environment_wins_over_the_file() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"[writer]\nqueue = 5\nbatch = 6\n[carrier]\nspcs = [\"1234\"]\n")
        .expect("written");
    let environment = HashMap::from([("TN_AUTHORITY__WRITER__QUEUE".to_owned(), "7".to_owned())]);
    let config = Config::load_with(Some(file.path()), Some(environment)).expect("both");
    assert_eq!((config.writer.queue, config.writer.batch), (7, 6));
    assert_eq!(config.carrier.spcs.len(), 1);
}

#[test]
fn an_unknown_key_is_an_error_that_names_it() {
    for (text, key) in [
        ("[server]\nlisten_on = \"x\"\n", "listen_on"),
        ("[servers]\nlisten = \"x\"\n", "servers"),
        ("spcs = []\n", "spcs"),
    ] {
        let message = message(from_toml(text));
        assert!(message.contains(key), "{message}");
    }
    for (variable, key) in [
        ("TN_AUTHORITY__SERVER__LISTEN_ON", "listen_on"),
        ("TN_AUTHORITY__DATABSE__URL", "databse"),
        ("TN_AUTHORITY__URL", "url"),
    ] {
        let message = message(from_environment(&[(variable, "x")]));
        assert!(message.contains(key), "{message}");
    }
}

#[test]
fn secrets_are_read_and_not_shown() {
    let hex = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";
    let config = from_environment(&[
        ("TN_AUTHORITY__API_KEYS__SECRET", hex),
        (
            "TN_AUTHORITY__DATABASE__URL",
            "postgres://u:hunter2@h/db?password=hunter2",
        ),
    ])
    .expect("a secret");
    assert_eq!(
        config.api_keys.secret.as_ref().map(|s| s.expose().len()),
        Some(32)
    );
    let pin = from_environment(&[("TN_AUTHORITY__SIGNER__PKCS11__PIN", "112233")]).expect("a PIN");
    assert_eq!(
        pin.signer.pkcs11.pin.as_ref().map(Passphrase::expose),
        Some("112233")
    );
    let shown = format!("{config:?} {pin:?}");
    assert!(
        !shown.contains("hunter2") && !shown.contains("112233") && !shown.contains("17, 34"),
        "{shown}"
    );
    assert!(shown.contains("secret: Some(Secret(..))"), "{shown}");

    let base64url = "_-8hMkNUZXaHmKm6y9zt_v8AESIzRFVmd4iZqrvM3e4\n";
    assert_eq!(
        base64url.parse::<Secret>().map(|s| s.expose().len()),
        Ok(32)
    );
    for short in ["", "abcd", "hunter2", "+/+/"] {
        let message = message(from_environment(&[(
            "TN_AUTHORITY__API_KEYS__SECRET",
            &format!("{short} "),
        )]));
        assert!(message.contains("a secret "), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
    let both = [
        ("TN_AUTHORITY__API_KEYS__SECRET", hex),
        ("TN_AUTHORITY__API_KEYS__SECRET_FILE", "x"),
    ];
    assert!(message(from_environment(&both)).contains("exclude each other"));
}

#[test]
fn only_prefixes_of_a_nat64_are_accepted_as_such() {
    let with = |prefix: &str| from_toml(&format!("[webhooks]\nnat64_prefixes = [\"{prefix}\"]\n"));
    let config = with("64:ff9b:1::/96").expect("a prefix");
    assert_eq!(config.webhooks.nat64_prefixes.len(), 1);
    for (prefix, why) in [
        ("64:ff9b:1::/80", "RFC 6052 §2.2"),
        ("10.0.0.0/8", "RFC 6052 §2.2"),
        ("64:ff9b:1::1/96", "the network is 64:ff9b:1::/96"),
    ] {
        let message = message(with(prefix));
        assert!(message.contains(why), "{message}");
    }
}
