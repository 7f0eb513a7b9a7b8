//! Certificates that a CRL revokes, and files of CRLs that are replaced while the service runs.

use std::path::PathBuf;
use std::process::Command;

use tn_authority::callers::{AnchorsError, ClientCertificates, CrlError, CrlSettings, Trust};

use super::READ;
use super::books::Books;
use super::client::{Client, trust_with};
use super::proxies::named_proxies;
use super::tls::refused;
use crate::support::World;
use crate::support::service::{Answer, Api};

both!(
    a_revoked_certificate_proves_nobody,
    a_faulty_file_cuts_nobody_off,
    a_crl_that_is_not_in_force_replaces_none_that_is,
    each_ca_has_its_own_crl,
    each_key_of_a_ca_has_its_own_crl,
    an_expired_crl_proves_nobody_unless_it_may,
    the_service_does_not_start_with_a_faulty_file,
);

const DAY: i64 = 86_400;

struct Scene {
    api: Api,
    books: Books,
    good: Client,
    bad: Client,
    file: PathBuf,
}

/// Trusts one CA. Its CRL is for ten days, and lists `bad`.
fn scene(world: World, grace: u32) -> Scene {
    let books = Books::open(&world, "books", "Clients");
    let (good, bad) = (books.client("good"), books.client("bad"));
    books.revoke("bad");
    let crl = books.crl(world.in_seconds(-60), world.in_seconds(10 * DAY));
    let file = world.dir.path().join("clients.crl.pem");
    std::fs::write(world.dir.path().join("root.pem"), books.root()).expect("a file");
    std::fs::write(&file, crl).expect("a file");
    let api = trusting(world, grace);
    Scene {
        api,
        books,
        good,
        bad,
        file,
    }
}

fn trusting(world: World, grace: u32) -> Api {
    Api::trusting(world, |world| Trust {
        proxies: named_proxies(),
        ..trust_with(world, grace)
    })
}

fn ask(api: &Api, client: &Client) -> Answer {
    let head = format!("client-cert: {}\r\n", client.header());
    api.send("GET", READ, &head, b"")
}

/// The role of the client may not read this, but the client is known.
#[track_caller]
fn is_known(api: &Api, client: &Client) {
    let refused = |reason: &str| {
        let name = format!("unproven_total{{proof=\"certificate\",reason=\"{reason}\"}}");
        api.world.count(&name)
    };
    let all = || refused("path") + refused("crl") + refused("unreadable");
    let before = all();
    let answer = ask(api, client);
    assert_eq!(all(), before, "{answer:?}");
}

fn loads(api: &Api, outcome: &str) -> u64 {
    let name = format!("client_crl_loads_total{{outcome=\"{outcome}\"}}");
    api.world.count(&name)
}

impl Scene {
    fn put(&self, text: &str) {
        std::fs::write(&self.file, text).expect("a file");
    }

    /// So much later than the check of a certificate that it is checked again.
    fn later(&self) {
        self.api.world.seconds_pass(60);
    }

    #[track_caller]
    fn still_in_force(&self) {
        self.later();
        is_known(&self.api, &self.good);
        refused(&self.api, "path", || ask(&self.api, &self.bad));
    }
}

fn a_revoked_certificate_proves_nobody(world: World) {
    let scene = scene(world, 0);
    is_known(&scene.api, &scene.good);
    refused(&scene.api, "path", || ask(&scene.api, &scene.bad));
    let next = scene.api.world.in_seconds(10 * DAY).timestamp();
    let metric = || scene.api.world.count("client_crl_next_update_seconds");
    assert_eq!(i64::try_from(metric()), Ok(next));
    // From one request to the next, also for what was seen before.
    scene.books.revoke("good");
    let world = &scene.api.world;
    scene.put(&scene.books.crl(world.now(), world.in_seconds(20 * DAY)));
    refused(&scene.api, "path", || ask(&scene.api, &scene.good));
    assert_eq!(loads(&scene.api, "new"), 2);
    assert_eq!(i64::try_from(metric()), Ok(next + 10 * DAY));
}

