//! Whether accounts have had tokens for numbers before: a query over grants and their numbers.

use diesel::RunQueryDsl as _;
use diesel::sql_types::Integer;

use super::probe_query::{ProbeColumn, ProbeQuery};
use crate::domain::clock::Time;
use crate::domain::tokens::grant::Jti;
use crate::domain::{AccountId, NumberRange};
use crate::store::connection::{AnyConnection, on_either};
use crate::store::error::StoreError;
use crate::store::tx::Tx;

/// An entry of a list, and since when tokens of the account count.
#[derive(Debug)]
pub(in crate::store) struct EarlierToken<'a> {
    /// The index of the request.
    pub(in crate::store) request: usize,
    pub(in crate::store) account: &'a AccountId,
    pub(in crate::store) numbers: NumberRange,
    pub(in crate::store) since: Time,
    /// A grant that does not count.
    pub(in crate::store) except: Option<&'a Jti>,
}

/// The spans of the ranges in a table, found by stepping through its index.
macro_rules! spans {
    ($name:literal, $table:literal) => {
        concat!(
            $name,
            " (span) AS (SELECT min(span) FROM ",
            $table,
            " UNION ALL SELECT (SELECT min(t.span) FROM ",
            $table,
            " t WHERE t.span > s.span) FROM ",
            $name,
            " s WHERE s.span IS NOT NULL)"
        )
    };
}

/// That a range contains an entry `p`. A grant that was issued after an instant also expires after
/// it. That comparison is in the index, so the grants of earlier holders of a number are passed
/// over quickly.
macro_rules! contains {
    ($range:literal) => {
        concat!(
            $range,
            ".span = s.span AND ",
            $range,
            ".first_position > p.first_position - s.span AND ",
            $range,
            ".first_position <= p.first_position AND ",
            $range,
            ".expires_at > p.since AND ",
            $range,
            ".last_position >= p.last_position"
        )
    };
}

/// That a grant `g` counts for an entry `p`. The account is an expression, so that no planner goes
/// through all grants of the account instead of those of the number.
macro_rules! counts {
    ($jti:literal) => {
        concat!(
            "g.account_id || '' = p.account_id AND g.issued_at >= p.since AND g.withdrawn_at IS NULL AND ",
            $jti,
            " <> p.other"
        )
    };
}

/// The query for requests with an entry that no range of a grant contains: neither the first of its
/// list, nor a later one. `$jti` is the id as text.
macro_rules! without_token {
    ($jti:literal) => {
        [
            concat!(
                "WITH RECURSIVE ",
                spans!("spans", "grants"),
                ", ",
                spans!("later_spans", "grant_numbers"),
                " SELECT p.request FROM "
            ),
            concat!(
                " WHERE (SELECT 1 FROM spans s CROSS JOIN grants g WHERE ",
                contains!("g"),
                " AND ",
                counts!($jti),
                " LIMIT 1) IS NULL AND \
                 (SELECT 1 FROM later_spans s CROSS JOIN grant_numbers t CROSS JOIN grants g WHERE ",
                contains!("t"),
                " AND g.jti = t.jti AND ",
                counts!($jti),
                " LIMIT 1) IS NULL"
            ),
        ]
    };
}

impl Tx<'_> {
    /// The requests with an entry for which the account has had no token since then: no entry of an
    /// earlier list contains it, or all of these grants were withdrawn.
    pub(in crate::store) fn requests_without_token(
        &mut self,
        entries: &[EarlierToken<'_>],
    ) -> Result<Vec<usize>, StoreError> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let each = entries.iter();
        let requests = each.clone().map(|entry| entry.request);
        let accounts = each.clone().map(|entry| entry.account.to_string());
        let firsts = each.clone().map(|entry| entry.numbers.first().position());
        let lasts = each.clone().map(|entry| entry.numbers.last().position());
        let since = each.clone().map(|entry| entry.since.timestamp());
        let others = each.map(|entry| entry.except.map_or("", Jti::as_str).to_owned());
        let parts = match self.connection {
            AnyConnection::Postgres(_) => without_token!("encode(g.jti, 'hex')"),
            AnyConnection::Sqlite(_) => without_token!("lower(hex(g.jti))"),
        };
        let query = ProbeQuery::<(Integer,)>::new(
            [
                ("request", ProbeColumn::indices(requests)),
                ("account_id", ProbeColumn::texts(accounts)),
                ("first_position", ProbeColumn::big_ints(firsts)),
                ("last_position", ProbeColumn::big_ints(lasts)),
                ("since", ProbeColumn::big_ints(since)),
                ("other", ProbeColumn::texts(others)),
            ],
            parts,
        );
        let rows: Vec<(i32,)> =
            self.run(|connection| on_either!(connection, c => query.load(c)))?;
        let rows = rows.into_iter();
        rows.map(|(request,)| usize::try_from(request).map_err(StoreError::corrupt))
            .collect()
    }
}
