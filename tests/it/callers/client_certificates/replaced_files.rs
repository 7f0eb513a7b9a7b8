//! The files of TLS and of the CAs of clients are replaced while the service runs.

use std::fs;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use openssl::pkey::PKey;
use openssl::symm::Cipher;
use tn_authority::domain::Time;
use tn_authority::signer::development::DevelopmentCa;

use super::READ;
use super::client::{Client, acme, trust, wanted};
use super::tls::{Tls, refused};
use crate::support::service::Api;
use crate::support::{World, write_private};

both!(
    a_renewed_certificate_is_taken_over_without_a_restart,
    a_faulty_certificate_replaces_nothing,
    a_new_ca_of_clients_is_trusted_and_a_removed_one_no_longer,
    a_faulty_file_of_cas_replaces_nothing,
);

const DAY: i64 = 86_400;

struct Scene {
    api: Api,
    tls: Tls,
    key: PathBuf,
    chain: PathBuf,
    cas: PathBuf,
}

impl Scene {
    fn of(world: World) -> Self {
        let api = Api::trusting(world, trust);
        let tls = Tls::of(&api, false);
        let file = |name: &str| api.world.dir.path().join(name);
        let (key, chain, cas) = (file("tls.key"), file("tls.pem"), file("root.pem"));
        Self {
            api,
            tls,
            key,
            chain,
            cas,
        }
    }

    /// A certificate for the service, and its key.
    fn issue(&self, validity: &RangeInclusive<Time>) -> (String, String) {
        let ca = &self.api.world.ca;
        let issued = ca.issue_tls_certificate(&["localhost"], validity);
        let issued = issued.expect("a certificate");
        (issued.chain_pem, issued.key_pem.clone())
    }

    fn days(&self, from: i64, until: i64) -> RangeInclusive<Time> {
        let world = &self.api.world;
        world.in_seconds(from * DAY)..=world.in_seconds(until * DAY)
    }

    /// The certificate that a new connection is shown, in DER.
    fn shown(&self) -> Vec<u8> {
        let stream = self.tls.connect(None).expect("a connection");
        let shown = stream.ssl().peer_certificate().expect("a certificate");
        shown.to_der().expect("DER")
    }

    fn failed(&self) -> u64 {
        self.api.world.count("tls_reload_failed")
    }

    /// Whether a new connection of this client is accepted.
    fn accepts(&self, client: &Client) -> bool {
        self.tls.get(Some(client), READ, "").is_some()
    }
}

/// The service looks once a second.
#[track_caller]
fn comes(what: &str, mut is_there: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_there() {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "{what} never came"
        );
        thread::sleep(Duration::from_millis(50));
    }
}

fn a_renewed_certificate_is_taken_over_without_a_restart(world: World) {
    let scene = Scene::of(world);
    let first = scene.shown();
    let not_after = || i64::try_from(scene.api.world.count("tls_certificate_not_after_seconds"));
    let mut open = scene
        .tls
        .connect(Some(&acme(&scene.api.world)))
        .expect("a connection");

    let validity = scene.days(-1, 3_000);
    let (chain, key) = scene.issue(&validity);
    write_private(&scene.key, &key);
    fs::write(&scene.chain, chain).expect("a file");
    comes("the new certificate", || scene.shown() != first);
    comes("its end", || not_after() == Ok(validity.end().timestamp()));
    assert_eq!(scene.failed(), 0);
    // What is open goes on.
    let head = format!("GET {READ} HTTP/1.1\r\n");
    Tls::ask(&mut open, &head, "").expect("an answer");
}

fn a_faulty_certificate_replaces_nothing(world: World) {
    let scene = Scene::of(world);
    let first = scene.shown();
    let key = fs::read(&scene.key).expect("a key");
    let chain = fs::read(&scene.chain).expect("a chain");
    let (other, of_other) = scene.issue(&scene.days(-1, 3_000));
    let (expired, of_expired) = scene.issue(&scene.days(-20, -1));
    let (early, of_early) = scene.issue(&scene.days(2, 3_000));
    let encrypted = PKey::private_key_from_pem(of_other.as_bytes()).expect("a key");
    let encrypted = encrypted.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), b"secret");
    let encrypted = String::from_utf8(encrypted.expect("a key")).expect("PEM");
    let half = &other[..other.len() / 2];
    for (what, chain_text, key_text) in [
        (
            "of another key",
            other.as_str(),
            std::str::from_utf8(&key).expect("PEM"),
        ),
        ("half written", half, of_other.as_str()),
        ("empty", "", ""),
        ("expired", &expired, &of_expired),
        ("not valid yet", &early, &of_early),
        ("an encrypted key", &other, &encrypted),
    ] {
        write_private(&scene.key, key_text);
        fs::write(&scene.chain, chain_text).expect("a file");
        comes(what, || scene.failed() == 1);
        assert_eq!(scene.shown(), first, "{what}");

        write_private(&scene.key, std::str::from_utf8(&key).expect("PEM"));
        fs::write(&scene.chain, &chain).expect("a file");
        comes("the good one", || scene.failed() == 0);
        assert_eq!(scene.shown(), first, "{what}");
    }
    fs::remove_file(&scene.chain).expect("removed");
    comes("no file", || scene.failed() == 1);
    assert_eq!(scene.shown(), first);
}

fn a_new_ca_of_clients_is_trusted_and_a_removed_one_no_longer(world: World) {
    let scene = Scene::of(world);
    let validity = scene.days(-1, 3_000);
    let new_ca = DevelopmentCa::new("New", validity).expect("a CA");
    let (old, new) = (acme(&scene.api.world), wanted(&scene.api.world).of(&new_ca));
    assert!(scene.accepts(&old) && !scene.accepts(&new));
    let mut open = scene.tls.connect(Some(&old)).expect("a connection");
    let head = format!("GET {READ} HTTP/1.1\r\n");
    Tls::ask(&mut open, &head, "").expect("an answer");

    let roots = fs::read_to_string(&scene.cas).expect("a file");
    let new_root = new_ca.certificate_pem().expect("PEM");
    fs::write(&scene.cas, format!("{roots}{new_root}")).expect("a file");
    comes("the new CA", || scene.accepts(&new));
    assert!(scene.accepts(&old));

    fs::write(&scene.cas, new_root).expect("a file");
    comes("the end of the old CA", || !scene.accepts(&old));
    assert!(scene.accepts(&new));
    // A connection does not outlive the trust in its CA.
    refused(&scene.api, "path", || {
        Tls::ask(&mut open, &head, "").expect("an answer")
    });
}

fn a_faulty_file_of_cas_replaces_nothing(world: World) {
    let scene = Scene::of(world);
    let client = acme(&scene.api.world);
    let good = fs::read_to_string(&scene.cas).expect("a file");
    let (leaf, _) = scene.issue(&scene.days(-1, 3_000));
    for text in ["", "junk", &good[..good.len() / 2], &leaf] {
        fs::write(&scene.cas, text).expect("a file");
        comes("a fault", || scene.failed() == 1);
        assert!(scene.accepts(&client), "{text}");
        fs::write(&scene.cas, &good).expect("a file");
        comes("the good one", || scene.failed() == 0);
        assert!(scene.accepts(&client));
    }
}
