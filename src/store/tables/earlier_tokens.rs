//! Whether accounts have had tokens for numbers before: a query over grants and their numbers.

use diesel::RunQueryDsl as _;
use diesel::sql_types::Integer;
use serde_json::json;

use super::probe_query::ProbeQuery;
use crate::domain::clock::Time;
use crate::domain::tokens::grant::Jti;
use crate::domain::{AccountId, NumberRange};
use crate::store::connection::on_either;
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
        let probes = entries.iter().map(|entry| {
            json!({
                "request": entry.request,
                "account_id": entry.account,
                "first_position": entry.numbers.first().position(),
                "last_position": entry.numbers.last().position(),
                "since": entry.since.timestamp(),
                "other": entry.except.map_or("", Jti::as_str),
            })
        });
        // A grant that was issued after an instant also expires after it. That comparison is in the
        // index, so the grants of earlier holders of a number are passed over quickly.
        let query = ProbeQuery::<(Integer,)>::new(
            &[
                ("request", "INTEGER"),
                ("account_id", "TEXT"),
                ("first_position", "BIGINT"),
                ("last_position", "BIGINT"),
                ("since", "BIGINT"),
                ("other", "TEXT"),
            ],
            [
                "WITH RECURSIVE spans (span) AS (SELECT min(span) FROM grant_numbers UNION ALL \
                 SELECT (SELECT min(t.span) FROM grant_numbers t WHERE t.span > s.span) \
                 FROM spans s WHERE s.span IS NOT NULL) SELECT p.request FROM ",
                " WHERE (SELECT 1 FROM spans s CROSS JOIN grant_numbers t CROSS JOIN grants g \
                 WHERE t.span = s.span AND t.first_position > p.first_position - s.span \
                 AND t.first_position <= p.first_position AND t.expires_at > p.since \
                 AND t.last_position >= p.last_position AND g.jti = t.jti \
                 AND g.account_id = p.account_id AND g.issued_at >= p.since \
                 AND g.withdrawn_at IS NULL AND g.jti <> p.other LIMIT 1) IS NULL",
            ],
            &probes.collect::<Vec<_>>(),
        );
        let rows: Vec<(i32,)> =
            self.run(|connection| on_either!(connection, c => query.load(c)))?;
        let rows = rows.into_iter();
        rows.map(|(request,)| usize::try_from(request).map_err(StoreError::corrupt))
            .collect()
    }
}
