//! A query that answers one question for each request of a batch: the questions are a table of
//! their own, `p`, which one bound value carries as JSON.

use std::marker::PhantomData;

use diesel::RunQueryDsl;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::Text;
use diesel::sqlite::Sqlite;
use serde::Serialize;

/// `before`, then the table `p` of the probes, then `after`. The text is the same for all values,
/// so the statement is prepared once.
pub(in crate::store) struct ProbeQuery<S> {
    before: &'static str,
    /// The columns of `p`, with their types in PostgreSQL.
    columns: &'static [(&'static str, &'static str)],
    after: &'static str,
    /// An array of objects, with a member for each column.
    probes: String,
    row: PhantomData<S>,
}

impl<S> ProbeQuery<S> {
    pub(in crate::store) fn new(
        columns: &'static [(&'static str, &'static str)],
        [before, after]: [&'static str; 2],
        probes: &[impl Serialize],
    ) -> Self {
        Self {
            before,
            columns,
            after,
            probes: array(probes),
            row: PhantomData,
        }
    }

    fn columns(&self, written: impl Fn(&str, &str) -> String) -> String {
        let columns = self.columns.iter();
        let columns: Vec<String> = columns.map(|(name, kind)| written(name, kind)).collect();
        columns.join(", ")
    }
}

/// The type of a column of bytes, whose values are written by [`bytes`].
pub(in crate::store) const BYTES: &str = "BYTEA";

/// Bytes in JSON, as PostgreSQL reads them.
pub(in crate::store) fn bytes(value: &[u8]) -> String {
    format!("\\x{}", hex::encode(value))
}

/// What cannot be written, which no probe is, makes the query fail: without its probes it would
/// find nothing, and a decision would take that for an answer.
fn array(probes: &[impl Serialize]) -> String {
    serde_json::to_string(probes).unwrap_or_else(|_| "not JSON".to_owned())
}

impl<S> QueryFragment<Pg> for ProbeQuery<S> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(self.before);
        out.push_sql("json_to_recordset(");
        out.push_bind_param::<Text, String>(&self.probes)?;
        let columns = self.columns(|name, kind| format!("{name} {kind}"));
        out.push_sql(&format!("::json) AS p ({columns})"));
        out.push_sql(self.after);
        Ok(())
    }
}

impl<S> QueryFragment<Sqlite> for ProbeQuery<S> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql(self.before);
        let columns = self.columns(|name, kind| match kind {
            BYTES => format!("unhex(substr(value ->> '{name}', 3)) AS {name}"),
            _ => format!("value ->> '{name}' AS {name}"),
        });
        out.push_sql(&format!("(SELECT {columns} FROM json_each("));
        out.push_bind_param::<Text, String>(&self.probes)?;
        // The limit keeps SQLite from taking the values out of the JSON anew for each row.
        out.push_sql(") LIMIT -1) p");
        out.push_sql(self.after);
        Ok(())
    }
}

impl<S> Query for ProbeQuery<S> {
    type SqlType = S;
}

impl<S> QueryId for ProbeQuery<S> {
    type QueryId = ();
    // The text depends on the fields, so the type does not identify it.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<S, C> RunQueryDsl<C> for ProbeQuery<S> {}
