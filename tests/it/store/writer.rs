//! The thread that writes: group commit, a bounded queue, and jobs that fail alone.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use tn_authority::authority::IssueError;
use tn_authority::domain::Dialect;
use tn_authority::domain::accounts::account::{Account, LifetimeMode};
use tn_authority::domain::issuance::{KeyedRequest, Replay};
use tn_authority::domain::tokens::grant::{Grant, Jti};
use tn_authority::domain::{AuditEvent, Role};
use tn_authority::store::{AUTHORITY_LOCK, NewGrant, Page, StoreError, Tx};

use uuid::Uuid;

use crate::support::{Kind, Raw, Setup, World, account, at_once, code, request, wait};

both! {
    tokens_that_are_asked_for_at_once_share_transactions,
    a_full_queue_answers_at_once,
    a_change_that_fails_leaves_nothing_and_its_neighbours_stay,
    one_list_that_touches_too_much_does_not_disturb_the_others,
    an_account_is_counted_once_however_often_it_asks,
    a_panic_fails_one_transaction_and_the_writer_continues,
    a_batch_of_any_size_is_one_transaction,
    of_three_requests_with_one_key_the_third_is_compared_with_the_first,
}

fn tokens_that_are_asked_for_at_once_share_transactions(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.1XXX");
    let before = transactions(&world);
    let issued = while_blocked(&world, 64, |n| {
        world
            .mints("acme", &[&format!("one:{}", 12_125_551_000_u64 + n as u64)])
            .expect("a token")
    });
    let mut jtis: Vec<_> = issued.into_iter().map(|issued| issued.jti).collect();
    jtis.sort_unstable();
    let ledger: Vec<_> = world.grants().into_iter().map(|grant| grant.jti).collect();
    assert_eq!(ledger, jtis);
    let transactions = transactions(&world) - before;
    assert!(
        transactions < 10.0,
        "{transactions} transactions for 64 tokens"
    );
    assert!(world.metric("writer_queue_length").abs() < 0.5);
}

pub(super) fn transactions(world: &World) -> f64 {
    world.metric("writer_batch_size_count")
}

/// Does `work` on many threads while somebody else holds the database, and lets go when all of it waits.
fn while_blocked<T: Send>(
    world: &World,
    threads: usize,
    work: impl Fn(usize) -> T + Sync,
) -> Vec<T> {
    let mut blocker = block(world);
    // Taken by the writer or still in the queue.
    let asked = || world.metric("writer_batch_size_sum") + world.metric("writer_queue_length");
    let all = asked() + f64::from(u32::try_from(threads).expect("a few threads"));
    std::thread::scope(|scope| {
        let done = scope.spawn(|| at_once(threads, &work));
        until(|| asked() >= all);
        release(&mut blocker);
        done.join().expect("the threads")
    })
}

/// Holds what a writer needs.
pub fn block(world: &World) -> Raw {
    let mut blocker = world.db.connect();
    match &mut blocker {
        Raw::Sqlite(c) => c.batch_execute("BEGIN IMMEDIATE"),
        Raw::Postgres(c) => c.batch_execute(&format!(
            "BEGIN; SELECT pg_advisory_xact_lock({AUTHORITY_LOCK})"
        )),
    }
    .expect("a lock");
    blocker
}

pub fn release(blocker: &mut Raw) {
    match blocker {
        Raw::Sqlite(c) => c.batch_execute("ROLLBACK"),
        Raw::Postgres(c) => c.batch_execute("ROLLBACK"),
    }
    .expect("the end of the lock");
}

