//! Certificates come, sign, and go, without a restart and without a hand; several codes, several replicas.

use std::sync::Arc;

use serde_json::Value;
use tn_authority::authority::NewAllocation;
use tn_authority::authority::{Issued, Listed, Patience};
use tn_authority::domain::inventory::Basis;
use tn_authority::domain::{Role, Time};

use crate::signer::certificates;
use crate::support::{Db, Kind, Setup, World, code, numbers, wait};

both! {
    a_new_certificate_is_published_used_later_and_the_old_one_stays,
    an_overwritten_pair_is_a_new_certificate,
    bad_files_change_nothing,
    a_file_that_is_being_written_is_not_taken_yet,
    no_token_outlives_its_certificate,
    each_code_has_its_certificate,
    numbers_of_two_codes_need_two_tokens,
    numbers_that_pass_to_another_code_end_with_the_first,
    replicas_agree_and_publish_for_each_other,
    a_replica_whose_key_is_late_stays_with_the_one_before,
    a_certificate_that_was_given_up_is_taken_up_again,
    without_a_certificate_in_force_there_is_no_token,
    tokens_of_a_horizon_account_live_as_long_as_the_numbers,
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
    world.looks_for_signers(Patience::Asked);
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
    world.looks_for_signers(Patience::Polled);
    assert_eq!(states(&world), ["retiring", "active"]);

    // Published until the last token has expired, and the delay after that.
    world.seconds_pass(3600 - 2);
    world.looks_for_signers(Patience::Polled);
    assert_eq!(states(&world), ["retiring", "active"]);
    world.seconds_pass(1);
    assert!(world.now() >= last.expires);
    world.looks_for_signers(Patience::Polled);
    assert!(world.authority.published_chain(&first).is_some());
    world.seconds_pass(60);
    world.looks_for_signers(Patience::Polled);
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
    world.looks_for_signers(Patience::Asked);
    assert_eq!(refused(&world).len(), 1);
    assert!(
        refused(&world)[0].starts_with("no key here belongs to the certificate `CN=SHAKEN 1234")
    );
    world.seconds_pass(100);
    assert_eq!(signed_by(&world, &mint(&world)), first);

    std::fs::rename(world.dir.path().join("late.key"), file("key.pem")).expect("moved");
    world.looks_for_signers(Patience::Asked);
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
    world.looks_for_signers(Patience::Asked);
    let reasons = refused(&world);
    assert_eq!(reasons.len(), 4, "{reasons:?}");
    for part in [
        "is malformed: ",
        "certificate 1 cannot be read",
        "`objekt` is not known",
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
    world.looks_for_signers(Patience::Asked);
    let events = trail("nothing.pem");
    assert_eq!(events.len(), 1, "told once: {events:?}");
    assert_eq!(
        (events[0].action.as_str(), events[0].outcome.as_str()),
        ("refuse-signer", "refused")
    );

    // Even if the files of the certificate that signs are spoiled, or gone.
    write("chain.pem", "hello");
    std::fs::remove_file(world.signers.join("key.pem")).expect("gone");
    world.looks_for_signers(Patience::Asked);
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
    world.looks_for_signers(Patience::Asked);
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
    world.looks_for_signers(Patience::Polled);
    assert_eq!((states(&world).len(), refused(&world).len()), (1, 0));
    std::fs::write(&path, &whole).expect("a file");
    world.looks_for_signers(Patience::Polled);
    assert_eq!((states(&world).len(), refused(&world).len()), (1, 0));
    world.looks_for_signers(Patience::Polled);
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
    world.looks_for_signers(Patience::Asked);
    assert_eq!(states(&world), ["active", "published"]);
    world.seconds_pass(21);
    let next = mint(&world);
    assert_eq!(signed_by(&world, &next), chains(&world)[1].1);
    assert_eq!(next.expires, world.in_seconds(3600));
}

/// A carrier with two codes, a block and a certificate for each.
fn two_codes(kind: Kind) -> World {
    let world = lender(
        Arc::new(kind.into()),
        Setup {
            spcs: vec!["1234", "583J"],
            ..Setup::default()
        },
    );
    world.certificate_comes("second", "583J", 5 * DAY);
    world.looks_for_signers(Patience::Asked);
    allocate(&world, "583J", "1.212.555.2XXX", None);
    world.lends("acme", "1.212.555.2XXX");
    world
}

fn allocate(world: &World, spc: &str, block: &str, valid_from: Option<Time>) {
    let new = NewAllocation {
        spc: spc.parse().expect("a code"),
        numbers: numbers(block),
        basis: Basis::Block,
        valid_from,
        valid_until: None,
    };
    world.allocates(new).expect("an allocation");
}

fn each_code_has_its_certificate(kind: Kind) {
    let world = two_codes(kind);
    // Nothing signed for the second code before, so there is nothing to wait for.
    assert_eq!(states(&world), ["active", "active"]);
    let of = |entry: &str| signed_by(&world, &world.mints("acme", &[entry]).expect("a token"));
    let (first, second) = (of("one:12125551001"), of("one:12125552001"));
    let named = chains(&world);
    assert_eq!([first, second], [named[0].1.clone(), named[1].1.clone()]);
    let leaf = |name: &str| {
        let pem = world
            .authority
            .published_chain(name)
            .expect("published")
            .pem;
        let certificate = certificates(std::str::from_utf8(&pem).expect("ASCII")).remove(0);
        let name = certificate.subject_name().entries().last().expect("CN");
        String::from_utf8(name.data().as_slice().to_vec()).expect("UTF-8")
    };
    assert_eq!(leaf(&named[0].1), "SHAKEN 1234");
    assert_eq!(leaf(&named[1].1), "SHAKEN 583J");
    // The carrier's own token for a code is signed by that code's certificate.
    world.knows("carrier");
    let own = world.mints("carrier", &["spc:583J"]).expect("a token");
    assert_eq!(signed_by(&world, &own), named[1].1);
    assert_eq!(world.count("spcs_without_certificate"), 0);
}

fn numbers_of_two_codes_need_two_tokens(kind: Kind) {
    let world = two_codes(kind);
    let both = world.mints("acme", &["one:12125551001", "one:12125552001"]);
    assert_eq!(code(&both), "several-spcs");
    assert_eq!(
        both.expect_err("a denial").to_string(),
        "the list needs the certificates of several service provider codes (1234, 583J); ask for one token for each of them"
    );
    let across = world.mints("acme", &["range:12125551990+20"]);
    assert_eq!(code(&across), "several-spcs", "one range over two blocks");
    world.knows("carrier");
    let codes = world.mints("carrier", &["spc:1234", "spc:583J"]);
    assert_eq!(code(&codes), "several-spcs");
    assert_eq!(
        world.trail("acme").last().expect("an event").outcome,
        "several-spcs"
    );
    // What is not the account's is said first, and nothing of other codes.
    let outside = world.mints("acme", &["one:12125551001", "one:12125553001"]);
    assert_eq!(code(&outside), "not-authorized");
}

fn numbers_that_pass_to_another_code_end_with_the_first(kind: Kind) {
    let world = two_codes(kind);
    allocate_for(&world, "1234", "1.212.555.3XXX", world.in_seconds(1800));
    allocate(
        &world,
        "583J",
        "1.212.555.3XXX",
        Some(world.in_seconds(1800)),
    );
    world.lends("acme", "1.212.555.3XXX");
    let issued = world.mints("acme", &["one:12125553001"]).expect("a token");
    assert_eq!(signed_by(&world, &issued), chains(&world)[0].1);
    assert_eq!(issued.expires, world.in_seconds(1800));
    assert_eq!(world.grant_of(&issued).justified_by.len(), 2);
    world.seconds_pass(1800);
    let later = world.mints("acme", &["one:12125553001"]).expect("a token");
    assert_eq!(signed_by(&world, &later), chains(&world)[1].1);
}

fn allocate_for(world: &World, spc: &str, block: &str, until: Time) {
    let new = NewAllocation {
        spc: spc.parse().expect("a code"),
        numbers: numbers(block),
        basis: Basis::Block,
        valid_from: None,
        valid_until: Some(until),
    };
    world.allocates(new).expect("an allocation");
}

fn replicas_agree_and_publish_for_each_other(kind: Kind) {
    let db: Arc<Db> = Arc::new(kind.into());
    let one = lender(Arc::clone(&db), Setup::default());
    let shared = || Setup {
        publication_delay: 60,
        signers: Some(one.signers.clone()),
        ..Setup::default()
    };
    let two = World::over(db, shared());
    assert_eq!(chains(&one), chains(&two));
    assert_eq!(signed_by(&one, &mint(&two)), signed_by(&two, &mint(&one)));

    one.certificate_comes("next", "1234", 7 * DAY);
    one.looks_for_signers(Patience::Asked);
    let next = chains(&one)[1].1.clone();
    // The second has not looked yet, and a CA may ask it all the same.
    assert!(two.authority.published_chain(&next).is_none());
    let asked = two
        .authority
        .chain_published_elsewhere(&next)
        .expect("published");
    assert_eq!(Some(asked), one.authority.published_chain(&next));
    assert!(
        two.authority
            .chain_published_elsewhere(&"0".repeat(64))
            .is_none()
    );
    two.looks_for_signers(Patience::Asked);
    assert_eq!(chains(&one), chains(&two), "published once");
    assert_eq!(two.trail(&next).len(), 1);
    for (second, expected) in [(59, "active"), (60, "retiring")] {
        let now = crate::support::clock_starts() + chrono::TimeDelta::seconds(second);
        one.clock.set(now);
        two.clock.set(now);
        assert_eq!(states(&one)[0], expected);
        let (a, b) = (mint(&one), mint(&two));
        assert_eq!(signed_by(&two, &a), signed_by(&one, &b));
        assert_eq!(signed_by(&two, &a) == next, second == 60);
    }
}

fn a_replica_whose_key_is_late_stays_with_the_one_before(kind: Kind) {
    let db: Arc<Db> = Arc::new(kind.into());
    let one = lender(Arc::clone(&db), Setup::default());
    let two = World::over(
        db,
        Setup {
            publication_delay: 60,
            signers: Some(one.signers.clone()),
            ..Setup::default()
        },
    );
    let first = signed_by(&two, &mint(&two));
    // The new files come to the first replica alone.
    let elsewhere = tempfile::tempdir().expect("a folder");
    one.certificate_comes("next", "1234", 7 * DAY);
    one.looks_for_signers(Patience::Asked);
    for name in ["next.key", "next.pem"] {
        std::fs::rename(one.signers.join(name), elsewhere.path().join(name)).expect("moved");
    }
    two.looks_for_signers(Patience::Asked);
    one.seconds_pass(61);
    two.seconds_pass(61);
    let next = signed_by(&one, &mint(&one));
    assert_ne!(next, first);
    let behind = mint(&two);
    assert_eq!(
        signed_by(&one, &behind),
        first,
        "valid, and published everywhere"
    );
    one.seconds_pass(3540);
    two.seconds_pass(3540);
    mint(&two);
    one.looks_for_signers(Patience::Asked);
    assert_eq!(
        states(&one),
        ["retiring", "active"],
        "a token of it can still be redeemed"
    );
    for name in ["next.key", "next.pem"] {
        std::fs::rename(elsewhere.path().join(name), one.signers.join(name)).expect("moved");
    }
    two.looks_for_signers(Patience::Asked);
    assert_eq!(signed_by(&one, &mint(&two)), next);
}

fn a_certificate_that_was_given_up_is_taken_up_again(kind: Kind) {
    let db: Arc<Db> = Arc::new(kind.into());
    let world = lender(Arc::clone(&db), Setup::default());
    world.certificate_comes("next", "1234", 7 * DAY);
    world.looks_for_signers(Patience::Asked);
    for _ in 0..4 {
        world.seconds_pass(61);
        world.looks_for_signers(Patience::Polled);
    }
    assert_eq!(states(&world), ["retired", "active"]);
    let first = chains(&world)[0].1.clone();
    // Somebody goes back: the service starts again with the old files alone.
    for name in ["next.key", "next.pem"] {
        std::fs::remove_file(world.signers.join(name)).expect("gone");
    }
    let again = World::over(
        db,
        Setup {
            publication_delay: 60,
            signers: Some(world.signers.clone()),
            ..Setup::default()
        },
    );
    again.clock.set(world.now());
    again.looks_for_signers(Patience::Asked);
    again.seconds_pass(61);
    assert_eq!(signed_by(&again, &mint(&again)), first);
}

fn without_a_certificate_in_force_there_is_no_token(kind: Kind) {
    let world = lender(
        Arc::new(kind.into()),
        Setup {
            certificate_lasts: 1000,
            spcs: vec!["1234", "583J"],
            ..Setup::default()
        },
    );
    assert_eq!(world.count("spcs_without_certificate"), 1);
    allocate(&world, "583J", "1.212.555.2XXX", None);
    world.lends("acme", "1.212.555.2XXX");
    let none = world.mints("acme", &["one:12125552001"]);
    assert_eq!(code(&none), "no-certificate");
    assert_eq!(
        world.trail("acme").last().expect("an event").outcome,
        "no-certificate"
    );
    assert!(world.authority.ready().is_ok(), "for the other code");
    world.seconds_pass(1001);
    assert_eq!(
        code(&world.mints("acme", &["one:12125551001"])),
        "no-certificate"
    );
    assert!(world.authority.ready().is_err());
    world.looks_for_signers(Patience::Asked);
    assert_eq!(world.count("spcs_without_certificate"), 2);
    assert_eq!(world.count("signing_certificate_not_after_seconds"), 0);
}

fn tokens_of_a_horizon_account_live_as_long_as_the_numbers(kind: Kind) {
    use tn_authority::domain::account::LifetimeMode;
    let world = lender(
        Arc::new(kind.into()),
        Setup {
            horizon: 3 * 86_400,
            ..Setup::default()
        },
    );
    assert_eq!(mint(&world).expires, world.in_seconds(3600));
    let provisioner = world.provisioner();
    let set = |mode| {
        let set =
            world
                .authority
                .set_lifetime_mode(&provisioner, crate::support::account("acme"), mode);
        wait(set).expect("an account")
    };
    for _ in 0..2 {
        assert_eq!(
            set(LifetimeMode::GrantHorizon).lifetime,
            LifetimeMode::GrantHorizon
        );
    }
    let modes: Vec<String> = world
        .trail("acme")
        .into_iter()
        .map(|event| event.action)
        .collect();
    assert_eq!(
        modes
            .iter()
            .filter(|action| *action == "set-lifetime")
            .count(),
        1
    );
    // The longest that is configured; what is asked for; a known end; the certificate.
    let issued = mint(&world);
    assert_eq!(issued.expires, world.in_seconds(3 * DAY));
    signed_by(&world, &issued);
    let asked = world
        .mints_for("acme", &["one:12125551001"], 600)
        .expect("a token");
    assert_eq!(asked.expires, world.in_seconds(600));
    let leaves = world.in_seconds(2 * DAY);
    world.excludes(
        "+12125551001",
        tn_authority::domain::inventory::Reason::PortedOut,
        Some(leaves),
    );
    assert_eq!(mint(&world).expires, leaves);
    world.seconds_pass(5 * DAY);
    let last = world.mints("acme", &["one:12125551002"]).expect("a token");
    assert_eq!(
        last.expires,
        world.in_seconds(2 * DAY),
        "the end of the certificate"
    );
    assert_eq!(set(LifetimeMode::Proof).lifetime, LifetimeMode::Proof);
    let proof = world.mints("acme", &["one:12125551002"]).expect("a token");
    assert_eq!(proof.expires, world.in_seconds(3600));
    let too_long = world.mints_for("acme", &["one:12125551002"], 2 * 86_400 + 1);
    assert_eq!(code(&too_long), "lifetime-not-allowed");
}
