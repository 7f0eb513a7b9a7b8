//! A key that signed more than one transaction withdraws.

use std::sync::Arc;
use std::time::Instant;

use tn_authority::authority::{IssueError, ScanMode, StoreError};
use tn_authority::domain::issuance::{KeyedRequest, Replay};
use tn_authority::domain::tokens::grant::GrantState;
use tn_authority::domain::{Caller, Role};
use uuid::Uuid;

use super::{DAY, ENTRY, active, distrust, renew, replicas};
use crate::authority::withdrawal_sweeps::many_grants;
use crate::support::{Kind, Setup, World, account, request, wait};

both! {
    the_rest_is_withdrawn_by_another_process,
    two_certificates_of_the_key_share_what_one_transaction_withdraws,
    a_grant_that_no_sweep_has_reached_is_not_signed_again,
}

fn marked(world: &World) -> usize {
    let all = world.grants().into_iter();
    all.filter(|grant| grant.withdrawal.is_some()).count()
}

fn the_rest_is_withdrawn_by_another_process(kind: Kind) {
    let [one, two] = replicas(kind, 0);
    let chain = active(&one);
    many_grants(&one, 24_999);
    let start = Instant::now();
    let done = distrust(&one, &chain);
    println!(
        "the distrust of a key with 25,000 grants took {:?}",
        start.elapsed()
    );
    assert_eq!(done.outstanding_grants.exposure.tokens, 25_000);
    assert_eq!(
        one.trail(&chain).pop().expect("an event").detail["withdrawn"],
        25_000
    );
    assert_eq!(marked(&one), 10_000);
    // What is not marked yet is told as withdrawn to the CA that asks.
    let grants = one.grants().into_iter();
    let mut left = grants.filter(|grant| grant.withdrawal.is_none());
    let last = left.next().expect("a grant");
    let status = two.authority.grant_status(&last.jti).expect("a grant");
    assert_eq!(
        (status.state, status.at),
        (GrantState::Withdrawn, Some(one.now()))
    );

    // Another key signs meanwhile, and what it signs is none of the sweep's.
    one.certificate_comes("next", "1234", 7 * DAY);
    two.looks_for_signers(ScanMode::Asked);
    let new = two.mints("acme", &[ENTRY]).expect("a token");
    let service = Caller::the_service(Uuid::from_u128(1));
    assert!(wait(one.authority.sweep(&service)).expect("a sweep"));
    // The process is gone; one that starts later goes on where it was.
    let db = Arc::clone(&one.db);
    let signers = Some(two.signers.clone());
    let later = World::over(
        db,
        Setup {
            signers,
            ..Setup::default()
        },
    );
    assert_eq!(marked(&later), 20_000);
    while wait(later.authority.sweep(&service)).expect("a sweep") {}
    assert_eq!(marked(&later), 25_000);
    let status = later.authority.grant_status(&new.jti).expect("a grant");
    assert_eq!(status.state, GrantState::Active);
    let entries = later
        .authority
        .store()
        .read(|tx| tx.withdrawals_after(None, (0, None), 30_000));
    let entries = entries.expect("a feed");
    assert_eq!(entries.len(), 25_000);
    assert!(
        entries
            .iter()
            .all(|entry| entry.ended.reason == "key-distrusted")
    );
}

/// The first certificate uses it up, and nothing is left for the second.
fn two_certificates_of_the_key_share_what_one_transaction_withdraws(kind: Kind) {
    let [one, _] = replicas(kind, 0);
    let first = active(&one);
    many_grants(&one, 10_000);
    one.seconds_pass(31);
    renew(&one, "renewed.pem", 9);
    one.looks_for_signers(ScanMode::Asked);
    many_grants(&one, 5);
    let done = distrust(&one, &first);
    assert_eq!(done.row.chains.len(), 2);
    assert_eq!(done.outstanding_grants.exposure.tokens, 10_007);
    assert_eq!(marked(&one), 10_000);
    for grant in one.grants() {
        let status = one.authority.grant_status(&grant.jti).expect("a grant");
        assert_eq!(status.state, GrantState::Withdrawn);
    }
    let service = Caller::the_service(Uuid::from_u128(1));
    let mut turns = 0;
    while wait(one.authority.sweep(&service)).expect("a sweep") {
        turns += 1;
    }
    assert_eq!((turns, marked(&one)), (2, 10_007));
}

/// Its process died between the record and the answer. The client asks again, at a replica that has the stolen key in
/// memory, and whose other key could sign.
fn a_grant_that_no_sweep_has_reached_is_not_signed_again(kind: Kind) {
    let [one, two] = replicas(kind, 0);
    let stolen = active(&one);
    let attempt = |world: &World| KeyedRequest {
        name: "k".to_owned(),
        request: "the same".to_owned(),
        holder: Uuid::new_v4(),
        at: world.now(),
        lease_until: world.in_seconds(10),
        keep_until: world.in_seconds(DAY),
    };
    let mint = |world: &World| {
        let caller = world.caller(Role::Account, &["acme"]);
        // It expires last, so it is withdrawn last.
        let wanted = request(&[ENTRY], false, Some(7_200));
        let keyed = Some(attempt(world));
        wait(
            world
                .authority
                .issue(&caller, account("acme"), wanted, keyed),
        )
    };
    many_grants(&one, 10_001);
    let lost = mint(&one).expect("a token");
    one.certificate_comes("next", "1234", 7 * DAY);
    for world in [&one, &two] {
        world.looks_for_signers(ScanMode::Asked);
        world.seconds_pass(10);
    }
    distrust(&one, &stolen);
    let grants = one.grants();
    let of_lost = grants.iter().find(|grant| grant.jti == lost.jti);
    assert_eq!(of_lost.expect("a grant").withdrawal, None, "not reached");
    let again = mint(&two);
    assert!(
        matches!(
            again,
            Err(IssueError::Store(StoreError::Replay(Replay::GrantEnded)))
        ),
        "{again:?}"
    );
}
