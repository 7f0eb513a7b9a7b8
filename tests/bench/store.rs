//! How long a decision and a mint take against a real database: with 10 and with 10,000 delegations, alone and many at once.
//!
//! SQLite always; PostgreSQL too when `TN_AUTHORITY_TEST_POSTGRES` names an empty database, which is filled.

mod support;

use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tempfile::TempDir;
use tn_authority::app::block_on;
use tn_authority::authority::{Authority, ExplainRequest, NewAllocation};
use tn_authority::domain::inventory::{Basis, Delegation, RecordedPeriod, RowRef};
use tn_authority::domain::numbers::block;
use tn_authority::domain::{
    Actor, Caller, Clock, NumberRange, Role, Tn, TnAuthList, Window, new_id,
};
use tn_authority::store::Tx;

const SIZES: [u64; 2] = [10, 10_000];
const BULK: u64 = 1_000;
/// +12030000000... is no number of the NANP, and nobody's: as good as any for a measurement.
const NUMBER: &str = "MA-iDRYLMTIwMzAwMDAwMDA";

/// Lends `count` single numbers to one account, every other one of a block, so that none touches the next.
fn lend(authority: &Authority, account: &str, area: &str, count: u64) {
    let now = authority.now();
    let caller = Caller::at_the_command_line(new_id(now));
    let account = account.parse().expect("an id");
    let numbers = block::parse_inventory(&format!("1.{area}.XXXXXXX")).expect("a block");
    block_on(async {
        let put = authority
            .put_account(&caller, account, None, None)
            .await
            .expect("an account");
        let new = NewAllocation {
            spc: support::spc(),
            numbers,
            basis: Basis::Block,
            valid_from: None,
            valid_until: None,
        };
        authority
            .allocate(&caller, new)
            .await
            .expect("an allocation");
        let window = Window::new(now, None).expect("a window");
        let rows: Vec<Delegation> = (0..count)
            .map(|n| Delegation {
                row: RowRef {
                    id: new_id(now),
                    version: 1,
                },
                account: put.0.id.clone(),
                cut_from: None,
                numbers: nth(numbers.range(), 2 * n),
                ca: false,
                lend_on: false,
                reference: None,
                window,
                belief: RecordedPeriod {
                    recorded_at: now,
                    superseded_at: None,
                },
                sequence: 1,
                made_at: now,
            })
            .collect();
        let work = move |tx: &mut Tx<'_>| tx.insert_delegations(&rows);
        authority
            .store()
            .change(Actor::new(&caller, &Clock::system()), "load", work)
            .await
            .expect("delegations");
    });
}

fn nth(numbers: NumberRange, n: u64) -> NumberRange {
    let start = numbers.first().position() + i64::try_from(n).expect("a small number");
    Tn::from_position(start).expect("a number").into()
}

fn decisions(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut group = c.benchmark_group("decide one number");
    for (database, url) in databases(&dir) {
        let authority = support::signing_authority(&url, dir.path());
        let caller = Caller::at_the_command_line(new_id(authority.now()));
        for (size, area) in SIZES.into_iter().zip(["201", "202"]) {
            let account = format!("bench-{size}");
            lend(&authority, &account, area, size);
            let numbers = block::parse(&format!("1.{area}.XXXXXXX")).expect("a block");
            let question = ExplainRequest {
                account: account.parse().expect("an id"),
                numbers: vec![nth(numbers, size)],
                ca: false,
                lifetime: None,
                fingerprint: None,
            };
            let explained = authority.explain(&caller, &question).expect("an answer");
            assert!(explained.decision.is_ok(), "{explained:?}");
            assert_eq!(
                (
                    explained.facts.delegations.len(),
                    explained.facts.allocations.len()
                ),
                (1, 1)
            );
            group.bench_function(
                BenchmarkId::new(database, format!("{size} delegations")),
                |b| {
                    b.iter(|| authority.explain(&caller, &question));
                },
            );
        }
    }
    group.finish();
}

/// Tokens from the order to the signature, durably recorded, with so many asked for at once.
fn mints(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut group = c.benchmark_group("mint");
    for (database, url) in databases(&dir) {
        let authority = Arc::new(support::signing_authority(&url, dir.path()));
        lend(&authority, "minter", "203", 1_000);
        let caller = Caller {
            role: Role::Account,
            accounts: vec!["minter".parse().expect("an id")],
            ..Caller::at_the_command_line(new_id(authority.now()))
        };
        for at_once in [1_u64, 256] {
            group.throughput(Throughput::Elements(at_once));
            group.bench_function(
                BenchmarkId::new(database, format!("{at_once} at once")),
                |b| {
                    b.iter(|| mint(&authority, &caller, at_once));
                },
            );
        }
        group.throughput(Throughput::Elements(BULK));
        group.bench_function(BenchmarkId::new(database, "1000 in bulk"), |b| {
            b.iter(|| mint_in_bulk(&authority, &caller));
        });
    }
    group.finish();
}

fn mint(authority: &Arc<Authority>, caller: &Caller, at_once: u64) {
    block_on(async {
        let orders: Vec<_> = (0..at_once)
            .map(|_| {
                let (authority, caller) = (Arc::clone(authority), caller.clone());
                actix_web::rt::spawn(async move {
                    let list = TnAuthList::from_tkvalue(NUMBER).expect("a list");
                    let request = support::request_for(list);
                    authority
                        .issue(&caller, caller.accounts[0].clone(), request, None)
                        .await
                })
            })
            .collect();
        for order in orders {
            order.await.expect("a task").expect("a token");
        }
    });
}

fn mint_in_bulk(authority: &Authority, caller: &Caller) {
    let list = TnAuthList::from_tkvalue(NUMBER).expect("a list");
    let request = support::request_for(list);
    let requests = (0..BULK).map(|_| (caller.accounts[0].clone(), request.clone()));
    let tokens = block_on(authority.issue_all(caller, requests.collect(), None)).expect("answers");
    assert!(tokens.iter().all(Result::is_ok));
}

fn databases(dir: &TempDir) -> Vec<(&'static str, String)> {
    let mut urls = vec![("sqlite", support::sqlite(dir.path(), "bench.sqlite"))];
    urls.extend(support::postgres().map(|url| ("postgres", url)));
    urls
}

criterion_group!(benches, decisions, mints);
criterion_main!(benches);
