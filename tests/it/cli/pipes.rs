//! A named pipe where the configuration names a file: no command waits for its writer.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::check_warnings::Service;
use super::import_blocks::EXECUTABLE;
use crate::support::write_private;

/// On a machine that does much else.
const MOST: Duration = Duration::from_secs(30);

fn mkfifo(path: &str) {
    let made = Command::new("mkfifo").arg(path).status().expect("mkfifo");
    assert!(made.success(), "{path}");
}

fn start(service: &Service, command: &str, settings: &[(&str, &str)]) -> Child {
    let mut process = Command::new(EXECUTABLE);
    process
        .arg(command)
        .current_dir(service.dir.path())
        .env("TN_AUTHORITY__CARRIER__SPCS", "1234")
        .env("TN_AUTHORITY__SIGNER__DIR", "signers")
        .env("TN_AUTHORITY__DATABASE__URL", "sqlite:data.sqlite")
        .env("TN_AUTHORITY__SERVER__LISTEN", "127.0.0.1:0")
        .env("TN_AUTHORITY__OPERATIONS__LISTEN", "127.0.0.1:0");
    for (key, value) in settings {
        process.env(format!("TN_AUTHORITY__{key}"), value);
    }
    let log = fs::File::create(service.dir.path().join("log")).expect("a file");
    let both = log.try_clone().expect("a file");
    process.stdout(Stdio::from(log)).stderr(Stdio::from(both));
    process.spawn().expect("the command")
}

/// Whether it succeeds, and what it says.
fn ends(service: &Service, command: &str, settings: &[(&str, &str)]) -> (bool, String) {
    let mut process = start(service, command, settings);
    let start = Instant::now();
    let status = loop {
        if let Some(status) = process.try_wait().expect("a state") {
            break status;
        }
        if start.elapsed() > MOST {
            let _ = process.kill();
            let _ = process.wait();
            panic!("`{command}` waits for a pipe: {settings:?}");
        }
        sleep(Duration::from_millis(20));
    };
    let said = fs::read_to_string(service.dir.path().join("log")).expect("a log");
    (status.success(), said)
}

#[test]
fn a_pipe_is_refused_wherever_a_file_is_named() {
    let service = Service::new();
    mkfifo(&service.file("pipe"));
    let [(_, certificate), (_, key)] = service.certificate("authority.example", (-1, 30));
    let (certificate, key) = (certificate.as_str(), key.as_str());
    let issuer = [
        ("OAUTH__ISSUERS__X__ISSUER", "https://login.example"),
        ("OAUTH__ISSUERS__X__AUDIENCE", "authority"),
        ("OAUTH__ISSUERS__X__ROLE", "auditor"),
    ];
    let endpoint = ("OAUTH__ISSUERS__X__JWKS_URL", "https://login.example/jwks");
    let encrypted = service.file("encrypted.key");
    let made = Command::new("openssl")
        .args(["pkey", "-aes256", "-passout", "pass:x", "-in", key, "-out"])
        .arg(&encrypted)
        .status();
    assert!(made.expect("openssl").success());
    let file = |name: &'static str| (name, "pipe");
    let with = |settings: &[(&'static str, &'static str)]| settings.to_vec();
    let mut cases: Vec<Vec<(&str, &str)>> = vec![
        with(&[file("SIGNER__KEY_FILE")]),
        with(&[file("SIGNER__CHAIN_FILE")]),
        with(&[file("API_KEYS__SECRET_FILE")]),
        with(&[file("API_KEYS__PREVIOUS_SECRET_FILE")]),
        [&issuer[..], &[file("OAUTH__ISSUERS__X__JWKS_FILE")]].concat(),
        [
            &issuer[..],
            &[endpoint, file("OAUTH__ISSUERS__X__JWKS_CA_FILE")],
        ]
        .concat(),
    ];
    cases.push(vec![
        ("SERVER__TLS_CERTIFICATE", "pipe"),
        ("SERVER__TLS_KEY", key),
    ]);
    cases.push(vec![
        ("SERVER__TLS_CERTIFICATE", certificate),
        ("SERVER__TLS_KEY", "pipe"),
    ]);
    cases.push(vec![
        ("SERVER__TLS_CERTIFICATE", certificate),
        ("SERVER__TLS_KEY", &encrypted),
        ("SERVER__TLS_PASSPHRASE_FILE", "pipe"),
    ]);
    for settings in &cases {
        let (sound, said) = ends(&service, "check", settings);
        assert!(
            !sound && said.contains("not a regular file"),
            "{settings:?}: {said}"
        );
    }
    // What `check` does not read, and what keeps `serve` from starting.
    for settings in [
        &[("WEBHOOKS__CA_FILE", "pipe")][..],
        &[
            ("CLIENT_CERTIFICATES__CA_FILE", "pipe"),
            ("SERVER__TLS_CERTIFICATE", certificate),
            ("SERVER__TLS_KEY", key),
        ],
        &[("API_KEYS__SECRET_FILE", "pipe")],
        &[
            ("SERVER__TLS_CERTIFICATE", "pipe"),
            ("SERVER__TLS_KEY", key),
        ],
    ] {
        let (sound, said) = ends(&service, "serve", settings);
        assert!(
            !sound && said.contains("not a regular file"),
            "{settings:?}: {said}"
        );
    }
}

#[test]
fn a_pipe_in_the_folder_of_keys_is_one_refused_file() {
    let service = Service::new();
    mkfifo(&service.file("signers/2.pem"));
    mkfifo(&service.file("signers/3.key"));
    let (sound, said) = ends(&service, "check", &[]);
    let refused = said.matches("not a regular file").count();
    assert!(!sound && refused == 2, "{said}");
    assert!(said.contains("ok      signing key and chain"), "{said}");
    // The PIN of an HSM, whose module is refused before.
    write_private(service.file("signers/4.uri").as_ref(), "pkcs11:token=x");
    mkfifo(&service.file("module.so"));
    let hsm = [
        ("SIGNER__PKCS11__MODULE", "./module.so"),
        ("SIGNER__PKCS11__OPEN_TIMEOUT", "1"),
    ];
    let (sound, said) = ends(&service, "check", &hsm);
    assert!(
        !sound && said.contains("module `./module.so`: it is not a regular file"),
        "{said}"
    );
}
