//! Certificates come, sign, and go, without a restart and without a hand.

mod codes;
mod replicas;

use std::sync::Arc;

use serde_json::Value;
use tn_authority::authority::{Issued, Listed, ScanMode};
use tn_authority::domain::{Role, Time};

use super::sources::certificates;
use crate::support::{Db, Kind, Setup, World, code};

both! {
    a_new_certificate_is_published_used_later_and_the_old_one_stays,
    an_overwritten_pair_is_a_new_certificate,
    bad_files_change_nothing,
    a_file_that_is_being_written_is_not_taken_yet,
    no_token_outlives_its_certificate,
}

const DAY: i64 = 86_400;

/// A carrier with delay between publication and use, who has lent a block to `acme`.
fn lender(db: Arc<Db>, setup: Setup) -> World {
    let world = World::over(
        db,
        Setup {
            publication_delay: 60,
            ..setup
        },
    );
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.1XXX");
    world
}

fn alone(kind: Kind) -> World {
    lender(Arc::new(kind.into()), Setup::default())
}

/// State and name of each chain, in the order of their publication.
fn chains(world: &World) -> Vec<(&'static str, String)> {
    let listed = world
        .authority
        .list_signers(&world.caller(Role::Auditor, &[]))
        .expect("signers");
    let chains = listed.into_iter().filter_map(|listed| match listed {
        Listed::Chain(one) => Some((one.state.as_str(), one.chain.name)),
        Listed::Refused(_) => None,
    });
    chains.collect()
}

fn states(world: &World) -> Vec<&'static str> {
    chains(world).into_iter().map(|(state, _)| state).collect()
}

fn refused(world: &World) -> Vec<String> {
    let listed = world
        .authority
        .list_signers(&world.caller(Role::Auditor, &[]))
        .expect("signers");
    let refused = listed.into_iter().filter_map(|listed| match listed {
        Listed::Chain(_) => None,
        Listed::Refused(one) => Some(one.reason),
    });
    refused.collect()
}

fn mint(world: &World) -> Issued {
    world.mints("acme", &["one:12125551001"]).expect("a token")
}

/// The header of a token.
fn header(issued: &Issued) -> Value {
    use base64::Engine as _;
    let part = issued.token.split('.').next().expect("a header");
    let json = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part);
    serde_json::from_slice(&json.expect("base64url")).expect("JSON")
}

/// The name of the chain that signed; the world publishes it, and openssl takes the signature for its key's.
fn signed_by(world: &World, issued: &Issued) -> String {
    use base64::Engine as _;
    use openssl::bn::BigNum;
    use openssl::ecdsa::EcdsaSig;
    use openssl::sha::sha256;
    let x5u = header(issued)["x5u"].as_str().expect("x5u").to_owned();
    let name = x5u
        .strip_prefix("https://authority.example/certs/")
        .and_then(|name| name.strip_suffix(".pem"))
        .expect("a name")
        .to_owned();
    let published = world.authority.published_chain(&name).expect("published");
    let pem = String::from_utf8(published.pem.to_vec()).expect("ASCII");
    let leaf = certificates(&pem).remove(0);
    let key = leaf
        .public_key()
        .and_then(|key| key.ec_key())
        .expect("a key");
    let (message, signature) = issued.token.rsplit_once('.').expect("three parts");
    let signature = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(signature)
        .expect("base64url");
    let (r, s) = signature.split_at(32);
    let number = |bytes| BigNum::from_slice(bytes).expect("a number");
    let signature = EcdsaSig::from_private_components(number(r), number(s)).expect("a signature");
    assert!(
        signature
            .verify(&sha256(message.as_bytes()), &key)
            .expect("checked")
    );
    let ends = leaf
        .not_after()
        .diff(&asn1(issued.expires))
        .expect("a difference");
    assert!(
        ends.days <= 0 && ends.secs <= 0,
        "the token outlives {name}"
    );
    name
}

fn asn1(time: Time) -> openssl::asn1::Asn1Time {
    openssl::asn1::Asn1Time::from_unix(time.timestamp()).expect("a time")
}

