//! Several queries as one statement, so that a server is asked once, and not once for each.

use diesel::RunQueryDsl;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::{Integer, Nullable};

use crate::store::error::StoreError;

/// Queries, as a tuple. A row of the result is one of the rows of one of them, and says which: as a
/// part that is present.
pub(in crate::store) struct Together<Q>(pub(in crate::store) Q);

/// A row of one of the queries, or nothing.
pub(in crate::store) type JoinedPart<R> = (Option<i32>, Option<R>);
type JoinedPartType<S> = (Nullable<Integer>, Nullable<S>);

/// Loads queries: on PostgreSQL as one statement, on SQLite, which is in this process, one after
/// the other.
macro_rules! load_together {
    ($tx:expr, $($query:expr),+ $(,)?) => {{
        use diesel::RunQueryDsl as _;
        use $crate::store::connection::AnyConnection;
        use $crate::store::tables::together::{JoinedPart, Separate as _, Together, any_of};
        let loaded = $tx.run(|connection| match connection {
            AnyConnection::Sqlite(on) => Ok(Ok(($($query.load(on)?,)+))),
            AnyConnection::Postgres(on) => {
                let rows: Vec<($(JoinedPart<any_of!($query)>,)+)> = Together(($($query,)+)).load(on)?;
                Ok(rows.separate())
            }
        });
        loaded.and_then(|parts| parts)
    }};
}
pub(in crate::store) use load_together;

/// The type that is inferred for the rows of a query.
macro_rules! any_of {
    ($query:expr) => {
        _
    };
}
pub(in crate::store) use any_of;

/// Gives each query its rows.
pub(in crate::store) trait Separate<P> {
    /// # Errors
    /// If a row lacks a column. diesel takes it for an absent row, but it could be an exclusion.
    fn separate(self) -> Result<P, StoreError>;
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

/// The implementations for a number of queries, each with its number, its field and a letter.
macro_rules! together {
    ($($number:literal $field:tt $query:ident),+) => {
        impl<$($query: QueryFragment<Pg>),+> QueryFragment<Pg> for Together<($($query,)+)> {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
                // The condition is inside of each part, so that a part runs once, for its own
                // number. `OFFSET 0` keeps it there: as a condition of the join, it would be
                // tested for each pair of rows of two parts.
                let columns = [$(concat!("p", $number, ".*")),+].join(", ");
                let numbers = [$(concat!("(", $number, ")")),+].join(", ");
                out.push_sql(&format!("SELECT {columns} FROM (VALUES {numbers}) AS k (n)"));
                $(
                    out.push_sql(" LEFT JOIN LATERAL (SELECT 1 AS present, q.* FROM (");
                    self.0.$field.walk_ast(out.reborrow())?;
                    out.push_sql(concat!(
                        ") q WHERE k.n = ", $number, " OFFSET 0) p", $number, " ON true"
                    ));
                )+
                Ok(())
            }
        }

        impl<$($query: Query),+> Query for Together<($($query,)+)> {
            type SqlType = ($(JoinedPartType<$query::SqlType>,)+);
        }

        // Here a letter stands for the rows of a query.
        impl<$($query),+> Separate<($(Vec<$query>,)+)> for Vec<($(JoinedPart<$query>,)+)> {
            fn separate(self) -> Result<($(Vec<$query>,)+), StoreError> {
                let mut parts = ($(Vec::<$query>::new(),)+);
                for row in self {
                    $(parts.$field.extend(whole(row.$field)?);)+
                }
                Ok(parts)
            }
        }
    };
}

together!(1 0 A, 2 1 B, 3 2 C);
together!(1 0 A, 2 1 B, 3 2 C, 4 3 D);

impl<Q> QueryId for Together<Q> {
    type QueryId = ();
    // The text depends on the fields of the queries, so the type does not identify it.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q, Conn> RunQueryDsl<Conn> for Together<Q> {}

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
        let (first, second, third) = rows.separate().expect("rows");
        assert_eq!((first, second, third), (vec!["a", "b"], vec![], vec![7]));
    }

    /// It could be the exclusion of a number.
    #[test]
    fn a_row_that_cannot_be_read_is_not_taken_for_none() {
        let rows: Vec<Parted> = vec![((None, None), (Some(1), None), (None, None))];
        let refused = rows.separate().expect_err("a corrupt row");
        assert!(matches!(refused, StoreError::Corrupt(_)), "{refused}");
    }
}
