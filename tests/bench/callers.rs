//! What it costs to know who asks, in CPU time a mint: the check of the API key, the decision of the policies, the audit
//! event; and whether 100,000 keys and 10,000 accounts make a mint dearer. Prints all of it in one run.
//!
//! `cargo bench --bench callers` measures on SQLite, and on PostgreSQL too when `TN_AUTHORITY_TEST_POSTGRES` names a server,
//! on which it makes and drops databases of its own. CPU time is that of all threads of this process; what the server of
//! PostgreSQL does is not in it. What is compared is measured in turns, and each number is a median of the turns.

mod support;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix_web::rt;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer as Hmac;
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use tn_authority::app::block_on;
use tn_authority::authority::{Authority, MintContext, TokenContext};
use tn_authority::callers::{Callers, Credentials, Pepper, Peppers};
use tn_authority::domain::{
    AccountId, Actor, AuditEvent, Caller, Clock, Proof, TnAuthList, TokenRequest, new_id,
};
use tn_authority::store::{DatabaseUrl, Tx};
use uuid::Uuid;

use support::{median, position, series};

const PEPPER: [u8; 32] = [7; 32];
/// 32 bytes, in base64url.
const SECRET: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
/// +12125550000; each account has one number from there on.
const FIRST: u64 = 12_125_550_000;
const KEYS: u64 = 100_000;
const ACCOUNTS: u64 = 10_000;
const AT_ONCE: u64 = 256;
const TURNS: usize = 15;

/// A service over one database, with so many keys and accounts.
struct House {
    authority: Arc<Authority>,
    callers: Arc<Callers>,
    keys: u64,
    accounts: u64,
}

/// Microseconds of CPU time.
type Micros = f64;

fn main() {
    if support::only_tested() {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    support::on_two_databases(dir.path(), ["small", "large"], |database, small, large| {
        measure(database, dir.path(), small, large);
    });
}

fn measure(database: &str, dir: &Path, small: &str, large: &str) {
    let small = House::new(dir, small, 1, 1);
    let large = House::new(dir, large, KEYS, ACCOUNTS);
    let turns = |what: &mut dyn FnMut(usize) -> Micros| -> Micros {
        median((0..TURNS).map(what).collect())
    };
    // Everything once, so that each turn finds what the one before left.
    small.mints(&|_| (0, true));
    large.mints(&|n| (n, true));

    println!("{database}: microseconds of CPU a mint, {AT_ONCE} at once, with its signature");
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        without.push(small.mints(&|_| (0, false)));
        with.push(small.mints(&|_| (0, true)));
    }
    let check = median(with.iter().zip(&without).map(|(w, o)| w - o).collect());
    let (without, with) = (median(without), median(with));
    println!("  {without:.1} without a check of the caller, {with:.1} with it: {check:.1} more");
    let policy = turns(&mut |_| small.decisions(&|_| "key".to_owned()));
    let first = turns(&mut |turn| small.decisions(&|n| format!("{turn} {n}")));
    let event = turns(&mut |_| small.events());
    println!(
        "  {policy:.1} of both are the policies ({first:.1} what they decide for the first time), {event:.1} the audit event"
    );
    println!(
        "  check, policies and audit event together: {:.1}",
        check + policy + event
    );
    let read = turns(&mut |_| small.proofs());
    println!("  {read:.1} a caller who is proven by the database (each read, and the first mint)");

    for (what, at_once) in [("one at a time", 1), ("256 at once", AT_ONCE)] {
        let mut ratios = Vec::new();
        let (mut of_small, mut of_large) = (Vec::new(), Vec::new());
        for turn in 0..TURNS {
            let one = |_| (0, true);
            let key = turn as u64 * 7_919 % KEYS;
            let same = move |_| (key, true);
            let count = if at_once == 1 { 64 } else { at_once };
            of_small.push(small.mint(count, at_once, &one));
            of_large.push(large.mint(count, at_once, &same));
            ratios.push(of_large[turn] / of_small[turn]);
        }
        println!(
            "  {what}: {:.1} with 1 key and 1 account, {:.1} with {KEYS} and {ACCOUNTS}; ratio {:.2}",
            median(of_small),
            median(of_large),
            median(ratios)
        );
    }
    // Every mint by another key, for another account; the keys are remembered.
    let spread = turns(&mut |_| large.mint(64, 1, &|n| (n * 1_571 % 1_000, true)));
    println!("  one at a time, each by another key for another account: {spread:.1}");
}