fn a_faulty_file_cuts_nobody_off(world: World) {
    let scene = scene(world, 0);
    let world = &scene.api.world;
    let good = std::fs::read_to_string(&scene.file).expect("a CRL");
    let half = &good[..good.len() / 2];
    let twice = format!("{good}{half}");
    let other = Books::open(world, "others", "Clients");
    let forged = other.crl(world.now(), world.in_seconds(DAY));
    let key = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
    let junk = ["", "junk", half, &twice, key, &forged, &scene.books.root()];
    for (text, n) in junk.into_iter().zip(1..) {
        scene.put(text);
        scene.still_in_force();
        // Read once, and once more when the other client asked: not within ten seconds.
        assert_eq!(loads(&scene.api, "failed"), n, "{text}");
    }
    let before = loads(&scene.api, "failed");
    std::fs::remove_file(&scene.file).expect("removed");
    scene.still_in_force();
    std::fs::create_dir(&scene.file).expect("a folder");
    scene.still_in_force();
    std::fs::remove_dir(&scene.file).expect("removed");
    let pipe = Command::new("mkfifo").arg(&scene.file).status();
    assert!(pipe.expect("mkfifo").success());
    scene.still_in_force();
    assert_eq!(loads(&scene.api, "failed"), before + 3);
    // It is tried again although it has not changed.
    scene.still_in_force();
    assert_eq!(loads(&scene.api, "failed"), before + 4);
    // The next good one is taken at once.
    std::fs::remove_file(&scene.file).expect("removed");
    scene.books.revoke("good");
    scene.put(&scene.books.crl(world.now(), world.in_seconds(DAY)));
    refused(&scene.api, "path", || ask(&scene.api, &scene.good));
    assert_eq!(loads(&scene.api, "new"), 2);
}

fn a_crl_that_is_not_in_force_replaces_none_that_is(world: World) {
    let scene = scene(world, 0);
    let world = &scene.api.world;
    scene.books.revoke("good");
    let crl = |from: i64, until: i64| {
        scene
            .books
            .crl(world.in_seconds(from), world.in_seconds(until))
    };
    for (text, what) in [
        (crl(-120, 20 * DAY), "older"),
        (crl(-30, -10), "expired"),
        (crl(DAY, 20 * DAY), "not valid yet"),
    ] {
        let before = loads(&scene.api, "failed");
        scene.put(&text);
        scene.still_in_force();
        assert_eq!(loads(&scene.api, "failed"), before + 1, "{what}");
    }
    // The last of them becomes valid, and is then taken without another change of the file.
    world.seconds_pass(DAY);
    refused(&scene.api, "path", || ask(&scene.api, &scene.good));
    // The file of a day ago, as a copy out of order would bring it back: `good` stays revoked.
    scene.put(&crl(-DAY, 20 * DAY));
    scene.later();
    refused(&scene.api, "path", || ask(&scene.api, &scene.good));
}

fn each_ca_has_its_own_crl(world: World) {
    let (one, two) = (
        Books::open(&world, "one", "Clients one"),
        Books::open(&world, "two", "Clients two"),
    );
    let (mine, theirs) = (one.client("mine"), two.client("theirs"));
    let (start, end) = (world.in_seconds(-60), world.in_seconds(10 * DAY));
    let file = world.dir.path().join("clients.crl.pem");
    let put = |text: &str| std::fs::write(&file, text).expect("a file");
    let roots = format!("{}{}", one.root(), two.root());
    std::fs::write(world.dir.path().join("root.pem"), roots).expect("a file");
    put(&format!("{}{}", one.crl(start, end), two.crl(start, end)));
    let api = trusting(world, 0);
    is_known(&api, &mine);
    is_known(&api, &theirs);
    // A file that lacks one CA's list: the other's counts at once, the missing one stays.
    one.revoke("mine");
    let newer = one.crl(api.world.now(), end);
    put(&newer);
    api.world.seconds_pass(60);
    refused(&api, "path", || ask(&api, &mine));
    is_known(&api, &theirs);
    assert_eq!(loads(&api, "failed"), 1);
    // Nor does a list that somebody else has signed in the CA's name.
    let forged = Books::open(&api.world, "forged", "Clients two");
    let end = api.world.in_seconds(DAY);
    put(&format!("{newer}{}", forged.crl(api.world.now(), end)));
    api.world.seconds_pass(60);
    is_known(&api, &theirs);
    assert_eq!(loads(&api, "failed"), 2);
    two.revoke("theirs");
    put(&format!("{}{newer}", two.crl(api.world.now(), end)));
    refused(&api, "path", || ask(&api, &theirs));
    assert_eq!(loads(&api, "new"), 2);
}

