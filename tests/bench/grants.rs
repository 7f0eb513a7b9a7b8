//! What a grant costs: its bytes on disk, with its event and all indexes, and the time to record a batch of 250.
//!
//! `cargo bench --bench grants` fills one SQLite file, and a database of PostgreSQL if `TN_AUTHORITY_TEST_POSTGRES` names a
//! server. `TN_AUTHORITY_BENCH_GRANTS` sets another number in place of 100,000.

mod support;

use std::sync::Arc;
use std::time::Instant;

use diesel::sql_types::{BigInt, Text};
use diesel::{
    Connection as _, PgConnection, QueryableByName, RunQueryDsl as _, SqliteConnection, sql_query,
};
use serde_json::json;
use tn_authority::app::block_on;
use tn_authority::domain::decision::policy_trace::PolicyTrace;
use tn_authority::domain::inventory::RowRef;
use tn_authority::domain::issuance::GrantEvent;
use tn_authority::domain::tokens::grant::{Grant, Jti, Justification};
use tn_authority::domain::{
    Actor, AuditEvent, Caller, Clock, Dialect, TnAuthList, TnEntry, new_id,
};
use tn_authority::store::{DatabaseUrl, NewGrant, Store, Tx};
use tn_authority::telemetry::Metrics;
use uuid::Uuid;

const GRANTS: u64 = 100_000;
const ACCOUNTS: u64 = 1_000;
const BATCH: u64 = 250;

fn main() {
    if support::only_tested() {
        return;
    }
    let count = std::env::var("TN_AUTHORITY_BENCH_GRANTS");
    let count = count.map_or(GRANTS, |text| text.parse().expect("a number of grants"));
    let dir = tempfile::tempdir().expect("a folder");
    support::on_two_databases(dir.path(), ["grants", "none"], |database, url, _| {
        measure(database, url, count);
    });
}

fn measure(database: &str, url: &str, count: u64) {
    let place = support::migrated(url);
    let series = support::series(&place, ACCOUNTS);
    let accounts = format!(
        "INSERT INTO accounts (id, name, path, created_at) SELECT 'account-' || n, '', '/account-' || n, 0 FROM {series}"
    );
    support::execute(&place, &[&accounts]);
    let empty = sizes(&place);
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let store = Store::open(&support::small_store(url), metrics).expect("a store");
    let clock = Clock::system();
    let caller = Caller::at_the_command_line(new_id(clock.now()));
    let mut times = Vec::new();
    for batch in 0..count.div_ceil(BATCH) {
        let new: Vec<(Grant, AuditEvent)> = (0..BATCH)
            .map(|n| grant(batch * BATCH + n, &clock))
            .collect();
        let actor = Actor::new(&caller, &clock);
        let started = Instant::now();
        let recorded = store.change(actor, "bench", move |tx: &mut Tx<'_>| record(tx, &new));
        block_on(recorded).expect("grants");
        times.push(started.elapsed());
    }
    let (mut all, mut of_all) = (0, Vec::new());
    for ((name, bytes), (_, before)) in sizes(&place).into_iter().zip(empty) {
        let each = (bytes - before).max(0) / i64::try_from(count).expect("a number");
        all += each;
        if each > 0 {
            of_all.push(format!("{name} {each}"));
        }
    }
    let half = times.split_off(times.len() / 2);
    let of_all = of_all.join(", ");
    println!("{database}: {all} bytes a grant: {of_all}");
    println!(
        "{database}: a batch of {BATCH} takes {:.2?}, with half as many grants {:.2?} (median)",
        support::median(half),
        support::median(times),
    );
}

fn record(
    tx: &mut Tx<'_>,
    new: &[(Grant, AuditEvent)],
) -> Result<(), tn_authority::store::StoreError> {
    let new = new.iter().map(|(grant, event)| NewGrant {
        grant,
        event: GrantEvent::of(grant, event),
        has_new_key: false,
    });
    tx.insert_grants(&new.collect::<Vec<_>>())
}

/// A grant of one number and its event, as minting makes them.
fn grant(n: u64, clock: &Clock) -> (Grant, AuditEvent) {
    let now = clock.now();
    let (id, place) = (new_id(now), n.wrapping_mul(2_654_435_761) % 1_000_000);
    let number = format!("one:{}", 12_125_000_000 + place);
    let entry: TnEntry = number.parse().expect("an entry");
    let mut random = [0; 12];
    getrandom::fill(&mut random).expect("random bits");
    let row = |id: u64| RowRef {
        id: Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + u128::from(id)),
        version: 1,
    };
    let set: Arc<str> = "5e".repeat(32).into();
    let mut fingerprint = [7; 32];
    fingerprint[..8].copy_from_slice(&(n % 10_000).to_be_bytes());
    let list = TnAuthList::from_entries(vec![entry]).expect("a list");
    let grant = Grant {
        jti: Jti::new(id, random),
        account: format!("account-{}", place % ACCOUNTS)
            .parse()
            .expect("an id"),
        tkvalue: list.into(),
        dialect: Dialect::Strict,
        ca: false,
        fingerprint: fingerprint.into(),
        issued_at: now,
        expires_at: now + chrono::TimeDelta::hours(1),
        chain: "c4".repeat(32),
        iss: Some("https://authority.example".into()),
        caller: format!("{:016x}", place % ACCOUNTS),
        request_id: new_id(now),
        justified_by: vec![
            Justification::Delegation(row(place)),
            Justification::Allocation(row(place / 1_000)),
        ],
        policies: PolicyTrace::new(
            &set,
            vec!["own-numbers".into(), "longest-lifetime".into()],
            false,
        ),
        withdrawal: None,
    };
    let mut detail = json!({ "jti": grant.jti, "expires": grant.expires_at });
    grant.policies.add_to(&mut detail);
    let event = AuditEvent {
        id,
        at: now,
        caller: grant.caller.clone(),
        action: "issue".to_owned(),
        subject: grant.account.to_string(),
        outcome: "done".to_owned(),
        detail,
        request_id: grant.request_id,
        account: Some(grant.account.clone()),
        caller_account: Some(grant.account.clone()),
    };
    (grant, event)
}

#[derive(Debug, QueryableByName)]
struct Size {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = BigInt)]
    bytes: i64,
}

/// The bytes of each table and index of the ledger.
fn sizes(database: &DatabaseUrl) -> Vec<(String, i64)> {
    let sizes = match database {
        DatabaseUrl::Sqlite(path) => {
            let mut connection =
                SqliteConnection::establish(&path.to_string_lossy()).expect("SQLite");
            sql_query(
                "SELECT m.name AS name, (SELECT CAST(coalesce(sum(pgsize), 0) AS BIGINT) FROM dbstat WHERE name = m.name) \
                 AS bytes FROM sqlite_schema m WHERE m.type IN ('table', 'index') \
                 AND (m.tbl_name LIKE 'grant%' OR m.tbl_name = 'audit_events') ORDER BY 1",
            )
            .load::<Size>(&mut connection)
        }
        DatabaseUrl::Postgres(url) => {
            let mut connection = PgConnection::establish(url).expect("PostgreSQL");
            sql_query(
                "SELECT relname::text AS name, pg_relation_size(oid) AS bytes FROM pg_class \
                 WHERE relkind IN ('r', 'i') AND (relname LIKE 'grant%' OR relname LIKE 'audit_events%') ORDER BY 1",
            )
            .load::<Size>(&mut connection)
        }
    };
    let sizes = sizes.expect("sizes").into_iter();
    sizes.map(|size| (size.name, size.bytes)).collect()
}
