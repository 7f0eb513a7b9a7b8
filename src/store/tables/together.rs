//! Several queries as one statement, so that a server is asked once, and not once for each.

use diesel::RunQueryDsl;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::{Integer, Nullable};

use crate::store::error::StoreError;

/// Three queries. A row of the result is one of the rows of one of them, and says which: as a part
/// that is present.
pub(in crate::store) struct Together<A, B, C>(
    pub(in crate::store) A,
    pub(in crate::store) B,
    pub(in crate::store) C,
);

/// A row of one of the queries, or nothing.
pub(in crate::store) type JoinedPart<R> = (Option<i32>, Option<R>);
type JoinedPartType<S> = (Nullable<Integer>, Nullable<S>);

/// The rows of three queries.
pub(in crate::store) type JoinedParts<A, B, C> = (Vec<A>, Vec<B>, Vec<C>);

/// Loads three queries: on PostgreSQL as one statement, on SQLite, which is in this process, one
/// after the other.
macro_rules! load_together {
    ($tx:expr, $a:expr, $b:expr, $c:expr) => {{
        use diesel::RunQueryDsl as _;
        use $crate::store::connection::AnyConnection;
        use $crate::store::tables::together::{JoinedPart, Together, separate};
        let (a, b, c) = ($a, $b, $c);
        let loaded = $tx.run(|connection| match connection {
            AnyConnection::Sqlite(on) => Ok(Ok((a.load(on)?, b.load(on)?, c.load(on)?))),
            AnyConnection::Postgres(on) => Together(a, b, c)
                .load::<(JoinedPart<_>, JoinedPart<_>, JoinedPart<_>)>(on)
                .map(separate),
        });
        loaded.and_then(|parts| parts)
    }};
}
pub(in crate::store) use load_together;

/// Gives each query its rows.
///
/// # Errors
/// If a row lacks a column. diesel takes it for an absent row, but it could be an exclusion.
pub(in crate::store) fn separate<A, B, C>(
    rows: Vec<(JoinedPart<A>, JoinedPart<B>, JoinedPart<C>)>,
) -> Result<JoinedParts<A, B, C>, StoreError> {
    let (mut first, mut second, mut third) = (Vec::new(), Vec::new(), Vec::new());
    for (a, b, c) in rows {
        first.extend(whole(a)?);
        second.extend(whole(b)?);
        third.extend(whole(c)?);
    }
    Ok((first, second, third))
}

fn whole<R>((present, row): JoinedPart<R>) -> Result<Option<R>, StoreError> {
    match (present, row) {
        (Some(_), Some(row)) => Ok(Some(row)),
        (None, None) => Ok(None),
        (Some(_), None) | (None, Some(_)) => {
            Err(StoreError::corrupt("a row lacks a column that all have"))
        }
    }
}

impl<A, B, C> QueryFragment<Pg> for Together<A, B, C>
where
    A: QueryFragment<Pg>,
    B: QueryFragment<Pg>,
    C: QueryFragment<Pg>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        // The condition is inside of each part, so that a part runs once, for its own number.
        // `OFFSET 0` keeps it there: as a condition of the join, it would be tested for each pair
        // of rows of two parts.
        out.push_sql("SELECT a.*, b.*, c.* FROM (VALUES (1), (2), (3)) AS k (n)");
        out.push_sql(" LEFT JOIN LATERAL (SELECT 1 AS present, q.* FROM (");
        self.0.walk_ast(out.reborrow())?;
        out.push_sql(") q WHERE k.n = 1 OFFSET 0) a ON true");
        out.push_sql(" LEFT JOIN LATERAL (SELECT 1 AS present, q.* FROM (");
        self.1.walk_ast(out.reborrow())?;
        out.push_sql(") q WHERE k.n = 2 OFFSET 0) b ON true");
        out.push_sql(" LEFT JOIN LATERAL (SELECT 1 AS present, q.* FROM (");
        self.2.walk_ast(out.reborrow())?;
        out.push_sql(") q WHERE k.n = 3 OFFSET 0) c ON true");
        Ok(())
    }
}

impl<A: Query, B: Query, C: Query> Query for Together<A, B, C> {
    type SqlType = (
        JoinedPartType<A::SqlType>,
        JoinedPartType<B::SqlType>,
        JoinedPartType<C::SqlType>,
    );
}

impl<A, B, C> QueryId for Together<A, B, C> {
    type QueryId = ();
    // The text depends on the fields of the queries, so the type does not identify it.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<A, B, C, Conn> RunQueryDsl<Conn> for Together<A, B, C> {}

#[cfg(test)]
mod tests {
    use super::*;

    type Parted = (JoinedPart<&'static str>, JoinedPart<i64>, JoinedPart<i64>);

    #[test]
    fn each_query_gets_its_rows_and_one_without_rows_gets_none() {
        let nothing = (None, None);
        let rows: Vec<Parted> = vec![
            ((Some(1), Some("a")), nothing, nothing),
            ((Some(1), Some("b")), nothing, nothing),
            ((None, None), nothing, nothing),
            ((None, None), nothing, (Some(1), Some(7))),
        ];
        let (first, second, third) = separate(rows).expect("rows");
        assert_eq!((first, second, third), (vec!["a", "b"], vec![], vec![7]));
    }

    /// It could be the exclusion of a number.
    #[test]
    fn a_row_that_cannot_be_read_is_not_taken_for_none() {
        let rows: Vec<Parted> = vec![((None, None), (Some(1), None), (None, None))];
        let refused = separate(rows).expect_err("a corrupt row");
        assert!(matches!(refused, StoreError::Corrupt(_)), "{refused}");
    }
}
