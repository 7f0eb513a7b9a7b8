//! A signing key is stolen: nothing is signed with it any more, on any replica, and its grants are taken back.

mod races;
mod sweeps;

use std::sync::Arc;

use tn_authority::authority::{
    ChangeError, DistrustedKey, Issued, Listed, ListedChain, ScanMode, Withdrawing,
};
use tn_authority::domain::Role;
use tn_authority::domain::inventory::withdrawal::EndingRow;
use tn_authority::domain::signing::chain_choice::ChainState;
use tn_authority::domain::tokens::grant::GrantState;
use tn_authority::signer::FileKey;
use tn_authority::signer::csr::{RequestedNames, certificate_request, usual_subject};

use crate::authority::withdrawals::{auditor, feed, state, told};
use crate::support::{Db, Kind, Setup, World, code, wait};

both! {
    a_stolen_key_signs_no_more_on_any_replica,
    all_that_it_signed_is_taken_back_and_nothing_else,
    a_new_certificate_for_the_stolen_key_does_not_sign,
    certificates_of_one_key_are_distrusted_together,
    the_next_certificate_need_not_wait,
    what_is_distrusted_stays_so_and_repeats_its_answer,
    only_an_administrator_distrusts_and_only_what_was_published,
}

const DAY: i64 = 86_400;
const ENTRY: &str = "one:12125551001";

/// Replicas over one database, with one folder of keys.
pub fn replicas(kind: Kind, delay: u32) -> [World; 2] {
    let db: Arc<Db> = Arc::new(kind.into());
    let setup = |signers| Setup {
        publication_delay: delay,
        signers,
        ..Setup::default()
    };
    let one = World::over(Arc::clone(&db), setup(None));
    let two = World::over(db, setup(Some(one.signers.clone())));
    one.carrier_holds("1.212.555.1XXX");
    one.lends("acme", "1.212.555.1XXX");
    [one, two]
}

pub fn chains(world: &World) -> Vec<ListedChain> {
    let listed = world.authority.list_signers(&auditor(world));
    let chains = listed.expect("signers").into_iter();
    chains
        .filter_map(|listed| match listed {
            Listed::Chain(one) => Some(*one),
            Listed::Refused(_) => None,
        })
        .collect()
}

fn states(world: &World) -> Vec<&'static str> {
    let all = chains(world).into_iter();
    all.map(|one| one.state.as_str()).collect()
}

/// The chain that signs.
pub fn active(world: &World) -> String {
    let mut all = chains(world).into_iter();
    let active = all.find(|one| one.state == ChainState::Active);
    active.expect("an active chain").chain.name
}

fn refused(world: &World) -> Vec<String> {
    let listed = world.authority.list_signers(&auditor(world));
    let refused = listed
        .expect("signers")
        .into_iter()
        .filter_map(|one| match one {
            Listed::Chain(_) => None,
            Listed::Refused(file) => Some(format!("{}: {}", file.file, file.reason)),
        });
    refused.collect()
}

pub fn try_to_distrust(
    world: &World,
    role: Role,
    chain: &str,
    reason: &str,
) -> Result<Withdrawing<DistrustedKey>, ChangeError> {
    let caller = world.caller(role, &[]);
    let distrust = world
        .authority
        .distrust_chain(&caller, chain.to_owned(), reason.to_owned());
    wait(distrust)
}

pub fn distrust(world: &World, chain: &str) -> Withdrawing<DistrustedKey> {
    try_to_distrust(world, Role::Admin, chain, "stolen").expect("distrusted")
}

fn mint(world: &World) -> Issued {
    world.mints("acme", &[ENTRY]).expect("a token")
}

/// A certificate of the same key as `key.pem`, in the same folder.
fn renew(world: &World, name: &str, days: i64) {
    let key = std::fs::read(world.signers.join("key.pem")).expect("a key");
    let key = FileKey::from_pem(&key).expect("a key");
    let spc = "1234".parse().expect("a code");
    let names = RequestedNames {
        subject: usual_subject(&spc, None).expect("a name"),
        alternative: Vec::new(),
        policies: Vec::new(),
    };
    let request = certificate_request(&key, &spc, &names).expect("a request");
    let validity = world.in_seconds(-30)..=world.in_seconds(days * DAY);
    let chain = world
        .ca
        .sign_request(&request, &validity)
        .expect("a certificate");
    std::fs::write(world.signers.join(name), chain).expect("a file");
}