fn a_new_certificate_is_published_used_later_and_the_old_one_stays(kind: Kind) {
    let world = alone(kind);
    let first = signed_by(&world, &mint(&world));
    assert_eq!(states(&world), ["active"]);
    world.certificate_comes("next", "1234", 7 * DAY);
    world.looks_for_signers(ScanMode::Asked);
    assert_eq!(states(&world), ["active", "published"]);
    let next = chains(&world)[1].1.clone();
    assert!(
        world.authority.published_chain(&next).is_some(),
        "before its first use"
    );

    world.seconds_pass(59);
    let last = mint(&world);
    assert_eq!(signed_by(&world, &last), first);
    world.seconds_pass(1);
    // The time alone decides; nobody has to look.
    assert_eq!(signed_by(&world, &mint(&world)), next);
    world.looks_for_signers(ScanMode::Polled);
    assert_eq!(states(&world), ["retiring", "active"]);

    // Published until the last token has expired, and the delay after that.
    world.seconds_pass(3600 - 2);
    world.looks_for_signers(ScanMode::Polled);
    assert_eq!(states(&world), ["retiring", "active"]);
    world.seconds_pass(1);
    assert!(world.now() >= last.expires);
    world.looks_for_signers(ScanMode::Polled);
    assert!(world.authority.published_chain(&first).is_some());
    // The expiry is kept rounded up to ten minutes.
    world.seconds_pass(600);
    world.looks_for_signers(ScanMode::Polled);
    assert!(world.authority.published_chain(&first).is_some());
    world.seconds_pass(60);
    world.looks_for_signers(ScanMode::Polled);
    assert_eq!(states(&world), ["retired", "active"]);
    assert!(world.authority.published_chain(&first).is_none());
    assert_eq!(world.count("signing_chains{state=\"retired\"}"), 1);
    assert_eq!(signed_by(&world, &mint(&world)), next);

    let actions = |name: &str| -> Vec<String> {
        world
            .trail(name)
            .into_iter()
            .map(|event| event.action)
            .collect()
    };
    let life = [
        "publish-chain",
        "activate-chain",
        "supersede-chain",
        "retire-chain",
    ];
    assert_eq!(actions(&first), life);
    assert_eq!(actions(&next), life[..2]);
    assert_eq!(world.trail(&next)[0].caller, "service");
}

fn an_overwritten_pair_is_a_new_certificate(kind: Kind) {
    let world = alone(kind);
    let first = signed_by(&world, &mint(&world));
    // As a client of ACME leaves them: the same names. In between, the key is not the certificate's.
    world.certificate_comes("other", "1234", 7 * DAY);
    let file = |name: &str| world.signers.join(name);
    std::fs::rename(file("other.pem"), file("chain.pem")).expect("moved");
    std::fs::rename(file("other.key"), world.dir.path().join("late.key")).expect("moved");
    world.looks_for_signers(ScanMode::Asked);
    assert_eq!(refused(&world).len(), 1);
    assert!(
        refused(&world)[0]
            .starts_with("none of the signing keys matches the certificate `CN=SHAKEN 1234")
    );
    world.seconds_pass(100);
    assert_eq!(signed_by(&world, &mint(&world)), first);

    std::fs::rename(world.dir.path().join("late.key"), file("key.pem")).expect("moved");
    world.looks_for_signers(ScanMode::Asked);
    assert_eq!(refused(&world), Vec::<String>::new());
    assert_eq!(
        signed_by(&world, &mint(&world)),
        first,
        "from memory, until the delay is over"
    );
    world.seconds_pass(60);
    assert_ne!(signed_by(&world, &mint(&world)), first);
}

