//! What a decision costs does not grow with the inventory. How SQLite searches is tested beside the search itself.

use std::sync::Arc;

use diesel::sql_types::BigInt;
use diesel::{QueryableByName, RunQueryDsl as _, sql_query};
use tn_authority::domain::inventory::{Delegation, Exclusion, Reason, RecordedPeriod, RowRef};
use tn_authority::domain::{Window, new_id};
use tn_authority::store::{StoreError, Tx};

use crate::support::{Db, Kind, Raw, Setup, World, account, numbers, wait};

/// How often the decision is made: more than five times, after which PostgreSQL may take a plan for any values.
const MINTS: i64 = 12;

#[derive(Debug, QueryableByName)]
struct Reads {
    #[diesel(sql_type = BigInt)]
    full_scans: i64,
    /// Entries that were read from indexes, and rows that were read from tables.
    #[diesel(sql_type = BigInt)]
    entries: i64,
    #[diesel(sql_type = BigInt)]
    rows: i64,
}

/// Has so many loans of one number, and as many exclusions of others; then mints, and ports a number out.
fn reads_with(loans: u64) -> (Reads, Reads) {
    let db = Arc::new(Db::from(Kind::Postgres));
    let world = World::over(Arc::clone(&db), Setup::default());
    world.carrier_holds("1.212.XXXXXXX");
    world.carrier_holds("1.646.555.1XXX");
    world.knows("acme");
    // Spread over accounts, and over two spans.
    for n in 0..4 {
        world.knows(&format!("account-{n}"));
    }
    world.lends("acme", "+16465551001");
    fill(&world, loans);
    drop(world);

    let mint = reads_of(&db, |world| {
        for _ in 0..MINTS {
            world.mints("acme", &["one:16465551001"]).expect("a token");
            world
                .mints("account-0", &["one:12125550000"])
                .expect("a token");
        }
    });
    let port = reads_of(&db, |world| {
        for _ in 0..MINTS {
            world.excludes(
                "+16465551001",
                Reason::PortedOut,
                Some(world.in_seconds(10_000)),
            );
        }
    });
    (mint, port)
}

/// What `work` reads of the inventory and the ledger, as PostgreSQL itself counts it. No statistics are gathered first: an
/// import is followed by tokens at once.
fn reads_of(db: &Arc<Db>, work: impl FnOnce(&World)) -> Reads {
    db.execute("SELECT pg_stat_reset()");
    let world = World::over(Arc::clone(db), Setup::default());
    work(&world);
    // A session that ends tells what it has counted.
    drop(world);
    let Raw::Postgres(mut connection) = db.connect() else {
        panic!("PostgreSQL counts")
    };
    let counted = sql_query(
        "SELECT sum(seq_scan)::bigint AS full_scans, sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint AS rows, \
         (SELECT sum(idx_tup_read)::bigint FROM pg_stat_user_indexes WHERE relname IN \
         ('delegations', 'allocations', 'exclusions', 'grants', 'grant_numbers')) AS entries \
         FROM pg_stat_user_tables WHERE relname IN \
         ('delegations', 'allocations', 'exclusions', 'grants', 'grant_numbers')",
    );
    counted
        .get_result(&mut connection)
        .expect("what was counted")
}

fn fill(world: &World, loans: u64) {
    let now = world.now();
    let (row, belief) = (
        || RowRef {
            id: new_id(now),
            version: 1,
        },
        RecordedPeriod {
            recorded_at: now,
            superseded_at: None,
        },
    );
    let window = Window::new(now, None).expect("a window");
    let ten_apart = |n: u64, offset: u64| {
        numbers(&format!(
            "+{}+{}",
            12_125_550_000 + 10 * n + offset,
            1 + n % 2 * 3
        ))
    };
    let delegations: Vec<Delegation> = (0..loans)
        .map(|n| Delegation {
            row: row(),
            account: account(&format!("account-{}", n % 4)),
            cut_from: None,
            numbers: ten_apart(n, 0),
            ca: false,
            lend_on: false,
            reference: None,
            window,
            belief,
            sequence: 1,
            made_at: belief.recorded_at,
        })
        .collect();
    let exclusions: Vec<Exclusion> = (0..loans)
        .map(|n| Exclusion {
            row: row(),
            numbers: ten_apart(n, 5),
            reason: Reason::Aging,
            window,
            belief,
        })
        .collect();
    let insert = move |tx: &mut Tx<'_>| -> Result<(), StoreError> {
        tx.insert_delegations(&delegations)?;
        tx.insert_exclusions(&exclusions)
    };
    wait(
        world
            .authority
            .store()
            .change(world.acting(), "test", insert),
    )
    .expect("an inventory");
}

#[test]
fn a_decision_reads_the_same_with_ten_and_with_ten_thousand_loans() {
    let (few, few_ports) = reads_with(10);
    let (many, many_ports) = reads_with(10_000);
    println!("few: {few:?} {few_ports:?}\nmany: {many:?} {many_ports:?}");
    for reads in [&many, &many_ports] {
        assert_eq!(reads.full_scans, 0, "{reads:?}");
    }
    // Pages split, and a plan may take another of the indexes; a handful, but not a thousandfold.
    assert!(
        many.rows <= 2 * few.rows + 20 && many.entries <= 2 * few.entries + 20,
        "{few:?} {many:?}"
    );
    assert!(many.entries < 60 * MINTS, "{many:?}");
    assert!(
        many_ports.rows <= 2 * few_ports.rows + 20,
        "{few_ports:?} {many_ports:?}"
    );
}