fn a_stolen_key_signs_no_more_on_any_replica(kind: Kind) {
    let [one, two] = replicas(kind, 60);
    let chain = active(&one);
    mint(&two);
    distrust(&one, &chain);

    // The second has polled nothing since, and has the key in memory.
    assert_eq!(states(&two), ["active"]);
    for world in [&two, &one] {
        assert_eq!(code(&world.mints("acme", &[ENTRY])), "key-distrusted");
        wait(world.authority.beat()).expect("a heartbeat");
        let ready = world.authority.readiness().failures();
        assert!(
            ready.contains("the key is distrusted since 2026-01-01T00:00:00Z (stolen)"),
            "{ready}"
        );
        let explained = world.explains("acme", &["+12125551001"], false);
        let denial = explained.decision.expect_err("a denial");
        assert_eq!(denial.code(), "key-distrusted");
    }
    assert_eq!(one.grants().len(), 1);
    assert_eq!(
        one.trail("acme").last().expect("an event").outcome,
        "key-distrusted"
    );

    // A poll finds the file in the folder, and so does a replica that starts.
    let three = World::over(
        Arc::clone(&one.db),
        Setup {
            publication_delay: 60,
            signers: Some(one.signers.clone()),
            ..Setup::default()
        },
    );
    two.looks_for_signers(ScanMode::Asked);
    for world in [&one, &two, &three] {
        assert_eq!(states(world), ["distrusted"]);
        assert_eq!(chains(world)[0].key, None, "the key is still in memory");
        assert!(world.authority.published_chain(&chain).is_none());
        let elsewhere = world.authority.chain_published_elsewhere(&chain);
        assert_eq!(elsewhere, Ok(None));
        assert!(world.authority.is_distrusted_chain(&chain));
        assert!(!world.authority.is_distrusted_chain(&"0".repeat(64)));
        assert_eq!(world.count("signing_chains{state=\"distrusted\"}"), 1);
        assert_eq!(world.count("spcs_without_certificate"), 1);
        assert_eq!(code(&world.mints("acme", &[ENTRY])), "key-distrusted");
    }

    // A new key is used at once, since there is nothing to wait for.
    one.certificate_comes("new", "1234", 7 * DAY);
    one.looks_for_signers(ScanMode::Asked);
    assert_eq!(states(&one), ["distrusted", "active"]);
    let issued = mint(&one);
    assert_eq!(one.grant_of(&issued).chain, active(&one));
    assert!(one.authority.readiness().is_ready());
    assert_eq!(code(&two.mints("acme", &[ENTRY])), "key-distrusted");
    two.looks_for_signers(ScanMode::Asked);
    assert_eq!(two.grant_of(&mint(&two)).chain, active(&one));
}

fn all_that_it_signed_is_taken_back_and_nothing_else(kind: Kind) {
    let [one, two] = replicas(kind, 0);
    let first = active(&one);
    let old: Vec<Issued> = [&one, &two].map(mint).into();
    let short = one.mints_for("acme", &[ENTRY], 300).expect("a token");
    one.certificate_comes("next", "1234", 7 * DAY);
    for world in [&one, &two] {
        world.looks_for_signers(ScanMode::Asked);
    }
    let new = mint(&one);
    assert_ne!(one.grant_of(&new).chain, first);
    for world in [&one, &two] {
        world.seconds_pass(300);
    }

    // What no longer signs can be distrusted, too.
    assert_eq!(states(&one), ["retiring", "active"]);
    let done = distrust(&one, &first);
    assert_eq!(done.row.chains, [first.as_str()]);
    let exposure = done.outstanding_grants.exposure;
    assert_eq!((exposure.tokens, exposure.until), (2, Some(old[0].expires)));
    let mut listed: Vec<_> = done.outstanding_grants.grants.iter().collect();
    listed.sort_by_key(|grant| &grant.jti);
    assert!(listed.iter().all(|grant| grant.chain == first));
    assert_eq!(listed.len(), 2);

    let id = done.row.distrust.id;
    let (cause, now) = (Some(EndingRow::Distrust(id)), one.now());
    for issued in &old {
        assert_eq!(state(&two, issued), GrantState::Withdrawn);
        let expected = ("key-distrusted".to_owned(), cause, now);
        assert_eq!(told(&two, issued), [expected]);
    }
    // It had expired, and needs no withdrawal.
    assert_eq!(state(&one, &short), GrantState::Expired);
    assert_eq!(state(&one, &new), GrantState::Active);
    assert_eq!(feed(&one, &auditor(&one)).len(), 2);
    // An account is told that its tokens are withdrawn, and not by which row.
    let of_acme = feed(&one, &one.caller(Role::Account, &["acme"]));
    assert!(of_acme.iter().all(|entry| entry.ended.cause.is_none()));
    one.authority.measure_exposure().expect("a measure");
    assert_eq!(one.count("exposed_tokens"), 2);

    let event = one.trail(&first).pop().expect("an event");
    assert_eq!(
        (event.action.as_str(), event.outcome.as_str()),
        ("distrust-chain", "done")
    );
    assert_eq!(event.detail["reason"], "stolen");
    assert_eq!(event.detail["withdrawn"], 2);
    assert_eq!(event.detail["distrust"], id.to_string());
    // The other key signs as before, on both.
    for world in [&one, &two] {
        assert_eq!(world.grant_of(&mint(world)).chain, active(&one));
    }
}