impl House {
    fn new(dir: &Path, url: &str, keys: u64, accounts: u64) -> Self {
        fill(url, keys, accounts);
        let authority = Arc::new(support::signing_authority(url, dir));
        let pepper = Pepper::new(&PEPPER).expect("a pepper");
        let peppers = Peppers::new(pepper, None).expect("peppers");
        let callers = Callers::new(
            Arc::clone(authority.store()),
            peppers,
            Clock::system(),
            Arc::clone(authority.metrics()),
        );
        let house = Self {
            authority,
            callers: Arc::new(callers),
            keys,
            accounts,
        };
        for n in 0..1_000.min(keys) {
            house
                .callers
                .authenticate(&offered(n), Uuid::nil())
                .expect("a caller");
        }
        house
    }

    /// CPU time a mint, of as many at once as the writer takes.
    fn mints(&self, who: &dyn Fn(u64) -> (u64, bool)) -> Micros {
        self.mint(AT_ONCE, AT_ONCE, who)
    }

    /// CPU time of each of `count` mints, so many at once. `who` says by which key each is asked for, and whether that key
    /// is checked.
    fn mint(&self, count: u64, at_once: u64, who: &dyn Fn(u64) -> (u64, bool)) -> Micros {
        let asked: Vec<(u64, bool)> = (0..count).map(who).collect();
        cpu_each(count, || {
            block_on(async {
                for together in asked.chunks(usize::try_from(at_once).expect("few")) {
                    let orders: Vec<_> = together
                        .iter()
                        .map(|(key, checked)| {
                            let key = key % self.keys;
                            rt::spawn(one(
                                Arc::clone(&self.authority),
                                Arc::clone(&self.callers),
                                key,
                                key % self.accounts,
                                *checked,
                            ))
                        })
                        .collect();
                    for order in orders {
                        order.await.expect("a token");
                    }
                }
            });
        })
    }

    /// CPU time of what the policies decide of one mint, by callers of these ids.
    fn decisions(&self, id: &dyn Fn(u64) -> String) -> Micros {
        let account = account(0);
        let caller = |n| Caller {
            id: id(n),
            role: tn_authority::domain::Role::Account,
            accounts: vec![account.clone()],
            ..Caller::at_the_command_line(Uuid::nil())
        };
        let wanted = wanted(0);
        let policy = self.authority.policies().in_force();
        let asked = MintContext {
            account: &account,
            is_carrier: false,
            token: TokenContext::of(&wanted, 3600, self.authority.now()),
            rows: None,
        };
        let callers: Vec<Caller> = (0..1_000).map(caller).collect();
        cpu_each(1_000, || {
            for caller in &callers {
                let decided = policy.may_mint(black_box(caller), &asked);
                assert!(decided.verdict.is_ok());
            }
        })
    }

    /// CPU time of an audit event, in a transaction with as many others as a batch has.
    fn events(&self) -> Micros {
        let authority = &self.authority;
        let now = authority.now();
        let caller = Caller::the_service(Uuid::nil());
        let change = |count: u64| {
            let event = |_| AuditEvent {
                id: new_id(now),
                at: now,
                caller: "0000000000000000".to_owned(),
                action: "issue".to_owned(),
                subject: "a0".to_owned(),
                outcome: "done".to_owned(),
                detail: json!({ "jti": "0".repeat(44), "expires": now }),
                request_id: Uuid::new_v4(),
                account: Some(account(0)),
                caller_account: Some(account(0)),
            };
            let acting = Actor::new(&caller, &Clock::system());
            cpu_each(AT_ONCE, || {
                let events: Vec<AuditEvent> = (0..count).map(event).collect();
                let work = move |tx: &mut Tx<'_>| match events.as_slice() {
                    [] => Ok(()),
                    events => tx.insert_audit_events(events),
                };
                block_on(authority.store().change(acting.clone(), "bench", work)).expect("events");
            })
        };
        let (empty, full) = (change(0), change(AT_ONCE));
        full - empty
    }

    /// CPU time of a proof by the database.
    fn proofs(&self) -> Micros {
        let offered = offered(0);
        cpu_each(200, || {
            for _ in 0..200 {
                let proven = self.callers.authenticate(black_box(&offered), Uuid::nil());
                assert!(proven.is_ok());
            }
        })
    }
}