pub fn until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20), "waited too long");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn a_full_queue_answers_at_once(kind: Kind) {
    let world = World::new(
        kind,
        Setup {
            queue: 2,
            ..Setup::default()
        },
    );
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "+12125551001");
    let mut blocker = block(&world);
    std::thread::scope(|scope| {
        let mint = || world.mints("acme", &["one:12125551001"]);
        let first = scope.spawn(mint);
        // Taken by the writer, who waits for the lock: then two more fit.
        until(|| transactions(&world) > 2.5 && world.metric("writer_queue_length").abs() < 0.5);
        std::thread::sleep(Duration::from_millis(50));
        let waiting = [scope.spawn(mint), scope.spawn(mint)];
        until(|| world.metric("writer_queue_length") > 1.5);
        let start = Instant::now();
        for _ in 0..3 {
            assert!(matches!(mint(), Err(IssueError::Store(StoreError::Busy))));
        }
        assert!(
            start.elapsed() < Duration::from_secs(2),
            "being busy took {:?}",
            start.elapsed()
        );
        release(&mut blocker);
        assert!(first.join().expect("a thread").is_ok());
        for waited in waiting {
            assert!(waited.join().expect("a thread").is_ok());
        }
    });
    assert_eq!(world.grants().len(), 3);
    assert!(world.mints("acme", &["one:12125551001"]).is_ok());
}

fn named(world: &World, id: &str) -> Account {
    Account {
        id: account(id),
        name: String::new(),
        above: Vec::new(),
        created_at: world.now(),
        suspended_since: None,
        lifetime: LifetimeMode::Proof,
        dialect: Dialect::Strict,
    }
}

fn a_change_that_fails_leaves_nothing_and_its_neighbours_stay(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "+12125551001");
    let outcomes = while_blocked(&world, 9, |n| match n % 3 {
        0 => world
            .mints("acme", &["one:12125551001"])
            .map(drop)
            .map_err(|e| e.to_string()),
        // Refuses after it has written.
        1 => {
            let new = named(&world, &format!("refused-{n}"));
            let work = move |tx: &mut Tx<'_>| -> Result<(), StoreError> {
                tx.insert_account(&new)?;
                Err(StoreError::Busy)
            };
            wait(world.authority.store().change(world.acting(), "test", work))
                .map_err(|e| e.to_string())
        }
        // Writes something, and then what the database refuses.
        _ => {
            let (new, known) = (named(&world, &format!("broken-{n}")), named(&world, "acme"));
            let work = move |tx: &mut Tx<'_>| -> Result<(), StoreError> {
                tx.insert_account(&new)?;
                tx.insert_account(&known)
            };
            wait(world.authority.store().change(world.acting(), "test", work))
                .map_err(|e| e.to_string())
        }
    });
    for (n, outcome) in outcomes.iter().enumerate() {
        assert_eq!(outcome.is_ok(), n % 3 == 0, "{n}: {outcome:?}");
    }
    assert_eq!(world.grants().len(), 3);
    let accounts = world
        .authority
        .store()
        .read(|tx| tx.list_accounts(None, &Page::new(100, None)))
        .expect("accounts");
    assert_eq!(
        accounts.items.into_iter().map(|a| a.id).collect::<Vec<_>>(),
        [account("acme")]
    );
    assert!(world.mints("acme", &["one:12125551001"]).is_ok());
}

fn one_list_that_touches_too_much_does_not_disturb_the_others(world: World) {
    world.carrier_holds("1.212.555.XXXX");
    world.lends("acme", "1.212.555.9XXX");
    let mut umbrella = world.loan("umbrella", "+12125550000");
    for n in 0..2_001_u64 {
        umbrella.numbers = crate::support::numbers(&format!("+{}", 12_125_550_000 + n));
        world.delegates(umbrella.clone()).expect("a delegation");
    }
    let outcomes = while_blocked(&world, 8, |n| match n {
        3 | 5 => world.mints("umbrella", &["range:12125550000+2001"]),
        6 => world.mints("umbrella", &["range:12125550000+2000"]),
        _ => world.mints("acme", &[&format!("one:{}", 12_125_559_000_u64 + n as u64)]),
    });
    for (n, outcome) in outcomes.iter().enumerate() {
        match n {
            3 | 5 => assert_eq!(code(outcome), "too-fragmented"),
            _ => assert!(outcome.is_ok(), "{n}: {outcome:?}"),
        }
    }
    let widest = outcomes[6].as_ref().expect("a token");
    assert_eq!(world.grant_of(widest).justified_by.len(), 2_001);
}

