//! What a decision costs with the policies of one tenant in force beside those of a thousand. Both sides take turns in one
//! run, so that what else the machine does meets both.

mod support;

use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tn_authority::authority::{MintContext, PolicySet, TokenContext};
use tn_authority::domain::{AccountId, Caller, Clock, Role, TkType, new_id};

use support::median;

const ROUNDS: usize = 41;
const DECISIONS: u32 = 2_000;
const BUILT_IN: [&str; 2] = ["inventory.cedar", "mint.cedar"];

fn main() {
    let one = tenants(1);
    let start = Instant::now();
    let thousand = tenants(1_000);
    let loading = start.elapsed();
    let start = Instant::now();
    let most = tenants(9_990);
    let loading_most = start.elapsed();
    let now = Clock::system().now();
    let (acme, carrier) = (account("t0"), account("other"));
    let caller = Caller {
        id: "key".to_owned(),
        role: Role::Account,
        accounts: vec![acme.clone()],
        ..Caller::the_service(new_id(now))
    };
    let token = TokenContext {
        tktype: TkType::TnAuthList,
        ca: false,
        lifetime: 3600,
        entries: 1,
        numbers: 1,
        largest: 1,
        spcs: 0,
        renewal: false,
        at: now,
    };
    let asked = |account, lifetime| MintContext {
        account,
        is_carrier: false,
        token: TokenContext { lifetime, ..token },
        rows: None,
    };
    let granted = asked(&acme, 3600);
    let refused = asked(&acme, 90_000);
    let foreign = asked(&carrier, 3600);
    assert!(thousand.may_mint(&caller, &granted).verdict.is_ok());
    assert_eq!(
        thousand.may_mint(&caller, &refused).by.ids(),
        ["longest-lifetime", "t0-lifetime"]
    );
    assert!(thousand.may_mint(&caller, &foreign).verdict.is_err());

    println!(
        "loading 1,000 tenants' policies with the built-in ones: {loading:.2?}; 9,990: {loading_most:.2?}"
    );
    for (what, asked) in [
        ("granted", granted),
        ("refused by a policy", refused),
        ("somebody else's account", foreign),
    ] {
        let (mut with_one, mut with_thousand, mut with_most) = (Vec::new(), Vec::new(), Vec::new());
        let mut again = Vec::new();
        for _ in 0..ROUNDS {
            with_one.push(timed(&one, &caller, &asked, false));
            with_thousand.push(timed(&thousand, &caller, &asked, false));
            with_most.push(timed(&most, &caller, &asked, false));
            again.push(timed(&thousand, &caller, &asked, true));
        }
        let (a, b, c) = (median(with_one), median(with_thousand), median(with_most));
        println!(
            "{what}: with 1 tenant's policy {a:.2} µs, with 1,000 {b:.2} µs, {:.2} times; with 9,990 {c:.2} µs; \
             made before {:.2} µs",
            b / a,
            median(again)
        );
    }
}

/// The built-in policies and one of each of so many tenants, as a carrier would write them.
fn tenants(count: usize) -> PolicySet {
    let dir = TempDir::new().expect("a folder");
    let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/policies");
    for file in BUILT_IN {
        fs::copy(format!("{sources}/{file}"), dir.path().join(file)).expect("a file");
    }
    let mut text = String::new();
    for n in 0..count {
        writeln!(
            text,
            "@id(\"t{n}-lifetime\") @code(\"lifetime-not-allowed\")\n\
             forbid (principal, action == Action::\"mint\", resource == Account::\"t{n}\")\n\
             when {{ context.lifetime > 7200 || context.numbers > 500 }};"
        )
        .expect("a text");
    }
    fs::write(dir.path().join("tenants.cedar"), text).expect("a file");
    PolicySet::from_dir(dir.path()).expect("policies")
}

/// Microseconds of one decision: the first one for a caller, or one that was made before.
fn timed(policy: &PolicySet, caller: &Caller, asked: &MintContext<'_>, again: bool) -> f64 {
    let name = |n| if again { "again".to_owned() } else { new(n) };
    let callers: Vec<Caller> = (0..DECISIONS)
        .map(|n| Caller {
            id: name(n),
            ..caller.clone()
        })
        .collect();
    let start = Instant::now();
    for caller in &callers {
        let _ = black_box(policy.may_mint(black_box(caller), black_box(asked)));
    }
    let all: Duration = start.elapsed();
    all.as_secs_f64() * 1e6 / f64::from(DECISIONS)
}

/// An id that no caller had before.
fn new(n: u32) -> String {
    format!("{n} {:?}", Instant::now())
}

fn account(id: &str) -> AccountId {
    id.parse().expect("an id")
}
