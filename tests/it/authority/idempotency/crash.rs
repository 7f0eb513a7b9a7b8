//! A process that is gone between the record of a grant and the answer, as the next one finds it. `kill` does the same with
//! real processes.

use tn_authority::authority::{IssueError, Issued, StoreError};
use tn_authority::callers::{ApiKeyError, KeyRequester, NewApiKey, ShownApiKey};
use tn_authority::domain::inventory::Reason;
use tn_authority::domain::issuance::{KeyedRequest, Replay};
use tn_authority::domain::tokens::grant::Grant;
use tn_authority::domain::{AccountId, Role, TokenRequest};
use uuid::Uuid;

use crate::support::service::Api;
use crate::support::{World, account, at_once, request, wait};

both! {
    the_next_one_signs_what_was_recorded,
    only_the_holder_may_answer,
    what_would_not_be_granted_any_more_is_not_signed,
    two_with_one_key_in_one_batch_are_one_grant,
    a_bulk_is_recorded_once,
    a_secret_that_nobody_was_shown_is_the_answer,
}

const LEASE: i64 = 10;

/// An attempt, now, with a key of its own name.
fn attempt(world: &World, name: &str) -> KeyedRequest {
    KeyedRequest {
        name: name.to_owned(),
        request: "the same".to_owned(),
        holder: Uuid::new_v4(),
        at: world.now(),
        lease_until: world.in_seconds(LEASE),
        keep_until: world.in_seconds(86_400),
    }
}

fn mint(world: &World, attempt: &KeyedRequest, entry: &str) -> Result<Issued, IssueError> {
    let caller = world.caller(Role::Account, &["acme"]);
    let wanted = request(&[entry], false, None);
    wait(
        world
            .authority
            .issue(&caller, account("acme"), wanted, Some(attempt.clone())),
    )
}

fn repeated(outcome: &Result<Issued, IssueError>) -> &Replay {
    match outcome {
        Err(IssueError::Store(StoreError::Replay(repeated))) => repeated,
        other => panic!("expected that it came before, got {other:?}"),
    }
}

fn lender(world: &World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.1XXX");
}

fn the_next_one_signs_what_was_recorded(world: World) {
    lender(&world);
    // It is recorded and signed, and then its process is gone: nobody has the token.
    let lost = mint(&world, &attempt(&world, "k"), "one:12125551001").expect("a token");
    world.seconds_pass(LEASE - 1);
    let early = mint(&world, &attempt(&world, "k"), "one:12125551001");
    assert_eq!(repeated(&early), &Replay::InFlight);
    world.seconds_pass(1);
    let before = world.grants();
    let signed = mint(&world, &attempt(&world, "k"), "one:12125551001").expect("a token");
    assert_eq!((&signed.jti, signed.expires), (&lost.jti, lost.expires));
    assert_eq!(world.grants(), before);
    let outcomes: Vec<String> = world
        .trail("acme")
        .iter()
        .map(|event| event.detail["again"].to_string())
        .collect();
    assert_eq!(outcomes.last().map(String::as_str), Some("true"));
}

fn only_the_holder_may_answer(world: World) {
    lender(&world);
    let keep = |attempt: &KeyedRequest, answer: &[u8]| {
        wait(
            world
                .authority
                .keep_answer(attempt.clone(), answer.to_vec()),
        )
    };
    let slow = attempt(&world, "k");
    mint(&world, &slow, "one:12125551001").expect("a token");
    world.seconds_pass(LEASE);
    let next = attempt(&world, "k");
    mint(&world, &next, "one:12125551001").expect("a token");
    // The first was only slow. Its token must not get out beside the other.
    let late = keep(&slow, b"late");
    assert_eq!(late, Err(StoreError::Replay(Replay::InFlight)));
    keep(&next, b"answer").expect("kept");
    assert!(keep(&next, b"another").is_err(), "an answer stays");
    let again = mint(&world, &attempt(&world, "k"), "one:12125551001");
    assert_eq!(repeated(&again), &Replay::Answered(b"answer".to_vec()));
    let other = KeyedRequest {
        request: "another".to_owned(),
        ..attempt(&world, "k")
    };
    let other = mint(&world, &other, "one:12125551001");
    assert_eq!(repeated(&other), &Replay::OtherRequest);
    assert_eq!(world.grants().len(), 1);

    // Who lets go lets the next one in at once.
    let failed = attempt(&world, "l");
    let first = mint(&world, &failed, "one:12125551002").expect("a token");
    wait(world.authority.let_go_of_key(failed, true)).expect("let go");
    let second = mint(&world, &attempt(&world, "l"), "one:12125551002").expect("a token");
    assert_eq!(first.jti, second.jti);
}

