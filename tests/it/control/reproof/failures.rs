//! Agents that do not answer: the account is told, and there is time left to mend it.

use std::collections::{BTreeMap, BTreeSet};

use tn_authority::domain::control::failure::ControlFailure;
use tn_authority::domain::control::sending::{SendFailure, SendOutcome};
use tn_authority::domain::{Fingerprint, Role};
use uuid::Uuid;

use super::{
    DAY, HOUR, answers, answers_one, asking_daily, daily, feed, gives, proofs, renews, wanted,
    works,
};
use crate::support::{Kind, World, account, wait};

both! {
    an_agent_that_was_down_is_asked_again_before_the_end,
    each_proof_that_failed_is_told_once_and_why,
    an_account_sees_its_own_failures_in_order,
}

fn an_agent_that_was_down_is_asked_again_before_the_end(kind: Kind) {
    let (world, loan) = asking_daily(kind);
    let right = daily(&world, &loan);
    assert_eq!((works(&world), answers(&world)), (1, 1));
    let mut confirmed = Vec::new();
    for minutes in (5..=40 * 60).step_by(5) {
        world.seconds_pass(300);
        works(&world);
        // Down from the 14th hour to the 20th; the proof is a day old at the 24th.
        let is_up = !(14 * 60..20 * 60).contains(&minutes);
        if is_up && answers(&world) > 0 {
            confirmed.push(minutes);
        }
        renews(&world, &right).unwrap_or_else(|error| panic!("minute {minutes}: {error}"));
    }
    assert!(
        (20 * 60..24 * 60 - 30).contains(&confirmed[0]),
        "{confirmed:?}"
    );
    let failed = feed(&world);
    assert!((3..=9).contains(&failed.len()), "{}", failed.len());
    assert!(
        failed
            .iter()
            .all(|failed| failed.failure == ControlFailure::Expired)
    );
    let starts: Vec<i64> = failed
        .iter()
        .map(|f| f.proof.started_at.timestamp())
        .collect();
    let waits: Vec<i64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(
        waits.windows(2).all(|pair| pair[1] + 300 >= pair[0]),
        "growing: {waits:?}"
    );
    assert!(waits[0] <= 1_200, "{waits:?}");
    // Never more often than the limits of a number allow.
    let within = |period: i64, most: usize| {
        let most_at = |at: &i64| {
            starts
                .iter()
                .filter(|s| (*at..at + period).contains(s))
                .count()
        };
        assert!(starts.iter().all(|at| most_at(at) <= most), "{starts:?}");
    };
    within(HOUR, 3);
    within(DAY, 10);
}

fn each_proof_that_failed_is_told_once_and_why(kind: Kind) {
    let (world, loan) = asking_daily(kind);
    let right = gives(&world, wanted(&loan, &["range:12125551001+3"], DAY)).expect("a right");
    assert_eq!(works(&world), 3);
    let asked = proofs(&world);
    // The first is refused by the carrier's proxy, after an attempt that could be repeated.
    let process = Uuid::from_u128(1);
    let room = BTreeMap::from([("sip-gateway".to_owned(), 1)]);
    let mut sent = wait(world.authority.take_codes(process, &room)).expect("codes");
    let first = sent.pop().expect("a code");
    let later = SendOutcome::Later(SendFailure::Unreachable, None);
    wait(world.authority.code_attempted(process, &first, later)).expect("recorded");
    world.seconds_pass(2);
    let mut sent = wait(world.authority.take_codes(process, &room)).expect("codes");
    let again = sent.pop().expect("a code");
    let refused = SendOutcome::Refused(SendFailure::Refused);
    wait(world.authority.code_attempted(process, &again, refused)).expect("recorded");
    let is_sent = |proof: &Uuid| *proof == again.message.proof;
    // The second is answered with another key, the third not at all.
    let others: Vec<_> = asked.iter().filter(|proof| !is_sent(&proof.id)).collect();
    assert!(!answers_one(&world, others[0], Fingerprint::from([1; 32])));
    while wait(world.authority.report_failures()).expect("a report") {}
    assert_eq!(feed(&world).len(), 1, "what was not sent is told at once");
    world.seconds_pass(600);
    for _ in 0..3 {
        assert!(!wait(world.authority.report_failures()).expect("a report"));
    }
    let told = feed(&world);
    let why: BTreeMap<Uuid, ControlFailure> = told
        .iter()
        .map(|failed| (failed.proof.id, failed.failure))
        .collect();
    assert_eq!((told.len(), why.len()), (3, 3));
    for proof in &asked {
        let expected = if is_sent(&proof.id) {
            ControlFailure::NotSent
        } else {
            ControlFailure::Expired
        };
        assert_eq!(why[&proof.id], expected);
        let trail = world.trail(&proof.id.to_string());
        let failed = trail
            .iter()
            .filter(|event| event.action == "fail-control-proof");
        let failed: Vec<_> = failed.collect();
        assert_eq!(failed.len(), 1);
        assert_eq!(failed[0].account, Some(account("acme")));
        assert_eq!(failed[0].detail["renewal"], right.id.to_string());
    }
    let metrics = world.metrics.render().expect("metrics");
    let line = "tn_authority_control_reproofs_total{outcome=\"failed\"} 3";
    assert!(metrics.lines().any(|known| known == line), "{metrics}");
    // What a caller started is its own business.
    let caller = world.caller(Role::Account, &["acme"]);
    let by_hand = tn_authority::authority::NewControlProofs {
        account: account("acme"),
        numbers: vec!["+12125551050".parse().expect("a number")],
        channel: tn_authority::domain::control::channel::Channel::Sms(None),
        renewal: None,
    };
    wait(world.authority.start_control(&caller, by_hand)).expect("a proof");
    world.seconds_pass(700);
    assert!(!wait(world.authority.report_failures()).expect("a report"));
    assert_eq!(feed(&world).len(), 3);
}

fn an_account_sees_its_own_failures_in_order(kind: Kind) {
    let (world, loan) = asking_daily(kind);
    let other = world.lends("other", "1.212.555.2XXX");
    daily(&world, &loan);
    gives(&world, wanted(&other, &["one:12125552001"], DAY)).expect("a right");
    for _ in 0..24 {
        world.seconds_pass(HOUR);
        works(&world);
    }
    world.seconds_pass(HOUR);
    while wait(world.authority.report_failures()).expect("a report") {}
    let all = feed(&world);
    assert!(all.len() > 8, "{}", all.len());
    let sequences: Vec<i64> = all.iter().map(|failed| failed.sequence).collect();
    assert!(
        sequences.windows(2).all(|pair| pair[0] < pair[1]),
        "{sequences:?}"
    );
    let of = |id: &str| {
        let caller = world.caller(Role::Account, &[id]);
        pages(&world, &caller, 3)
    };
    let (acme, others) = (of("acme"), of("other"));
    assert_eq!(acme.len() + others.len(), all.len());
    let disjoint: BTreeSet<i64> = acme.iter().chain(&others).copied().collect();
    assert_eq!(disjoint.into_iter().collect::<Vec<_>>(), sequences);
    let renewer = world.caller(Role::Renewer, &["acme"]);
    assert_eq!(pages(&world, &renewer, 3).len(), 0);
}

/// The sequence numbers that a caller sees, read in pages.
fn pages(world: &World, caller: &tn_authority::domain::Caller, limit: u16) -> Vec<i64> {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let feed = world.authority.control_failures(caller, after, limit);
        let feed = feed.expect("a page");
        all.extend(feed.items.iter().map(|failed| failed.sequence));
        after = feed.next_after;
        if !feed.more {
            return all;
        }
    }
}