async fn one(
    authority: Arc<Authority>,
    callers: Arc<Callers>,
    key: u64,
    account_number: u64,
    checked: bool,
) {
    let account = account(account_number);
    let caller = if checked {
        let recalled = callers.authenticate_cached(&offered(key), Uuid::nil());
        // Not long enough ago, or never asked before.
        recalled.unwrap_or_else(|| {
            callers
                .authenticate(&offered(key), Uuid::nil())
                .expect("a caller")
        })
    } else {
        Caller {
            id: format!("{key:016x}"),
            proof: Proof::Presence,
            role: tn_authority::domain::Role::Account,
            accounts: vec![account.clone()],
            ..Caller::the_service(Uuid::nil())
        }
    };
    let issued = authority.issue(&caller, account, wanted(account_number), None);
    issued.await.expect("a token");
}

fn account(n: u64) -> AccountId {
    format!("a{n}").parse().expect("an id")
}

fn wanted(account: u64) -> TokenRequest {
    let entry = format!("one:{}", FIRST + account)
        .parse()
        .expect("an entry");
    let list = TnAuthList::from_entries(vec![entry]).expect("a list");
    support::request_for(list)
}

fn offered(key: u64) -> Credentials {
    Credentials {
        authorization: Some(format!("Bearer tna_{key:016x}_{SECRET}")),
        from: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        certificate: None,
    }
}

/// CPU time of this process for each of so many.
fn cpu_each(count: u64, work: impl FnOnce()) -> Micros {
    let before = cpu();
    work();
    let spent = cpu().saturating_sub(before);
    spent.as_secs_f64() * 1e6 / f64::from(u32::try_from(count).expect("few"))
}

/// CPU time of all threads of this process.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).expect("a time")
}

/// So many accounts, each with a number and as many keys as there are for it, written by the database itself.
fn fill(url: &str, keys: u64, accounts: u64) {
    let database = support::migrated(url);
    let (first, last) = (position(FIRST), position(FIRST + 9_999));
    let pepper = PKey::hmac(&PEPPER).expect("a key");
    let mut hmac = Hmac::new(MessageDigest::sha256(), &pepper).expect("HMAC");
    let hash = hmac.sign_oneshot_to_vec(SECRET.as_bytes()).expect("a hash");
    let hash = hex::encode(hash);
    let held = format!(
        "INSERT INTO allocations (id, version, spc, first_position, last_position, span, basis, valid_from, recorded_at) \
         VALUES ('00000000-0000-7000-8000-000000000000', 1, '1234', {first}, {last}, 10000, 'block', 0, 0);"
    );
    let into_accounts =
        "INSERT INTO accounts (id, name, path, created_at) SELECT 'a' || n, '', '/a' || n, 0 FROM";
    let into_loans = "INSERT INTO delegations (id, version, account_id, first_position, last_position, span, ca, lend_on, \
                      lender_keeps, valid_from, recorded_at) SELECT";
    let loan = format!("1, 'a' || n, {first} + n, {first} + n, 1, false, false, false, 0, 0 FROM");
    let into_keys =
        "INSERT INTO api_keys (id, secret_hash, role, account_id, label, created_at) SELECT";
    let (of_accounts, of_keys) = (series(&database, accounts), series(&database, keys));
    let id = support::uuid_of_n(&database);
    let (key, secret) = match database {
        DatabaseUrl::Sqlite(_) => ("printf('%016x', n)", format!("x'{hash}'")),
        DatabaseUrl::Postgres(_) => ("lpad(to_hex(n), 16, '0')", format!("'\\x{hash}'")),
    };
    let rows = format!(
        "BEGIN; {into_accounts} {of_accounts}; {held} {into_loans} {id}, {loan} {of_accounts}; \
         {into_keys} {key}, {secret}, 'account', 'a' || (n % {accounts}), '', 0 FROM {of_keys}; COMMIT;"
    );
    let statistics = match database {
        DatabaseUrl::Sqlite(_) => "ANALYZE",
        DatabaseUrl::Postgres(_) => "VACUUM ANALYZE",
    };
    support::execute(&database, &[&rows, statistics]);
}