fn what_would_not_be_granted_any_more_is_not_signed(world: World) {
    lender(&world);
    let lose = |name: &str, number: u64| {
        let entry = format!("one:{number}");
        mint(&world, &attempt(&world, name), &entry).expect("a token")
    };
    let first = lose("withdrawn", 12_125_551_001);
    lose("ported", 12_125_551_002);
    lose("expired", 12_125_551_003);
    lose("fine", 12_125_551_004);
    let provisioner = world.provisioner();
    let reason = "an error".to_owned();
    wait(
        world
            .authority
            .withdraw(&provisioner, first.jti.clone(), reason),
    )
    .expect("withdrawn");
    let ported = world.excludes("+12125551002", Reason::PortedOut, None);
    // The port was told of it, since it could have been given.
    assert_eq!(ported.outstanding_grants.grants.len(), 1);
    world.seconds_pass(LEASE);
    let again = |name: &str, number: u64| {
        let entry = format!("one:{number}");
        mint(&world, &attempt(&world, name), &entry)
    };
    for (name, number) in [("withdrawn", 12_125_551_001), ("ported", 12_125_551_002)] {
        assert_eq!(
            repeated(&again(name, number)),
            &Replay::GrantEnded,
            "{name}"
        );
    }
    again("fine", 12_125_551_004).expect("a token");
    let last = world
        .trail("acme")
        .into_iter()
        .rev()
        .nth(1)
        .expect("an event");
    assert_eq!(last.outcome, "grant-ended");
    world.seconds_pass(3600);
    let expired = again("expired", 12_125_551_003);
    assert_eq!(repeated(&expired), &Replay::GrantEnded);
    // Whoever is suspended gets nothing either.
    lose("suspended", 12_125_551_005);
    world.suspends("acme");
    world.seconds_pass(LEASE);
    let suspended = again("suspended", 12_125_551_005);
    assert_eq!(repeated(&suspended), &Replay::GrantEnded);
    assert_eq!(world.grants().len(), 5);
}

fn two_with_one_key_in_one_batch_are_one_grant(world: World) {
    lender(&world);
    let grants = |name: &str| -> usize {
        let outcomes = at_once(8, |_| {
            mint(&world, &attempt(&world, name), "one:12125551001")
        });
        let (granted, rest): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
        for one in &rest {
            assert_eq!(repeated(one), &Replay::InFlight);
        }
        granted.len()
    };
    for round in 0..20 {
        assert_eq!(grants(&format!("k{round}")), 1);
    }
    assert_eq!(world.grants().len(), 20);
    // In one batch for sure: a bulk.
    let caller = world.caller(Role::Account, &["acme"]);
    let bulk = attempt(&world, "bulk");
    let wanted = vec![(account("acme"), request(&["one:12125551001"], false, None)); 3];
    let answers = wait(world.authority.issue_all(&caller, wanted, Some(&bulk))).expect("answers");
    assert!(
        answers.iter().all(Result::is_ok),
        "each has a key of its own"
    );
    assert_eq!(world.grants().len(), 23);
}

fn a_bulk_is_recorded_once(world: World) {
    lender(&world);
    let wanted: Vec<(AccountId, TokenRequest)> = (0..300)
        .map(|n| {
            let entry = format!("one:{}", 12_125_551_900_u64 + n);
            (account("acme"), request(&[&entry], false, None))
        })
        .collect();
    let caller = world.caller(Role::Account, &["acme"]);
    let mint_all = |attempt: &KeyedRequest| -> Vec<Option<Issued>> {
        let bulk = world
            .authority
            .issue_all(&caller, wanted.clone(), Some(attempt));
        wait(bulk)
            .expect("answers")
            .into_iter()
            .map(Result::ok)
            .collect()
    };
    let take = |attempt: &KeyedRequest| wait(world.authority.take_key(attempt.clone()));
    let first = attempt(&world, "bulk");
    take(&first).expect("the key");
    let lost = mint_all(&first);
    let recorded: Vec<Grant> = world.grants();
    assert_eq!(recorded.len(), 100);
    let early = take(&attempt(&world, "bulk"));
    assert_eq!(early, Err(StoreError::Replay(Replay::InFlight)));
    world.seconds_pass(LEASE);
    let next = attempt(&world, "bulk");
    take(&next).expect("the key");
    let jtis = |answers: &[Option<Issued>]| -> Vec<_> {
        let jti = |one: &Option<Issued>| one.as_ref().map(|issued| issued.jti.clone());
        answers.iter().map(jti).collect()
    };
    assert_eq!(jtis(&mint_all(&next)), jtis(&lost));
    assert_eq!(world.grants(), recorded);
}

fn a_secret_that_nobody_was_shown_is_the_answer(api: Api) {
    let keys = api.service.callers.api_keys();
    let admin = api.world.caller(Role::Admin, &[]);
    let made = NewApiKey::new(Role::Auditor, Vec::new());
    let made = wait(keys.create(&admin, made)).expect("a key");
    let rotate = |attempt: KeyedRequest| {
        let seal = |outcome: Result<&ShownApiKey, &ApiKeyError>| {
            Ok(outcome.ok().map(|shown| shown.key.clone().into_bytes()))
        };
        let by = KeyRequester::with_key(&admin, attempt, Box::new(seal));
        wait(keys.rotate(by, &made.kept.id, 60))
    };
    // Its process is gone before it can answer.
    let lost = rotate(attempt(&api.world, "k")).expect("a secret");
    api.world.seconds_pass(LEASE);
    let again = rotate(attempt(&api.world, "k"));
    let Err(ApiKeyError::Store(StoreError::Replay(Replay::Answered(answer)))) = again else {
        panic!("expected that it came before, got {again:?}")
    };
    assert_eq!(answer, lost.key.as_bytes());
    let known = keys.get(&admin, &made.kept.id).expect("a key");
    // So the secret that is in use goes on to work for as long as was said.
    assert_eq!(known.validity.secret, 2);
    for key in [&made.key, &lost.key] {
        api.get(key, "/v1/audit-events").with(200);
    }
}
