//! Whether a decision costs the same with 10,000 and with 10,000,000 delegated ranges. Prints the ratio.
//!
//! `cargo bench --bench scale` fills two SQLite files, and measures both in turn, so that a machine whose speed drifts
//! cannot lean on one of them. PostgreSQL too when `TN_AUTHORITY_TEST_POSTGRES` names a server, on which it makes and drops
//! databases of its own. `TN_AUTHORITY_BENCH_RANGES` sets another number in place of ten million; the folder for temporary
//! files needs 6 GB for that many.

mod support;

use std::hint::black_box;
use std::time::{Duration, Instant};

use tn_authority::authority::{Authority, ExplainRequest};
use tn_authority::domain::{Caller, NumberRange, Tn, new_id};
use tn_authority::store::DatabaseUrl;

use support::{median, position, series};

const FEW: u64 = 10_000;
const MANY: u64 = 10_000_000;
const ACCOUNTS: u64 = 1_000;
/// How many decisions each database makes in one turn, and how many turns there are.
const TURN: u64 = 200;
const TURNS: usize = 60;
/// +12000000000; every other number behind it is lent, so that no two loans touch.
const FIRST: u64 = 12_000_000_000;

fn main() {
    if support::only_tested() {
        return;
    }
    let many = std::env::var("TN_AUTHORITY_BENCH_RANGES");
    let many = many.map_or(MANY, |text| text.parse().expect("a number of ranges"));
    let dir = tempfile::tempdir().expect("a folder");
    support::on_two_databases(dir.path(), ["few", "many"], |database, small, large| {
        compare(database, small, large, many);
    });
}

fn compare(database: &str, few: &str, many: &str, ranges: u64) {
    let started = Instant::now();
    fill(few, FEW);
    fill(many, ranges);
    println!(
        "{database}: loaded {FEW} and {ranges} ranges in {:.0?}",
        started.elapsed()
    );
    let (small, large) = (authority(few), authority(many));
    let (mut of_small, mut of_large) = (Vec::new(), Vec::new());
    for turn in 0..TURNS {
        // Other numbers in each turn, so that most of the large index is cold.
        of_small.push(decisions(&small, FEW, turn));
        of_large.push(decisions(&large, ranges, turn));
    }
    let mut ratios: Vec<f64> = of_small
        .iter()
        .zip(&of_large)
        .map(|(small, large)| large.as_secs_f64() / small.as_secs_f64())
        .collect();
    ratios.sort_unstable_by(f64::total_cmp);
    println!(
        "{database}: {:.1?} a decision with {FEW} ranges, {:.1?} with {ranges}; ratio {:.2} (median of {TURNS} turns; {:.2} to {:.2})",
        median(of_small),
        median(of_large),
        ratios[TURNS / 2],
        ratios[0],
        ratios[TURNS - 1],
    );
}

/// The mean time of a decision in one turn.
fn decisions(authority: &Authority, ranges: u64, turn: usize) -> Duration {
    let caller = Caller::at_the_command_line(new_id(authority.now()));
    let questions: Vec<ExplainRequest> = (0..TURN)
        .map(|n| {
            // Multiplied by a large prime, the numbers spread over the whole table.
            let place = (turn as u64 * TURN + n).wrapping_mul(2_654_435_761) % ranges;
            let number = FIRST + 2 * place;
            ExplainRequest {
                account: format!("bench-{}", place % ACCOUNTS)
                    .parse()
                    .expect("an id"),
                numbers: vec![NumberRange::from(
                    Tn::from_digits(&number.to_string()).expect("a number"),
                )],
                ca: false,
                lifetime: None,
                fingerprint: None,
            }
        })
        .collect();
    let started = Instant::now();
    for question in &questions {
        let explained = authority.explain(&caller, question).expect("an answer");
        assert!(black_box(explained).decision.is_ok());
    }
    started.elapsed() / u32::try_from(TURN).expect("few")
}

/// Accounts, one allocation that holds everything, and so many loans of single numbers, written by the database itself.
fn fill(url: &str, ranges: u64) {
    let database = support::migrated(url);
    let (first, last) = (position(FIRST), position(FIRST + 999_999_999));
    let common = format!(
        "INSERT INTO allocations (id, version, spc, first_position, last_position, span, basis, valid_from, recorded_at) \
         VALUES ('00000000-0000-7000-8000-000000000000', 1, '1234', {first}, {last}, 1000000000, 'block', 0, 0); \
         INSERT INTO signing_chains (name, spcs, pem, not_before, not_after, published_at, active_from, noted) \
         VALUES ('bench', '1234', '', 0, 9999999999, 0, 0, 'active');"
    );
    let accounts = "INSERT INTO accounts (id, name, path, created_at) SELECT 'bench-' || n, '', '/bench-' || n, 0 FROM";
    let loans = "INSERT INTO delegations (id, version, account_id, first_position, last_position, span, ca, lend_on, \
                 lender_keeps, valid_from, recorded_at) SELECT";
    let rest = format!(
        "'bench-' || (n % {ACCOUNTS}), {first} + 2 * n, {first} + 2 * n, 1, false, false, false, 0, 0 FROM"
    );
    let (all_accounts, all_loans) = (series(&database, ACCOUNTS), series(&database, ranges));
    let id = support::uuid_of_n(&database);
    let (before, after) = match database {
        DatabaseUrl::Sqlite(_) => (
            "PRAGMA synchronous = OFF; PRAGMA cache_size = -1000000",
            "PRAGMA wal_checkpoint(TRUNCATE)",
        ),
        DatabaseUrl::Postgres(_) => ("SET synchronous_commit = off", "VACUUM ANALYZE delegations"),
    };
    let rows = format!(
        "BEGIN; {accounts} {all_accounts}; {common} {loans} {id}, 1, {rest} {all_loans}; COMMIT;"
    );
    support::execute(&database, &[before, &rows, after]);
}

fn authority(url: &str) -> Authority {
    support::authority(&support::small_store(url), None)
}
