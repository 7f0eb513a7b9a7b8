//! How long mints take while 10,000 rights to renew are due, whose numbers the service asks in the background, beside how
//! long they take without. The background work pauses as in the service.
//!
//! `cargo bench --bench reproof -- [SECONDS]` measures until all numbers were asked, which takes a quarter of an hour, or for
//! so many seconds of it; on SQLite, and on PostgreSQL too when `TN_AUTHORITY_TEST_POSTGRES` names a server.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tn_authority::app::block_on;
use tn_authority::authority::{Authority, NewAllocation, NewDelegation, ReproofRun};
use tn_authority::domain::control::proof::Method;
use tn_authority::domain::control::reproofing::Reproofing;
use tn_authority::domain::inventory::{Basis, Delegation};
use tn_authority::domain::numbers::block;
use tn_authority::domain::tokens::renewal::Renewal;
use tn_authority::domain::{AccountId, Actor, Caller, Fingerprint, TnAuthList, new_id};
use tn_authority::store::{StoreError, Tx};

const RIGHTS: u64 = 10_000;
/// Clients that mint, each one token after the other.
const CLIENTS: usize = 4;
/// How long is measured without the background work.
const ALONE: Duration = Duration::from_secs(20);

fn main() {
    if support::only_tested() {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    support::on_two_databases(dir.path(), ["reproof", "unused"], |database, url, _| {
        measure(database, dir.path(), url);
    });
}

fn measure(database: &str, dir: &Path, url: &str) {
    let authority = Arc::new(support::signing_authority(url, dir));
    let caller = Caller::at_the_command_line(new_id(authority.now()));
    let account = block_on(support::lend_block(&authority, &caller));
    let loan = block_on(lend_many(&authority, &caller));
    // The first ones find nothing in any cache.
    mints_while(&authority, &account, || {
        thread::sleep(Duration::from_secs(2));
    });
    let before = mints_while(&authority, &account, || thread::sleep(ALONE));
    give_rights(&authority, &caller, &loan);
    let seconds = std::env::args().skip(1).find_map(|text| text.parse().ok());
    let most = seconds.map_or(Duration::MAX, Duration::from_secs);
    let (mut asked, mut longest, started) = (0, Duration::ZERO, Instant::now());
    let during = mints_while(&authority, &account, || {
        loop {
            let start = Instant::now();
            let run = block_on(authority.reproof()).expect("a run");
            if run.rights == 0 || started.elapsed() > most {
                return;
            }
            asked += run.asked;
            longest = longest.max(start.elapsed());
            thread::sleep(ReproofRun::pause(start.elapsed()));
        }
    });
    let took = started.elapsed().as_secs_f64();
    let after = mints_while(&authority, &account, || thread::sleep(ALONE));
    println!(
        "{database}: {asked} numbers asked in {took:.1} s; the longest step took {:.1} ms",
        longest.as_secs_f64() * 1e3
    );
    for (what, all) in [("before", &before), ("during", &during), ("after", &after)] {
        println!(
            "  {what}: {} mints, p50 {:.2} ms, p99 {:.2} ms",
            all.len(),
            percentile(all, 50),
            percentile(all, 99)
        );
    }
    let alone = f64::midpoint(percentile(&before, 99), percentile(&after, 99));
    println!(
        "  p99 during, beside before and after: {:.2} times",
        percentile(&during, 99) / alone
    );
}

/// The times of the mints of some clients while `work` lasts, in order.
fn mints_while(
    authority: &Arc<Authority>,
    account: &AccountId,
    work: impl FnOnce(),
) -> Vec<Duration> {
    let over = Arc::new(AtomicBool::new(false));
    let clients = (0..CLIENTS).map(|client| {
        let (authority, account, over) =
            (Arc::clone(authority), account.clone(), Arc::clone(&over));
        thread::spawn(move || block_on(mints(&authority, &account, client, &over)))
    });
    let clients: Vec<_> = clients.collect();
    work();
    over.store(true, Ordering::Relaxed);
    let mut all: Vec<Duration> = Vec::new();
    for client in clients {
        all.extend(client.join().expect("a client"));
    }
    all.sort_unstable();
    all
}

async fn mints(
    authority: &Authority,
    account: &AccountId,
    client: usize,
    over: &AtomicBool,
) -> Vec<Duration> {
    let caller = Caller::at_the_command_line(new_id(authority.now()));
    let mut times = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let number = 12_125_551_000 + (client * 250 + times.len() % 250) as u64;
        let entry = format!("one:{number}").parse().expect("an entry");
        let list = TnAuthList::from_entries(vec![entry]).expect("a list");
        let start = Instant::now();
        let issued = authority.issue(&caller, account.clone(), support::request_for(list), None);
        issued.await.expect("a token");
        times.push(start.elapsed());
    }
    times
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds")]
fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted
        .get(at)
        .map_or(0.0, |time| time.as_micros() as f64 / 1e3)
}

/// Lends 10,000 numbers to another account.
async fn lend_many(authority: &Authority, caller: &Caller) -> Delegation {
    let account: AccountId = "many".parse().expect("an id");
    let numbers = block::parse_inventory("1.213.555.XXXX").expect("a block");
    let put = authority.put_account(caller, account.clone(), None, None);
    put.await.expect("an account");
    let allocated = authority.allocate(
        caller,
        NewAllocation {
            spc: support::spc(),
            numbers,
            basis: Basis::Block,
            valid_from: None,
            valid_until: None,
        },
    );
    allocated.await.expect("an allocation");
    let delegated = authority.delegate(
        caller,
        NewDelegation {
            account,
            numbers,
            ca: false,
            parent: None,
            lend_on: false,
            lender_keeps: false,
            valid_from: None,
            valid_until: None,
            reference: None,
        },
    );
    delegated.await.expect("a delegation")
}

/// Gives a right for each of these numbers, all of which are due now.
fn give_rights(authority: &Authority, caller: &Caller, loan: &Delegation) {
    let now = authority.now();
    let right = |n: u64| {
        let entry = format!("one:{}", 12_135_550_000 + n);
        let list = TnAuthList::from_entries(vec![entry.parse().expect("an entry")]);
        Renewal {
            id: new_id(now),
            account: loan.account.clone(),
            delegation: loan.row.id,
            list: list.expect("a list"),
            fingerprint: Fingerprint::from([7; 32]),
            lifetime: 600,
            not_after: None,
            caller: None,
            created_at: now,
            created_by: "bench".to_owned(),
            revoked_at: None,
            control: Some(Reproofing {
                method: Method::Sms,
                max_age: 7_776_000,
                due_at: Some(now),
            }),
        }
    };
    let rights: Vec<Renewal> = (0..RIGHTS).map(right).collect();
    let actor = Actor::new(caller, &tn_authority::domain::Clock::system());
    let insert = move |tx: &mut Tx<'_>| rights.iter().try_for_each(|one| tx.insert_renewal(one));
    let done: Result<(), StoreError> = block_on(authority.store().change(actor, "rights", insert));
    done.expect("rights");
}