fn a_new_certificate_for_the_stolen_key_does_not_sign(kind: Kind) {
    let [one, two] = replicas(kind, 0);
    distrust(&one, &active(&one));
    renew(&one, "renewed.pem", 9);
    // Also not on a replica that has not heard of it.
    for world in [&two, &one] {
        world.looks_for_signers(ScanMode::Asked);
        assert_eq!(states(world), ["distrusted"]);
        let reasons = refused(world);
        assert_eq!(reasons.len(), 1, "{reasons:?}");
        assert!(
            reasons[0].contains("renewed.pem: the key is distrusted since"),
            "{reasons:?}"
        );
        assert_eq!(world.count("signer_refused_files"), 1);
        assert_eq!(code(&world.mints("acme", &[ENTRY])), "key-distrusted");
    }
    let path = one.signers.join("renewed.pem").display().to_string();
    assert_eq!(one.trail(&path)[0].action, "refuse-signer");
}

fn certificates_of_one_key_are_distrusted_together(kind: Kind) {
    let [one, two] = replicas(kind, 0);
    let first = mint(&one);
    renew(&one, "renewed.pem", 9);
    for world in [&one, &two] {
        world.seconds_pass(31);
        world.looks_for_signers(ScanMode::Asked);
    }
    let second = mint(&one);
    let names = [&first, &second].map(|issued| one.grant_of(issued).chain);
    assert_ne!(names[0], names[1]);
    let done = distrust(&two, &names[0]);
    assert_eq!(done.row.chains, names);
    assert_eq!(done.outstanding_grants.exposure.tokens, 2);
    assert_eq!(states(&two), ["distrusted", "distrusted"]);
    let certificates = chains(&two).into_iter();
    let distrusts: Vec<_> = certificates.filter_map(|one| one.chain.distrust).collect();
    assert_eq!(distrusts[0].public_key, distrusts[1].public_key);
    assert_ne!(distrusts[0].certificate, distrusts[1].certificate);
    for issued in [&first, &second] {
        assert_eq!(state(&one, issued), GrantState::Withdrawn);
    }
    for world in [&one, &two] {
        assert_eq!(code(&world.mints("acme", &[ENTRY])), "key-distrusted");
    }
    for name in &names {
        let events = one.trail(name).into_iter();
        let told = events.filter(|event| event.action == "distrust-chain");
        assert_eq!(told.count(), 1, "{name}");
    }
}

fn the_next_certificate_need_not_wait(kind: Kind) {
    let [one, _] = replicas(kind, 600);
    let first = active(&one);
    one.certificate_comes("next", "1234", 7 * DAY);
    one.looks_for_signers(ScanMode::Asked);
    assert_eq!(states(&one), ["active", "published"]);
    distrust(&one, &first);
    assert_eq!(states(&one), ["distrusted", "active"]);
    let issued = mint(&one);
    assert_eq!(one.grant_of(&issued).chain, active(&one));
}

fn what_is_distrusted_stays_so_and_repeats_its_answer(kind: Kind) {
    let [one, two] = replicas(kind, 0);
    let chain = active(&one);
    mint(&one);
    let first = distrust(&one, &chain);
    let trail = one.trail(&chain).len();
    for world in [&one, &two] {
        world.seconds_pass(5_000);
        world.looks_for_signers(ScanMode::Asked);
        let again = try_to_distrust(world, Role::Admin, &chain, "another reason");
        let again = again.expect("distrusted");
        assert_eq!(again.row, first.row);
        assert_eq!(
            again.outstanding_grants.exposure,
            first.outstanding_grants.exposure
        );
        assert_eq!(states(world), ["distrusted"]);
    }
    assert_eq!(one.trail(&chain).len(), trail);
    assert_eq!(feed(&one, &auditor(&one)).len(), 1);
}

fn only_an_administrator_distrusts_and_only_what_was_published(kind: Kind) {
    let [one, _] = replicas(kind, 0);
    let chain = active(&one);
    for role in Role::ALL {
        if role != Role::Admin {
            let refused = try_to_distrust(&one, role, &chain, "stolen");
            assert_eq!(refused, Err(ChangeError::Forbidden), "{role}");
        }
    }
    let unknown = try_to_distrust(&one, Role::Admin, &"0".repeat(64), "stolen");
    assert_eq!(unknown, Err(ChangeError::NotFound("certificate chain")));
    let event = one.trail(&"0".repeat(64)).pop().expect("an event");
    assert_eq!(
        (event.action.as_str(), event.outcome.as_str()),
        ("distrust-chain", "not-found")
    );
    assert_eq!(states(&one), ["active"]);
    mint(&one);
}