/// A CA that has a new key under its old name: what the old one signed ends with the old one's list.
fn each_key_of_a_ca_has_its_own_crl(world: World) {
    let (old, new) = (
        Books::open(&world, "old", "Clients"),
        Books::open(&world, "new", "Clients"),
    );
    let (mine, theirs) = (old.client("mine"), new.client("theirs"));
    let (start, soon, later) = (
        world.in_seconds(-60),
        world.in_seconds(DAY),
        world.in_seconds(10 * DAY),
    );
    let roots = format!("{}{}", old.root(), new.root());
    std::fs::write(world.dir.path().join("root.pem"), roots).expect("a file");
    let both = format!("{}{}", old.crl(start, soon), new.crl(start, later));
    std::fs::write(world.dir.path().join("clients.crl.pem"), both).expect("a file");
    let api = trusting(world, 0);
    is_known(&api, &mine);
    is_known(&api, &theirs);
    api.world.seconds_pass(DAY);
    refused(&api, "crl", || ask(&api, &mine));
    is_known(&api, &theirs);
}

fn an_expired_crl_proves_nobody_unless_it_may(world: World) {
    let scene = scene(world, 3_600);
    let world = &scene.api.world;
    world.seconds_pass(10 * DAY - 1);
    is_known(&scene.api, &scene.good);
    for seconds in [1, 3_599] {
        world.seconds_pass(seconds);
        is_known(&scene.api, &scene.good);
        refused(&scene.api, "path", || ask(&scene.api, &scene.bad));
    }
    world.seconds_pass(1);
    for client in [&scene.good, &scene.bad] {
        refused(&scene.api, "crl", || ask(&scene.api, client));
    }
    scene.put(&scene.books.crl(world.now(), world.in_seconds(DAY)));
    is_known(&scene.api, &scene.good);
}

fn the_service_does_not_start_with_a_faulty_file(world: World) {
    let books = Books::open(&world, "books", "Clients");
    let (ca_file, file) = (
        world.dir.path().join("root.pem"),
        world.dir.path().join("crl"),
    );
    std::fs::write(&ca_file, books.root()).expect("a file");
    let start = || {
        let crls = CrlSettings {
            file: file.clone(),
            grace: 0,
        };
        ClientCertificates::new(ca_file.clone(), Some(crls), Vec::new(), &world.metrics)
    };
    let fault = || start().expect_err("a fault");
    assert!(matches!(fault(), AnchorsError::Read { .. }));
    std::fs::write(&file, "junk").expect("a file");
    assert!(matches!(
        fault(),
        AnchorsError::Crl {
            error: CrlError::None,
            ..
        }
    ));
    let other = Books::open(&world, "others", "Clients");
    let crl = |books: &Books| books.crl(world.now(), world.in_seconds(DAY));
    std::fs::write(&file, crl(&other)).expect("a file");
    assert!(matches!(
        fault(),
        AnchorsError::Crl {
            error: CrlError::Signature { .. },
            ..
        }
    ));
    std::fs::write(&file, crl(&books)).expect("a file");
    assert!(start().is_ok());
}
