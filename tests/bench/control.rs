//! What a mint costs whose policies look at control, beside one whose policies do not: the built-in policies with and without
//! the shipped example, on one database, in turns of one run. All numbers are proven, and the key is known.
//!
//! `cargo bench --bench control` measures on SQLite, and on PostgreSQL too when `TN_AUTHORITY_TEST_POSTGRES` names a server.

mod support;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use actix_web::rt;
use tn_authority::app::block_on;
use tn_authority::authority::{Authority, PolicySet};
use tn_authority::domain::{AccountId, Caller, TnAuthList, TokenRequest, new_id};
use tn_authority::store::DatabaseUrl;

use support::{median, position, series};

/// The block that is lent.
const FIRST: u64 = 12_125_551_000;
const NUMBERS: u64 = 1_000;
const TURNS: usize = 31;

fn main() {
    if support::only_tested() {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    support::on_two_databases(dir.path(), ["control", "unused"], |database, url, _| {
        measure(database, dir.path(), url);
    });
}

fn measure(database: &str, dir: &Path, url: &str) {
    let authority = Arc::new(support::signing_authority(url, dir));
    let caller = Caller::at_the_command_line(new_id(authority.now()));
    let account = block_on(support::lend_block(&authority, &caller));
    prove(url, authority.now().timestamp());
    let put = |control: bool| {
        let change = authority.change_policies(&caller, policies(control));
        block_on(change).expect("policies");
    };
    // Every number has had a token, and the key is known.
    for control in [false, true] {
        put(control);
        mint(&authority, &caller, &account, NUMBERS, 250);
    }
    println!("{database}: microseconds a mint, recorded durably and signed");
    for (what, count, at_once) in [("256 at once", 1_024, 256), ("one at a time", 64, 1)] {
        let (mut plain, mut asking, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for turn in 0..TURNS {
            let mut of_turn = [0.0; 2];
            // Neither always comes first.
            for control in [turn % 2 == 0, turn % 2 != 0] {
                put(control);
                // The first decision of a set is not of a mint.
                mint(&authority, &caller, &account, 1, 1);
                let time = mint(&authority, &caller, &account, count, at_once);
                of_turn[usize::from(control)] = time;
            }
            plain.push(of_turn[0]);
            asking.push(of_turn[1]);
            ratios.push(of_turn[1] / of_turn[0]);
        }
        println!(
            "  {what}: {:.1} without control, {:.1} with it; ratio {:.3}",
            median(plain),
            median(asking),
            median(ratios)
        );
    }
}

/// The built-in policies, with the example of control or without.
fn policies(control: bool) -> PolicySet {
    let sources = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/policies"));
    let dir = tempfile::tempdir().expect("a folder");
    let mut names = vec!["inventory.cedar", "mint.cedar"];
    names.extend(control.then_some("examples/control.cedar"));
    for name in names {
        let from = sources.join(name);
        let to = dir.path().join(from.file_name().expect("a name"));
        fs::copy(from, to).expect("a file");
    }
    PolicySet::from_dir(dir.path()).expect("policies")
}

/// Microseconds of each of `count` mints, so many at once.
fn mint(
    authority: &Arc<Authority>,
    caller: &Caller,
    account: &AccountId,
    count: u64,
    at_once: usize,
) -> f64 {
    let wanted: Vec<TokenRequest> = (0..count).map(|n| wanted(FIRST + n % NUMBERS)).collect();
    let start = Instant::now();
    block_on(async {
        for together in wanted.chunks(at_once) {
            let orders: Vec<_> = together
                .iter()
                .map(|wanted| {
                    let (authority, caller) = (Arc::clone(authority), caller.clone());
                    let (account, wanted) = (account.clone(), wanted.clone());
                    rt::spawn(async move {
                        let issued = authority.issue(&caller, account, wanted, None);
                        issued.await.expect("a token");
                    })
                })
                .collect();
            for order in orders {
                order.await.expect("an answer");
            }
        }
    });
    start.elapsed().as_secs_f64() * 1e6 / f64::from(u32::try_from(count).expect("few"))
}

fn wanted(number: u64) -> TokenRequest {
    let entry = format!("one:{number}").parse().expect("an entry");
    support::request_for(TnAuthList::from_entries(vec![entry]).expect("a list"))
}

/// Every number of the block has a proof of now.
fn prove(url: &str, now: i64) {
    let database: DatabaseUrl = url.parse().expect("a URL");
    let (id, numbers) = (support::uuid_of_n(&database), series(&database, NUMBERS));
    let hash = match database {
        DatabaseUrl::Sqlite(_) => "x'00'",
        DatabaseUrl::Postgres(_) => "'\\x00'",
    };
    let statistics = match database {
        DatabaseUrl::Sqlite(_) => "ANALYZE",
        DatabaseUrl::Postgres(_) => "VACUUM ANALYZE",
    };
    let (first, key) = (position(FIRST), wanted(FIRST).fingerprint());
    let proofs = format!(
        "INSERT INTO control_proofs (id, account_id, position, delegation_id, method, gateway, code_hash, tries, started_at, \
         started_by, request_id, expires_at, confirmed_at, confirmed_by, fingerprint) \
         SELECT {id}, 'acme', {first} + n, (SELECT max(id) FROM delegations), 'sms', 'sms', {hash}, 0, {now}, '', {id}, \
         {now}, {now}, 'acme', '{key}' FROM {numbers}"
    );
    support::execute(&database, &[&proofs, statistics]);
}
