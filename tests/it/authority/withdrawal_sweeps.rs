//! Many grants that are taken back: readers of the feed, sweeps, and exposure.

use std::sync::Arc;

use tn_authority::domain::Caller;
use tn_authority::domain::inventory::Reason;
use tn_authority::domain::tokens::grant::{GrantState, Jti};

use super::withdrawals::{auditor, feed, state};
use crate::support::{Db, Kind, Setup, World, at_once, wait};

both! {
    a_reader_misses_nothing_while_two_replicas_write,
    more_than_one_transaction_takes_is_swept,
    a_new_grant_is_not_swept_with_the_old_ones,
    exposure_is_counted_and_measured,
}

fn a_reader_misses_nothing_while_two_replicas_write(kind: Kind) {
    let db = Arc::new(Db::from(kind));
    let worlds = [(); 2].map(|()| World::over(Arc::clone(&db), Setup::default()));
    worlds[0].carrier_holds("1.212.555.1XXX");
    worlds[0].lends("acme", "1.212.555.1XXX");
    let tokens = 60_u64;
    for n in 0..tokens {
        let entry = format!("one:{}", 12_125_551_000 + n);
        worlds[n as usize % 2]
            .mints("acme", &[&entry])
            .expect("a token");
    }
    let followed = at_once(5, |n| {
        if n < 4 {
            for number in (0..tokens).filter(|number| *number as usize % 4 == n) {
                let number = format!("+{}", 12_125_551_000 + number);
                worlds[n % 2].excludes(&number, Reason::PortedOut, None);
            }
            return Vec::new();
        }
        // One that is missed would never come, and the scenario would not end.
        let (mut seen, mut after) = (Vec::new(), 0);
        loop {
            let page = worlds[0]
                .authority
                .withdrawals(&auditor(&worlds[0]), after, 3);
            let page = page.expect("a feed");
            after = page.next_after;
            seen.extend(page.items);
            if seen.len() >= tokens as usize {
                return seen;
            }
        }
    });
    let followed = &followed[4];
    assert!(followed.is_sorted_by(|a, b| a.sequence < b.sequence));
    let mut seen: Vec<&Jti> = followed.iter().map(|entry| &entry.jti).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), tokens as usize);
    // Whoever comes later reads the very same.
    assert_eq!(*followed, feed(&worlds[1], &auditor(&worlds[1])));
}

/// Puts many grants into the ledger behind the back of the store: minting them would take a while.
pub fn many_grants(world: &World, count: u32) {
    let issued = world.mints("acme", &["one:12125551001"]).expect("a token");
    let jti = issued.jti.as_str();
    // With what differs from one id to the next: other worlds of the process can be ahead in time.
    let (time, _) = jti.split_at(24);
    let series = match world.db.kind() {
        Kind::Sqlite => format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})"
        ),
        Kind::Postgres => format!("WITH n(i) AS (SELECT generate_series(1, {count}))"),
    };
    let name = match world.db.kind() {
        Kind::Sqlite => format!("unhex('{time}' || printf('%020x', n.i))"),
        Kind::Postgres => format!("decode('{time}' || lpad(to_hex(n.i), 20, '0'), 'hex')"),
    };
    let same = match world.db.kind() {
        Kind::Sqlite => format!("unhex('{jti}')"),
        Kind::Postgres => format!("decode('{jti}', 'hex')"),
    };
    let copied = "issued_at, expires_at, first_position, last_position, span, caller_id, terms_id, request_id, \
        fingerprint, account_id, tkvalue, justified_by";
    world.db.execute(&format!(
        "INSERT INTO grants (jti, {copied}) {series} SELECT {name}, {copied} FROM grants CROSS JOIN n \
         WHERE jti = {same}"
    ));
}

fn more_than_one_transaction_takes_is_swept(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.10XX");
    many_grants(&world, 24_999);
    let start = std::time::Instant::now();
    let port = world.excludes("+12125551001", Reason::PortedOut, None);
    println!(
        "a port that touches 25,000 grants took {:?}",
        start.elapsed()
    );
    assert_eq!(port.outstanding_grants.exposure.tokens, 25_000);
    assert_eq!(port.outstanding_grants.grants.len(), 1_000);
    let event = world
        .trail(&port.row.row.id.to_string())
        .pop()
        .expect("an event");
    assert_eq!(event.detail["withdrawn"], 25_000);
    let marked = || {
        world
            .grants()
            .iter()
            .filter(|g| g.withdrawal.is_some())
            .count()
    };
    assert_eq!(marked(), 10_000);
    // What is not marked yet is told as taken back all the same, also to who asks for one grant.
    let last = world.grants().pop().expect("a grant");
    assert_eq!(last.withdrawal, None);
    let status = world.authority.grant_status(&last.jti).expect("a grant");
    assert_eq!(
        (status.state, status.at),
        (GrantState::Withdrawn, Some(world.now()))
    );

    let service = Caller::the_service(uuid::Uuid::from_u128(1));
    let mut turns = 0;
    while wait(world.authority.sweep(&service)).expect("a sweep") {
        turns += 1;
    }
    assert_eq!((turns, marked()), (2, 25_000));
    let entries = world
        .authority
        .store()
        .read(|tx| tx.withdrawals_after(None, (0, None), 30_000));
    let entries = entries.expect("a feed");
    assert_eq!(entries.len(), 25_000);
    assert!(entries.is_sorted_by(|a, b| a.sequence < b.sequence));
    assert_eq!(world.trail(&port.row.row.id.to_string()).len(), 3);
}

fn a_new_grant_is_not_swept_with_the_old_ones(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.10XX");
    many_grants(&world, 10_001);
    world.suspends("acme");
    world.resumes("acme");
    world.seconds_pass(1);
    let new = world.mints("acme", &["one:12125551001"]).expect("a token");
    assert_eq!(state(&world, &new), GrantState::Active);
    let service = Caller::the_service(uuid::Uuid::from_u128(1));
    while wait(world.authority.sweep(&service)).expect("a sweep") {}
    assert_eq!(state(&world, &new), GrantState::Active);
    let marked = world
        .grants()
        .into_iter()
        .filter(|g| g.withdrawal.is_some());
    assert_eq!(marked.count(), 10_002);
}

fn exposure_is_counted_and_measured(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    let loan = world.lends("acme", "1.212.555.10XX");
    for lifetime in [600, 900, 1200] {
        world
            .mints_for("acme", &["one:12125551001"], lifetime)
            .expect("a token");
    }
    let ended = world.ends(&loan, Some(world.in_seconds(700)));
    let exposure = ended.outstanding_grants.exposure;
    assert_eq!(
        (exposure.tokens, exposure.until),
        (2, Some(world.in_seconds(1200)))
    );
    let measured = || {
        world.authority.measure_exposure().expect("a measure");
        (
            world.count("exposed_tokens"),
            world.count("exposed_until_seconds"),
        )
    };
    assert_eq!(measured(), (0, 0));
    let until = world.in_seconds(1200).timestamp().cast_unsigned();
    world.seconds_pass(700);
    assert_eq!(measured(), (2, until));
    world.seconds_pass(200);
    assert_eq!(measured(), (1, until));
    world.seconds_pass(300);
    assert_eq!(measured(), (0, 0));
}
