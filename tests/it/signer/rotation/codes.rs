//! Several codes, each with its certificate; and how long a token lives.

use std::sync::Arc;

use tn_authority::authority::{NewAllocation, ScanMode};
use tn_authority::domain::Time;
use tn_authority::domain::accounts::account::LifetimeMode;
use tn_authority::domain::inventory::{Basis, Reason};

use super::{DAY, chains, lender, mint, signed_by, states};
use crate::signer::sources::certificates;
use crate::support::{Kind, Setup, World, account, code, numbers, wait};

both! {
    each_code_has_its_certificate,
    numbers_of_two_codes_need_two_tokens,
    numbers_that_pass_to_another_code_end_with_the_first,
    without_a_certificate_in_force_there_is_no_token,
    tokens_of_a_horizon_account_live_as_long_as_the_numbers,
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
    world.looks_for_signers(ScanMode::Asked);
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
        "the list needs the certificates of several service provider codes (1234, 583J); request one token for each"
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
    assert!(world.authority.readiness().is_ready(), "for the other code");
    world.seconds_pass(1001);
    assert_eq!(
        code(&world.mints("acme", &["one:12125551001"])),
        "no-certificate"
    );
    assert!(!world.authority.readiness().is_ready());
    world.looks_for_signers(ScanMode::Asked);
    assert_eq!(world.count("spcs_without_certificate"), 2);
    assert_eq!(world.count("signing_certificate_not_after_seconds"), 0);
}

fn tokens_of_a_horizon_account_live_as_long_as_the_numbers(kind: Kind) {
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
        let set = world
            .authority
            .set_lifetime_mode(&provisioner, account("acme"), mode);
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
    world.excludes("+12125551001", Reason::PortedOut, Some(leaves));
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