fn an_account_is_counted_once_however_often_it_asks(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "+12125551001");
    world.lends("umbrella", "+12125551002");
    // Each asker of one batch is decided by its own rows, in its own order.
    let outcomes = while_blocked(&world, 12, |n| {
        let id = if n % 2 == 0 { "acme" } else { "umbrella" };
        world.mints(
            id,
            &[if n % 4 < 2 {
                "one:12125551001"
            } else {
                "one:12125551002"
            }],
        )
    });
    for (n, outcome) in outcomes.iter().enumerate() {
        assert_eq!(outcome.is_ok(), matches!(n % 4, 0 | 3), "{n}: {outcome:?}");
    }
    let metrics = Arc::clone(&world.metrics);
    let (sent, received) = channel();
    drop(world);
    sent.send(metrics.render().is_ok()).expect("a channel");
    assert!(received.recv().expect("metrics"));
}

fn a_panic_fails_one_transaction_and_the_writer_continues(world: World) {
    world.knows("acme");
    let store = world.authority.store();
    let faulty = store.write_alongside("faulty", |tx| -> Result<(), StoreError> {
        let page = tx.list_accounts(None, &Page::new(1, None))?;
        panic!("{} accounts", page.items.len())
    });
    assert!(matches!(wait(faulty), Err(StoreError::Unavailable(_))));
    world.knows("other");
    assert!(world.authority.readiness().is_ready());
    assert_eq!(world.authority.ended_tasks(), [""; 0]);
    assert_eq!(world.count("background_failures_total{task=\"writer\"}"), 1);
}

fn a_batch_of_any_size_is_one_transaction(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.1XXX");
    let issued = world.mints("acme", &["one:12125551001"]).expect("a token");
    let (grant, event) = (world.grant_of(&issued), world.trail("acme").remove(0));
    let grants: Vec<Grant> = (0..4_000)
        .map(|n| Grant {
            jti: Jti::new(Uuid::from_u128(n), [0; 12]),
            ..grant.clone()
        })
        .collect();
    let events: Vec<AuditEvent> = (0..7_000)
        .map(|n| AuditEvent {
            id: Uuid::from_u128(n),
            ..event.clone()
        })
        .collect();
    let many = world.authority.store().write_alongside("many", move |tx| {
        let new = grants.iter().map(|grant| NewGrant {
            grant,
            event: None,
            has_new_key: false,
        });
        tx.insert_grants(&new.collect::<Vec<_>>())?;
        tx.insert_audit_events(&events)
    });
    wait(many).expect("written");
    assert_eq!(world.grants().len(), 4_001);
}

fn of_three_requests_with_one_key_the_third_is_compared_with_the_first(world: World) {
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.1XXX");
    let keyed = |n: u128, digest: &str| KeyedRequest {
        name: "one key".to_owned(),
        request: digest.to_owned(),
        holder: Uuid::from_u128(n),
        at: world.now(),
        lease_until: world.in_seconds(10),
        keep_until: world.in_seconds(3600),
    };
    let mint = |keyed: Option<KeyedRequest>| {
        let caller = world.caller(Role::Account, &["acme"]);
        let wanted = request(&["one:12125551001"], false, None);
        let issued = world
            .authority
            .issue(&caller, account("acme"), wanted, keyed);
        wait(issued)
    };
    let mut blocker = block(&world);
    std::thread::scope(|scope| {
        let taken = transactions(&world) + 0.5;
        // Taken by the writer, who waits for the lock: the others wait in the queue, in order.
        let before = scope.spawn(|| mint(None));
        until(|| transactions(&world) > taken && world.metric("writer_queue_length").abs() < 0.5);
        let in_order = [keyed(1, "a"), keyed(2, "b"), keyed(3, "a")].map(|keyed| {
            let waiting = world.metric("writer_queue_length") + 0.5;
            let asked = scope.spawn(|| mint(Some(keyed)));
            until(|| world.metric("writer_queue_length") > waiting);
            asked
        });
        release(&mut blocker);
        assert!(before.join().expect("a thread").is_ok());
        let [first, other, third] = in_order.map(|asked| asked.join().expect("a thread"));
        let replay = |outcome| match outcome {
            Err(IssueError::Store(StoreError::Replay(replay))) => replay,
            other => panic!("{other:?}"),
        };
        assert!(first.is_ok());
        assert_eq!(replay(other), Replay::OtherRequest);
        assert_eq!(replay(third), Replay::InFlight);
    });
}
