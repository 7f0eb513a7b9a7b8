//! The condition that a list of a grant overlaps some numbers: its first range, which is in
//! `grants`, or a later one, which is in `grant_numbers`.

use diesel::RunQueryDsl;
use diesel::expression::{
    AppearsOnTable, Expression, SelectableExpression, ValidGrouping, is_aggregate,
};
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::{BigInt, Binary, Bool};
use diesel::sqlite::Sqlite;

use crate::domain::NumberRange;
use crate::domain::numbers::number::MAX_DIGITS;

/// Both tables of ranges, which have the columns that are compared.
const TABLES: [&str; 2] = ["grants", "grant_numbers"];

/// Holds for the grants whose numbers overlap these, and whose tokens expire after an instant.
#[derive(Debug, Clone)]
pub(in crate::store) struct Touching {
    first: i64,
    last: i64,
    expiring_after: i64,
    /// After the first of these ids, and not after the second.
    between: Option<(Vec<u8>, Vec<u8>)>,
}

/// The ids of these grants, in their order: a query of the indexes of numbers alone. With the
/// grants joined, a planner without fresh statistics compares each number with each grant.
#[derive(Debug)]
pub(super) struct TouchingIds {
    touching: Touching,
    limit: i64,
}

impl Touching {
    pub(in crate::store) fn new(numbers: NumberRange, expiring_after: i64) -> Self {
        Self {
            first: numbers.first().position(),
            last: numbers.last().position(),
            expiring_after,
            between: None,
        }
    }

    /// At most `limit` ids after `after` and not after `last`.
    pub(super) fn ids(self, after: Vec<u8>, last: Vec<u8>, limit: i64) -> TouchingIds {
        let between = Some((after, last));
        TouchingIds {
            touching: Self { between, ..self },
            limit,
        }
    }
}

/// All spans that there can be. Each is a probe of an index.
fn spans() -> String {
    let spans = (0..=u32::from(MAX_DIGITS)).map(|k| format!("({})", 10_i64.pow(k)));
    spans.collect::<Vec<_>>().join(", ")
}

/// Writes the query of the ids for either database; a macro, since the bounds of a generic function
/// would be longer. `lateral` are the two ends of a subquery that only PostgreSQL needs: without
/// it the planner may compare the spans after it has read all rows.
macro_rules! write_ids {
    ($touching:expr, $out:ident, $lateral:expr) => {{
        let (touching, (begin, end)) = ($touching, $lateral);
        for (n, table) in TABLES.into_iter().enumerate() {
            $out.push_sql(if n > 0 { " UNION ALL " } else { "" });
            $out.push_sql(&format!(
                "SELECT r.jti FROM (VALUES {}) s CROSS JOIN {begin}{table} r \
                 WHERE r.span = s.column1 AND r.first_position > ",
                spans()
            ));
            $out.push_bind_param::<BigInt, i64>(&touching.first)?;
            $out.push_sql(" - s.column1 AND r.first_position <= ");
            $out.push_bind_param::<BigInt, i64>(&touching.last)?;
            $out.push_sql(" AND r.last_position >= ");
            $out.push_bind_param::<BigInt, i64>(&touching.first)?;
            $out.push_sql(" AND r.expires_at > ");
            $out.push_bind_param::<BigInt, i64>(&touching.expiring_after)?;
            if let Some((after, last)) = &touching.between {
                $out.push_sql(" AND r.jti > ");
                $out.push_bind_param::<Binary, Vec<u8>>(after)?;
                $out.push_sql(" AND r.jti <= ");
                $out.push_bind_param::<Binary, Vec<u8>>(last)?;
            }
            $out.push_sql(end);
        }
    }};
}

/// `Touching` and `TouchingIds` for one database, with the two ends of the condition around the
/// query of the ids.
macro_rules! fragments {
    ($database:ty, $lateral:expr, $condition:expr) => {
        impl QueryFragment<$database> for Touching {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, $database>) -> QueryResult<()> {
                let (begin, end) = $condition;
                out.push_sql(begin);
                write_ids!(self, out, $lateral);
                out.push_sql(end);
                Ok(())
            }
        }

        impl QueryFragment<$database> for TouchingIds {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, $database>) -> QueryResult<()> {
                out.push_sql("SELECT DISTINCT r.jti FROM (");
                write_ids!(&self.touching, out, $lateral);
                out.push_sql(") r ORDER BY r.jti LIMIT ");
                out.push_bind_param::<BigInt, i64>(&self.limit)
            }
        }
    };
}

// As an array, the ids are found before the grants: the planner expects far more of them than there
// are, and would rather read the whole ledger in the order of its ids.
fragments!(
    Pg,
    ("LATERAL (SELECT r.jti FROM ", " OFFSET 0) r"),
    ("grants.jti = ANY(ARRAY(", "))")
);
// SQLite joins the tables of a `CROSS JOIN` in the order in which they are written.
fragments!(Sqlite, ("", ""), ("grants.jti IN (", ")"));

impl Expression for Touching {
    type SqlType = Bool;
}

impl<S> AppearsOnTable<S> for Touching {}
impl<S> SelectableExpression<S> for Touching {}

impl<G> ValidGrouping<G> for Touching {
    type IsAggregate = is_aggregate::Never;
}

impl QueryId for Touching {
    type QueryId = ();
    // The text depends on the fields, so the type does not identify it.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for TouchingIds {
    type SqlType = (Binary,);
}

impl QueryId for TouchingIds {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<C> RunQueryDsl<C> for TouchingIds {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tables::query_plan::{query_plan, text_of};

    fn query(number: &str) -> String {
        let number: crate::domain::Tn = number.parse().expect("a number");
        let touching = Touching::new(number.into(), 7);
        text_of(&touching.ids(vec![1], vec![2], 10))
    }

    #[test]
    fn sqlite_probes_an_index_of_each_table_for_each_span() {
        let plan = query_plan(&query("+12125551001"));
        for index in ["grants_by_number", "grant_numbers_by_number"] {
            let step = format!(
                "SEARCH r USING INDEX {index} (span=? AND first_position>? AND first_position<?)"
            );
            assert!(plan.contains(&step), "{plan:#?}");
        }
        assert_eq!(query("+12125551001"), query("+4930123"));
    }
}
