//! Inserts grants, with what they have in common, the keys that are new, and the bounds of the
//! ledger. The text of each statement is the same for any number of grants, so it is prepared once:
//! PostgreSQL takes the columns as arrays, and SQLite the rows one by one.

use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Binary, Bool, Integer, Nullable, Text};

use super::account_keys::{self, AccountKeyRow};
use super::grant_terms::{self, CallerRow, TermsRow};
use super::grants::Row;
use super::statement::{Statement, column};
use crate::domain::issuance::GrantEvent;
use crate::domain::tokens::grant::Grant;
use crate::store::connection::AnyConnection;
use crate::store::error::StoreError;
use crate::store::schema::{grant_numbers, grants, ledger_bounds, signing_chains};
use crate::store::tx::Tx;

/// How many rows one statement inserts. The size of an array is not bounded; this bounds the
/// memory of the server.
const ROWS_PER_STATEMENT: usize = 4_000;

/// The latest expiry of a chain is rounded up to this, in seconds, so that it seldom changes.
const EXPIRY_STEP: i64 = 600;

/// A grant that is to be recorded.
#[derive(Debug)]
pub struct NewGrant<'a> {
    pub grant: &'a Grant,
    /// Its audit event; `None` if that is recorded by itself.
    pub event: Option<GrantEvent>,
    /// Whether the account has perhaps had no token for the key, so that its first use is recorded.
    pub has_new_key: bool,
}

#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = grant_numbers, treat_none_as_default_value = false)]
struct NumbersRow {
    jti: Vec<u8>,
    entry: i32,
    first_position: i64,
    last_position: i64,
    span: i64,
    expires_at: i64,
}

/// All that is written for some grants.
#[derive(Debug, Default)]
struct LedgerRows {
    grants: Vec<Row>,
    /// The ranges from the second on.
    numbers: Vec<NumbersRow>,
    // In one order on all replicas, so that two which insert the same ones do not deadlock.
    terms: BTreeMap<i64, TermsRow>,
    callers: BTreeMap<i64, CallerRow>,
    keys: BTreeSet<AccountKeyRow>,
    /// The latest expiry of each chain, rounded up.
    expiries: BTreeMap<String, i64>,
    longest_lifetime: i64,
}

impl LedgerRows {
    fn add(&mut self, new: &NewGrant<'_>) -> Result<(), StoreError> {
        let grant = new.grant;
        let terms = TermsRow::from(grant);
        let confined_to = new
            .event
            .as_ref()
            .and_then(|one| one.caller_account.as_ref());
        let caller = CallerRow::new(&grant.caller, confined_to, &grant.account);
        let row = Row::new(new, terms.id, caller.id)?;
        let ranges = grant.tkvalue.numbers().map_err(StoreError::corrupt)?;
        let later = ranges.into_iter().zip(1..).skip(1);
        self.numbers.extend(later.map(|(range, entry)| NumbersRow {
            jti: row.jti.clone(),
            entry,
            first_position: range.first().position(),
            last_position: range.last().position(),
            span: range.span(),
            expires_at: row.expires_at,
        }));
        let lifetime = row.expires_at.saturating_sub(row.issued_at);
        self.longest_lifetime = self.longest_lifetime.max(lifetime);
        let until = rounded_up(row.expires_at);
        if let Some(known) = self.expiries.get_mut(&terms.chain) {
            *known = until.max(*known);
        } else {
            self.expiries.insert(terms.chain.clone(), until);
        }
        self.terms.entry(terms.id).or_insert(terms);
        self.callers.entry(caller.id).or_insert(caller);
        if new.has_new_key {
            self.keys.insert(AccountKeyRow::from(grant));
        }
        self.grants.push(row);
        Ok(())
    }
}

fn rounded_up(seconds: i64) -> i64 {
    let over = seconds.rem_euclid(EXPIRY_STEP);
    match over {
        0 => seconds,
        _ => seconds.saturating_add(EXPIRY_STEP - over),
    }
}

impl Tx<'_> {
    /// Inserts these grants and their numbers.
    ///
    /// # Errors
    /// [`StoreError`] if that fails; then no token may be signed.
    pub fn insert_grants(&mut self, new: &[NewGrant<'_>]) -> Result<(), StoreError> {
        for chunk in new.chunks(ROWS_PER_STATEMENT) {
            let mut rows = LedgerRows::default();
            for one in chunk {
                rows.add(one)?;
            }
            self.run(|connection| match connection {
                AnyConnection::Postgres(c) => rows.insert_into_postgres(c),
                AnyConnection::Sqlite(c) => rows.insert_into_sqlite(c),
            })?;
        }
        Ok(())
    }
}

impl LedgerRows {
    fn insert_into_sqlite(&self, connection: &mut SqliteConnection) -> QueryResult<()> {
        grant_terms::insert_missing(connection, &self.terms, &self.callers)?;
        account_keys::insert_missing(connection, &self.keys)?;
        let bound =
            ledger_bounds::table.filter(ledger_bounds::longest_lifetime.lt(self.longest_lifetime));
        diesel::update(bound)
            .set(ledger_bounds::longest_lifetime.eq(self.longest_lifetime))
            .execute(connection)?;
        for (chain, until) in &self.expiries {
            let earlier = signing_chains::last_expiry.lt(until);
            let chain = signing_chains::table.filter(signing_chains::name.eq(chain));
            let chain = chain.filter(
                signing_chains::last_expiry
                    .is_null()
                    .or(earlier.assume_not_null()),
            );
            diesel::update(chain)
                .set(signing_chains::last_expiry.eq(until))
                .execute(connection)?;
        }
        for row in &self.grants {
            diesel::insert_into(grants::table)
                .values(row)
                .execute(connection)?;
        }
        for row in &self.numbers {
            diesel::insert_into(grant_numbers::table)
                .values(row)
                .execute(connection)?;
        }
        Ok(())
    }