fn bad_files_change_nothing(kind: Kind) {
    let world = alone(kind);
    let first = signed_by(&world, &mint(&world));
    let write =
        |name: &str, text: &str| std::fs::write(world.signers.join(name), text).expect("a file");
    write("nothing.pem", "hello");
    write("half.pem", "-----BEGIN CERTIFICATE-----\nMIIB");
    write(
        "half.key",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    );
    write("hsm.uri", "pkcs11:objekt=x\n");
    write("passed.over.txt", "hello");
    world.looks_for_signers(ScanMode::Asked);
    let reasons = refused(&world);
    assert_eq!(reasons.len(), 4, "{reasons:?}");
    for part in [
        "is malformed: ",
        "certificate 1 cannot be read",
        "`objekt` is not supported",
        "is neither a certificate nor a key",
    ] {
        assert!(
            reasons.iter().any(|reason| reason.contains(part)),
            "{part}: {reasons:?}"
        );
    }
    assert_eq!(world.count("signer_refused_files"), 4);
    assert_eq!(states(&world), ["active"]);
    assert_eq!(signed_by(&world, &mint(&world)), first);
    let trail = |name: &str| world.trail(&world.signers.join(name).display().to_string());
    world.looks_for_signers(ScanMode::Asked);
    let events = trail("nothing.pem");
    assert_eq!(events.len(), 1, "told once: {events:?}");
    assert_eq!(
        (events[0].action.as_str(), events[0].outcome.as_str()),
        ("refuse-signer", "refused")
    );

    // Even if the files of the certificate that signs are spoiled, or gone.
    write("chain.pem", "hello");
    std::fs::remove_file(world.signers.join("key.pem")).expect("gone");
    world.looks_for_signers(ScanMode::Asked);
    assert_eq!(signed_by(&world, &mint(&world)), first);
    for name in [
        "nothing.pem",
        "half.pem",
        "half.key",
        "hsm.uri",
        "chain.pem",
    ] {
        std::fs::remove_file(world.signers.join(name)).expect("gone");
    }
    world.looks_for_signers(ScanMode::Asked);
    assert_eq!(world.count("signer_refused_files"), 0);
    std::fs::remove_dir(&world.signers).unwrap_or_default();
}

fn a_file_that_is_being_written_is_not_taken_yet(kind: Kind) {
    let world = alone(kind);
    world.certificate_comes("next", "1234", 7 * DAY);
    let path = world.signers.join("next.pem");
    let whole = std::fs::read_to_string(&path).expect("a chain");
    // The leaf alone would be a chain too, but another one.
    let leaf = whole.len() / 2;
    let leaf = &whole[..whole[..leaf + 100].rfind("-----BEGIN").unwrap_or(leaf)];
    std::fs::write(&path, leaf).expect("a file");
    world.looks_for_signers(ScanMode::Polled);
    assert_eq!((states(&world).len(), refused(&world).len()), (1, 0));
    std::fs::write(&path, &whole).expect("a file");
    world.looks_for_signers(ScanMode::Polled);
    assert_eq!((states(&world).len(), refused(&world).len()), (1, 0));
    world.looks_for_signers(ScanMode::Polled);
    assert_eq!(states(&world), ["active", "published"]);
    let name = &chains(&world)[1].1;
    let published = world.authority.published_chain(name).expect("published");
    assert_eq!(*published.pem, *whole.as_bytes());
}

fn no_token_outlives_its_certificate(kind: Kind) {
    let world = lender(
        Arc::new(kind.into()),
        Setup {
            certificate_lasts: 1000,
            ..Setup::default()
        },
    );
    let issued = mint(&world);
    assert_eq!(issued.expires, world.in_seconds(1000));
    signed_by(&world, &issued);
    // The next one comes late: it is used when the first one ends, not after the whole delay.
    world.seconds_pass(980);
    assert_eq!(
        code(&world.mints("acme", &["one:12125551001"])),
        "ends-too-soon"
    );
    world.certificate_comes("next", "1234", 7 * DAY);
    world.looks_for_signers(ScanMode::Asked);
    assert_eq!(states(&world), ["active", "published"]);
    world.seconds_pass(21);
    let next = mint(&world);
    assert_eq!(signed_by(&world, &next), chains(&world)[1].1);
    assert_eq!(next.expires, world.in_seconds(3600));
}
