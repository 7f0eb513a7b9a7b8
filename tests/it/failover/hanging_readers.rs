//! Something in between lets connections in, and then passes nothing on, without closing them.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::connections::{behind_a_proxy_with, reads};
use super::{short, timed};

/// What a connection asks before its first transaction: two settings of diesel's, and ours.
const QUERIES_OF_A_CONNECTION: u64 = 3;

/// libpq has a timeout for the login, and none for what follows it.
#[test]
fn readers_that_hang_while_they_are_opened_are_replaced() {
    let (world, proxy) = behind_a_proxy_with(short());
    assert_eq!(reads(&world), Ok(1));
    proxy.swallow_queries_after(0);
    world.db.end_all_sessions();
    for _ in 0..3 {
        let (took, failed) = timed(|| reads(&world));
        failed.expect_err("no reader");
        assert!(took < Duration::from_secs(4), "{took:?}");
    }
    proxy.swallow_no_more();
    let (took, read) = timed(|| (0..10).find_map(|_| reads(&world).ok()));
    assert_eq!(read, Some(1));
    println!("reading is back after {took:?}");
    assert!(took < Duration::from_secs(9), "{took:?}");
    proxy.stop();
}

/// Otherwise the service itself would fill the server.
#[test]
fn readers_that_hang_are_bounded() {
    let mut postgres = short();
    postgres.timeouts.request = Duration::from_secs(1);
    let (world, proxy) = behind_a_proxy_with(postgres);
    proxy.swallow_queries_after(QUERIES_OF_A_CONNECTION);
    world.db.end_all_sessions();
    let (world, before, start) = (Arc::new(world), proxy.opened(), Instant::now());
    // Each of them takes a connection that hangs, or gets none.
    while start.elapsed() < Duration::from_secs(10) {
        let world = Arc::clone(&world);
        thread::spawn(move || reads(&world));
        thread::sleep(Duration::from_millis(50));
    }
    let opened = proxy.opened() - before;
    // The pool of four that is used, and three that were given up.
    assert!((5..=16).contains(&opened), "{opened}");
    // When they end, others are opened.
    proxy.stop();
    thread::sleep(Duration::from_millis(500));
    proxy.resume();
    let read = (0..20).find_map(|_| {
        thread::sleep(Duration::from_millis(100));
        reads(&world).ok()
    });
    assert_eq!(read, Some(1));
}

/// Readiness must not depend on requests, which a replica gets only when it is ready.
#[test]
fn a_replica_that_nobody_asks_leaves_a_server_that_stays_frozen() {
    let (world, proxy) = behind_a_proxy_with(short());
    let store = world.authority.store();
    proxy.freeze();
    let frozen = Instant::now();
    store.probe_readers(Duration::ZERO);
    thread::sleep(Duration::from_millis(200));
    proxy.fail_over();
    assert!(store.last_read() < frozen);
    let read = (0..200).find(|_| {
        thread::sleep(Duration::from_millis(50));
        store.probe_readers(Duration::ZERO);
        store.last_read() > frozen
    });
    read.expect("a read of another server");
    proxy.stop();
}
