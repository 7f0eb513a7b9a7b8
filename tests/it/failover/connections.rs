//! The network between the service and its database goes away and comes back, by a proxy in between.

use std::time::Duration;

use tn_authority::authority::{ChangeError, IssueError, StoreError};
use tn_authority::store::PostgresSettings;

use super::{has_no_answer, is_busy, lends_a_block, mints, ports_out, short, timed};
use crate::support::{Db, Kind, Setup, TcpProxy, World, at_once};
use std::sync::Arc;

fn behind_a_proxy() -> (World, TcpProxy) {
    behind_a_proxy_with(short())
}

pub fn behind_a_proxy_with(postgres: PostgresSettings) -> (World, TcpProxy) {
    let db = Arc::new(Db::from(Kind::Postgres));
    let proxy = TcpProxy::to(db.server_address());
    let setup = Setup {
        postgres,
        database: Some(db.text_url_at(proxy.address).parse().expect("a URL")),
        ..Setup::default()
    };
    let world = World::over(db, setup);
    lends_a_block(&world);
    mints(&world).expect("a token");
    (world, proxy)
}

pub fn reads(world: &World) -> Result<usize, StoreError> {
    let all = |tx: &mut tn_authority::store::Tx<'_>| {
        tx.list_accounts(None, &tn_authority::store::Page::new(10, None))
    };
    world
        .authority
        .store()
        .read(all)
        .map(|page| page.items.len())
}

/// BEGIN, the lock, accounts, inventory, departures, three inserts and COMMIT. Each costs the time to the server and back.
#[test]
fn a_mint_asks_the_server_nine_times() {
    let (world, proxy) = behind_a_proxy();
    // All statements are prepared then.
    mints(&world).expect("a token");
    let before = proxy.round_trips();
    for _ in 0..5 {
        mints(&world).expect("a token");
    }
    let asked = proxy.round_trips() - before;
    assert!(asked <= 5 * 9, "{asked} times for 5 mints");
}

#[test]
fn an_outage_that_is_shorter_than_the_wait_costs_no_request() {
    let (world, proxy) = behind_a_proxy();
    proxy.stop();
    let answers = at_once(9, |n| {
        if n == 0 {
            std::thread::sleep(Duration::from_secs(1));
            proxy.resume();
            return None;
        }
        Some(timed(|| mints(&world)))
    });
    for (took, token) in answers.into_iter().flatten() {
        token.expect("a token");
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
    // All readers were opened before, and none of them costs a request either.
    assert_eq!(reads(&world), Ok(1));
    assert_eq!(world.grants().len(), 9);
}

#[test]
fn in_a_long_outage_the_answer_is_503_in_time_and_no_restart_is_needed() {
    let (world, proxy) = behind_a_proxy();
    proxy.stop();
    let (took, answers) = timed(|| at_once(8, |_| mints(&world)));
    assert!(answers.iter().all(is_busy), "{answers:?}");
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert!(!world.authority.store().writer_health().connected);
    // Those that come later do not wait anew.
    std::thread::sleep(Duration::from_secs(2));
    let (took, late) = timed(|| mints(&world));
    assert!(is_busy(&late), "{late:?}");
    assert!(took < Duration::from_millis(1500), "{took:?}");

    proxy.resume();
    let (took, token) = timed(|| {
        (0..40)
            .find_map(|_| {
                std::thread::sleep(Duration::from_millis(50));
                mints(&world).ok()
            })
            .expect("a token")
    });
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(world.grants().iter().any(|grant| grant.jti == token.jti));
    assert!(world.authority.store().writer_health().connected);
}

/// The kernel of a frozen server acknowledges what is sent, so no timeout of TCP ends the wait.
#[test]
fn a_frozen_server_costs_a_request_no_more_than_its_time() {
    let (world, proxy) = behind_a_proxy();
    proxy.freeze();
    let (took, answers) = timed(|| at_once(4, |_| mints(&world)));
    assert!(answers.iter().all(has_no_answer), "{answers:?}");
    assert!(took < Duration::from_secs(4), "{took:?}");
    let (took, refused) = timed(|| ports_out(&world, "+12125551002"));
    let refused = refused.expect_err("no port-out");
    assert!(
        matches!(&refused, ChangeError::Store(error) if *error == StoreError::no_answer()),
        "{refused}"
    );
    assert!(took < Duration::from_secs(4), "{took:?}");

    proxy.resume();
    let token = (0..60).find_map(|_| {
        std::thread::sleep(Duration::from_millis(50));
        mints(&world).ok()
    });
    token.expect("a token");
    // What was answered with 503 before it was begun is not done afterwards.
    let token = world.mints("acme", &["one:12125551002"]);
    token.expect("a token for the number that was not ported out");
}

/// Its clients fail over to another server, while the connections to the frozen one stay as they are.
#[test]
fn the_writer_and_the_readers_leave_a_server_that_stays_frozen() {
    let (world, proxy) = behind_a_proxy();
    proxy.freeze();
    let refused = mints(&world);
    assert!(has_no_answer(&refused), "{refused:?}");
    // Each of them takes a connection that hangs; in the service the request is answered meanwhile.
    let world = Arc::new(world);
    for _ in 0..4 {
        let world = Arc::clone(&world);
        std::thread::spawn(move || reads(&world));
    }
    std::thread::sleep(Duration::from_millis(200));
    proxy.fail_over();
    let (took, _) = timed(|| {
        (0..20)
            .find_map(|_| mints(&world).ok())
            .expect("a token of another server")
    });
    println!("minting is back after {took:?}");
    assert!(took < Duration::from_secs(9), "{took:?}");
    let (took, _) = timed(|| (0..10).find_map(|_| reads(&world).ok()).expect("a reader"));
    println!("reading is back after {took:?}");
    assert!(took < Duration::from_secs(9), "{took:?}");
    // The threads that read can end now.
    proxy.stop();
}

/// A COMMIT whose answer is lost may have been done, so it is not repeated.
#[test]
fn a_request_is_not_begun_again_after_its_commit_was_sent() {
    let (world, proxy) = behind_a_proxy();
    for _ in 0..5 {
        let before = world.grants().len();
        let answers = at_once(2, |n| {
            if n == 0 {
                proxy.stop();
                std::thread::sleep(Duration::from_millis(100));
                proxy.resume();
                return None;
            }
            Some(mints(&world))
        });
        let answer = answers.into_iter().flatten().next().expect("an answer");
        let granted = world.grants().len() - before;
        match answer {
            Ok(_) => assert_eq!(granted, 1),
            Err(IssueError::Store(_)) => assert!(granted <= 1),
            Err(other) => panic!("{other}"),
        }
    }
}