    /// One statement for all but further ranges, which few grants have.
    fn insert_into_postgres(&self, connection: &mut PgConnection) -> QueryResult<()> {
        let (terms, callers) = (&self.terms, &self.callers);
        let chains: Vec<&str> = self.expiries.keys().map(String::as_str).collect();
        let expiries: Vec<i64> = self.expiries.values().copied().collect();
        let terms: Vec<&TermsRow> = terms.values().collect();
        let callers: Vec<&CallerRow> = callers.values().collect();
        let rows = &self.grants;
        Statement::new(INSERT_GRANTS)
            .bind::<Array<BigInt>, _>(column!(terms, id))
            .bind::<Array<Text>, _>(column!(terms, &chain))
            .bind::<Array<Text>, _>(column!(terms, &policies))
            .bind::<Array<Text>, _>(column!(terms, &policy_set))
            .bind::<Array<Text>, _>(column!(terms, &tktype))
            .bind::<Array<Text>, _>(column!(terms, &dialect))
            .bind::<Array<Bool>, _>(column!(terms, ca))
            .bind::<Array<Text>, _>(column!(terms, &iss))
            .bind::<Array<BigInt>, _>(column!(callers, id))
            .bind::<Array<Text>, _>(column!(callers, &caller))
            .bind::<Array<Text>, _>(column!(callers, &account_id))
            .bind::<BigInt, _>(self.longest_lifetime)
            .bind::<Array<Text>, _>(chains)
            .bind::<Array<BigInt>, _>(expiries)
            .bind::<Array<Text>, _>(column!(self.keys, &account_id))
            .bind::<Array<Binary>, _>(column!(self.keys, &fingerprint))
            .bind::<Array<BigInt>, _>(column!(self.keys, first_used_at))
            .bind::<Array<BigInt>, _>(column!(rows, issued_at))
            .bind::<Array<BigInt>, _>(column!(rows, expires_at))
            .bind::<Array<Nullable<BigInt>>, _>(column!(rows, first_position))
            .bind::<Array<Nullable<BigInt>>, _>(column!(rows, last_position))
            .bind::<Array<Nullable<BigInt>>, _>(column!(rows, span))
            .bind::<Array<Nullable<BigInt>>, _>(column!(rows, withdrawn_at))
            .bind::<Array<BigInt>, _>(column!(rows, caller_id))
            .bind::<Array<BigInt>, _>(column!(rows, terms_id))
            .bind::<Array<Binary>, _>(column!(rows, &jti))
            .bind::<Array<Binary>, _>(column!(rows, &request_id))
            .bind::<Array<Binary>, _>(column!(rows, &fingerprint))
            .bind::<Array<Text>, _>(column!(rows, &account_id))
            .bind::<Array<Text>, _>(column!(rows, &tkvalue))
            .bind::<Array<Text>, _>(column!(rows, &justified_by))
            .bind::<Array<Nullable<Text>>, _>(column!(rows, &withdrawal_reason))
            .bind::<Array<Nullable<Text>>, _>(column!(rows, &event))
            .execute(connection)?;
        if self.numbers.is_empty() {
            return Ok(());
        }
        let rows = &self.numbers;
        Statement::new(INSERT_NUMBERS)
            .bind::<Array<Binary>, _>(column!(rows, &jti))
            .bind::<Array<Integer>, _>(column!(rows, entry))
            .bind::<Array<BigInt>, _>(column!(rows, first_position))
            .bind::<Array<BigInt>, _>(column!(rows, last_position))
            .bind::<Array<BigInt>, _>(column!(rows, span))
            .bind::<Array<BigInt>, _>(column!(rows, expires_at))
            .execute(connection)?;
        Ok(())
    }
}

/// A row that is there already is neither locked nor written.
const INSERT_GRANTS: &str = "\
    WITH terms AS (INSERT INTO grant_terms (id, chain, policies, policy_set, tktype, dialect, ca, iss) \
    SELECT * FROM unnest(?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING), \
    callers AS (INSERT INTO grant_callers (id, caller, account_id) \
    SELECT * FROM unnest(?, ?, ?) ON CONFLICT DO NOTHING), \
    bounds AS (UPDATE ledger_bounds SET longest_lifetime = latest.longest \
    FROM (SELECT ? AS longest) latest WHERE longest_lifetime < latest.longest), \
    chains AS (UPDATE signing_chains SET last_expiry = signed.until \
    FROM unnest(?, ?) AS signed (chain, until) WHERE signing_chains.name = signed.chain \
    AND (signing_chains.last_expiry IS NULL OR signing_chains.last_expiry < signed.until)), \
    keys AS (INSERT INTO account_keys (account_id, fingerprint, first_used_at) \
    SELECT * FROM unnest(?, ?, ?) ON CONFLICT DO NOTHING) \
    INSERT INTO grants (issued_at, expires_at, first_position, last_position, span, withdrawn_at, \
    caller_id, terms_id, jti, request_id, fingerprint, account_id, tkvalue, justified_by, \
    withdrawal_reason, event) SELECT * FROM unnest(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

const INSERT_NUMBERS: &str = "\
    INSERT INTO grant_numbers (jti, entry, first_position, last_position, span, expires_at) \
    SELECT * FROM unnest(?, ?, ?, ?, ?, ?)";
