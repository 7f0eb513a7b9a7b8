//! How long the domain takes over one request: a list read and written, a decision.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use tn_authority::domain::accounts::account::LifetimeMode;
use tn_authority::domain::clock::from_unix;
use tn_authority::domain::decision::{AccountStanding, Facts, Question, decide};
use tn_authority::domain::inventory::{Allocation, Basis, Delegation, RecordedPeriod, RowRef};
use tn_authority::domain::issuance::RowFacts;
use tn_authority::domain::numbers::block;
use tn_authority::domain::signing::chain_choice::Candidate;
use tn_authority::domain::{Fingerprint, TnAuthList, TokenRequest, Window};
use uuid::Uuid;

/// SPC 1234, 100 numbers, one number.
const THREE_ENTRIES: &str = "MCugBhYEMTIzNKESMBAWCzEyMTI1NTUxNTAwAgFkog0WCzEyMTI1NTUxODI0";
const ONE_NUMBER: &str = "MA-iDRYLMTIxMjU1NTE4MjQ";

fn lists(c: &mut Criterion) {
    c.bench_function("decode a three-entry TNAuthList", |b| {
        b.iter(|| TnAuthList::from_tkvalue(black_box(THREE_ENTRIES)));
    });
    let list = TnAuthList::from_tkvalue(THREE_ENTRIES).expect("a list");
    c.bench_function("encode a three-entry TNAuthList", |b| {
        b.iter(|| {
            let entries = black_box(&list).entries().to_vec();
            TnAuthList::from_entries(entries).map(|list| list.to_tkvalue())
        });
    });
}

/// The facts of one number: one delegation, one allocation.
fn facts() -> Facts {
    let belief = RecordedPeriod {
        recorded_at: from_unix(0),
        superseded_at: None,
    };
    let row = |id| RowRef {
        id: Uuid::from_u128(id),
        version: 1,
    };
    let numbers = block::parse("1.212.555.1XXX").expect("a block");
    let window = Window::new(from_unix(0), None).expect("a window");
    Facts {
        renewal: None,
        rows: RowFacts::default(),
        distrusted: [].into(),
        standing: AccountStanding::Good,
        suspended_above: Vec::new(),
        lent_on: Vec::new(),
        departures: Vec::new(),
        lifetime: LifetimeMode::Proof,
        dialect: tn_authority::domain::Dialect::Strict,
        spcs: vec!["1234".parse().expect("a code")],
        delegations: vec![Delegation {
            row: row(1),
            account: "acme".parse().expect("an id"),
            cut_from: None,
            numbers,
            ca: false,
            lend_on: false,
            reference: None,
            window,
            belief,
            sequence: 1,
            made_at: from_unix(0),
        }],
        allocations: vec![Allocation {
            row: row(2),
            spc: "1234".parse().expect("a code"),
            numbers,
            basis: Basis::Block,
            window,
            belief,
        }],
        exclusions: Vec::new(),
    }
}

fn decisions(c: &mut Criterion) {
    let list = TnAuthList::from_tkvalue(ONE_NUMBER).expect("a list");
    let request = TokenRequest::new(list, false, Fingerprint::from([7; 32]), None).expect("E.164");
    let acme = "acme".parse().expect("an id");
    let chains = [Candidate {
        spc: "1234".parse().expect("a code"),
        chain: "0".repeat(64),
        active_from: from_unix(0),
        not_before: from_unix(0),
        ends: from_unix(2_000_000_000),
    }];
    let question = Question {
        account: &acme,
        request: &request,
        now: from_unix(1_700_000_000),
        until: from_unix(1_700_003_600),
        minimum: 60,
        chains: &chains,
    };
    let facts = facts();
    assert!(decide(&question, &facts).is_ok());
    c.bench_function("decide on one number with one row of each kind", |b| {
        b.iter(|| decide(black_box(&question), black_box(&facts)));
    });
}

criterion_group!(benches, lists, decisions);
criterion_main!(benches);
