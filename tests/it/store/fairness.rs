//! One tenant cannot keep another from the writer. Measured in places and transactions, and not in time.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Waker};

use diesel::{RunQueryDsl as _, sql_query};
use tn_authority::authority::IssueError;
use tn_authority::domain::Role;
use tn_authority::store::{StoreError, Tx};

use super::writer::{block, release, transactions};
use crate::support::{Kind, Raw, Setup, World, account, number, request, wait};

both! {
    who_floods_the_writer_waits_behind_itself,
    many_requests_that_touch_very_many_rows_do_not_hold_up_others,
    a_bulk_waits_for_its_turn,
}

/// How many of the flood's requests wait at one time.
const QUEUE: usize = 300;
const BATCH: usize = 32;

fn small_queue(kind: Kind) -> World {
    let setup = Setup {
        queue: QUEUE,
        batch: BATCH,
        ..Setup::default()
    };
    World::new(kind, setup)
}

/// How many requests for tokens were recorded before the first one of an account.
fn decided_before(world: &World, account: &str) -> usize {
    #[derive(diesel::QueryableByName)]
    struct Count {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        count: i64,
    }
    // SQLite counts rows in the order of writing, and PostgreSQL transactions.
    let place = match world.db.kind() {
        Kind::Sqlite => "rowid",
        Kind::Postgres => "xmin::text::bigint",
    };
    let query = sql_query(format!(
        "SELECT count(*) AS count FROM grants WHERE {place} < (SELECT min({place}) \
         FROM grants WHERE account_id = '{account}')"
    ));
    let count: Count = match world.db.connect() {
        Raw::Sqlite(mut connection) => query.get_result(&mut connection),
        Raw::Postgres(mut connection) => query.get_result(&mut connection),
    }
    .expect("a count");
    usize::try_from(count.count).expect("not negative")
}

/// Asks as far as the queue; what becomes of it is waited for later. None, if there is no place for it.
pub fn begun<F: Future>(asking: F) -> Option<Pin<Box<F>>> {
    let mut asking = Box::pin(asking);
    let begun = asking
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    begun.is_pending().then_some(asking)
}

fn who_floods_the_writer_waits_behind_itself(kind: Kind) {
    let world = small_queue(kind);
    world.carrier_holds("1.212.555.1XXX");
    world.lends("flood", "1.212.555.10XX");
    world.lends("calm", "1.212.555.11XX");
    let flooding = world.caller(Role::Account, &["flood"]);
    let mut blocker = block(&world);
    // 10,000 at once: the queue is full of them, and the others are turned away.
    let flood: Vec<_> = (0..40)
        .filter_map(|_| {
            let one = (account("flood"), request(&["one:12125551001"], false, None));
            begun(world.authority.issue_all(&flooding, vec![one; 250], None))
        })
        .collect();
    let caller = world.caller(Role::Account, &["calm"]);
    let wanted = request(&["one:12125551101"], false, None);
    let calm = begun(
        world
            .authority
            .issue(&caller, account("calm"), wanted, None),
    );
    release(&mut blocker);
    assert!(wait(calm.expect("a place")).is_ok());
    let served: usize = flood
        .into_iter()
        .map(|answers| wait(answers).map_or(0, |some| some.iter().filter(|a| a.is_ok()).count()))
        .sum();
    assert!(served >= QUEUE - 1, "the flood is served as well: {served}");
    // Behind the transaction that was held up, and the first of the flood in the next one.
    let before = decided_before(&world, "calm");
    assert!(before <= BATCH + 1, "{before} requests were before it");
    assert!(world.metric("writer_queue_length").abs() < 0.5);
}

fn many_requests_that_touch_very_many_rows_do_not_hold_up_others(world: World) {
    world.carrier_holds("1.212.555.XXXX");
    world.lends("calm", "1.212.555.9XXX");
    let one = world.lends("umbrella", "+12125552000");
    let rows: Vec<_> = (0..2_000_u64)
        .map(|n| {
            let mut row = one.clone();
            row.row.id = uuid::Uuid::from_u128(u128::from(n));
            row.numbers = number(&format!("+{}", 12_125_550_000 + n));
            row
        })
        .collect();
    let lend = move |tx: &mut Tx<'_>| tx.insert_delegations(&rows);
    wait(world.authority.store().change(world.acting(), "test", lend)).expect("delegations");
    let caller = world.caller(Role::Account, &["umbrella"]);
    let mut blocker = block(&world);
    let before = transactions(&world);
    let heavy = (
        account("umbrella"),
        request(&["range:12125550000+2000"], false, None),
    );
    let bulk = begun(world.authority.issue_all(&caller, vec![heavy; 60], None));
    let caller = world.caller(Role::Account, &["calm"]);
    let wanted = request(&["one:12125559001"], false, None);
    let calm = begun(
        world
            .authority
            .issue(&caller, account("calm"), wanted, None),
    );
    release(&mut blocker);
    assert!(wait(calm.expect("a place")).is_ok());
    let answers = wait(bulk.expect("a place")).expect("answers");
    assert!(answers.iter().all(Result::is_ok));
    // 60 times 2,001 rows were more than one transaction reads.
    assert!(transactions(&world) - before >= 2.0);
    // 25 of them touch 50,000 rows, which is enough for one transaction; it is in the next one.
    let before = decided_before(&world, "calm");
    assert!(before <= 26, "{before} requests were before it");
}

fn a_bulk_waits_for_its_turn(kind: Kind) {
    let world = small_queue(kind);
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.1XXX");
    // More than the queue has places for: it is cut, and none of it is lost.
    let caller = world.caller(Role::Account, &["acme"]);
    let wanted = (0..1_000).map(|n| {
        let entry = format!("one:{}", 12_125_551_000_u64 + n);
        (account("acme"), request(&[&entry], false, None))
    });
    let answers =
        wait(world.authority.issue_all(&caller, wanted.collect(), None)).expect("answers");
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(world.grants().len(), 1_000);

    let setup = Setup {
        queue: 10,
        ..Setup::default()
    };
    let world = World::new(kind, setup);
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.1XXX");
    let mut blocker = block(&world);
    let wanted = vec![(account("acme"), request(&["one:12125551001"], false, None)); 100];
    let bulk = begun(world.authority.issue_all(&caller, wanted, None));
    release(&mut blocker);
    let answers = wait(bulk.expect("a place")).expect("answers");
    let busy = |answer: &&Result<_, IssueError>| {
        matches!(answer, Err(IssueError::Store(StoreError::Busy)))
    };
    let turned_away = answers.iter().filter(busy).count();
    let issued = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(turned_away + issued, 100);
    assert!(issued >= 10 && turned_away > 0, "{issued} were issued");
    assert_eq!(world.grants().len(), issued);
}
