//! Requests that come again with their `Idempotency-Key`: done once, and answered as before.

mod calls;
mod crash;
mod keys;
mod kill;
mod races;
mod rules;

use diesel::sql_types::{BigInt, Binary, Nullable, Text};
use diesel::{QueryableByName, RunQueryDsl as _, sql_query};

use crate::support::{Db, Raw};

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// A row as it stands in the database.
#[derive(QueryableByName)]
struct Kept {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    request: String,
    #[diesel(sql_type = Nullable<Binary>)]
    answer: Option<Vec<u8>>,
}

pub fn count(db: &Db, what: &str) -> i64 {
    let query = format!("SELECT count(*) AS count FROM {what}");
    match db.connect() {
        Raw::Sqlite(mut c) => sql_query(query).get_result::<Count>(&mut c),
        Raw::Postgres(mut c) => sql_query(query).get_result::<Count>(&mut c),
    }
    .expect("a count")
    .count
}

/// All that was ever written of what the carrier keeps and of what was decided.
fn written(db: &Db) -> i64 {
    let tables = [
        "audit_events",
        "grants",
        "grant_numbers",
        "allocations",
        "delegations",
        "exclusions",
        "suspensions",
        "control_proofs",
        "jobs",
    ];
    tables.into_iter().map(|table| count(db, table)).sum()
}

fn kept(db: &Db) -> Vec<Kept> {
    let query = "SELECT name, request, answer FROM idempotency_keys";
    match db.connect() {
        Raw::Sqlite(mut c) => sql_query(query).load(&mut c),
        Raw::Postgres(mut c) => sql_query(query).load(&mut c),
    }
    .expect("rows")
}
