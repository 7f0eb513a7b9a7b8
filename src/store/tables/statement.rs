//! Statements of constant text for PostgreSQL, which are prepared once for a connection. Those of
//! `sql_query` are parsed and planned anew each time.

use std::marker::PhantomData;
use std::str::Split;

use diesel::RunQueryDsl;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::serialize::ToSql;
use diesel::sql_types::HasSqlType;

/// A statement with a `?` for each of its values, in turn.
#[derive(Debug)]
pub(in crate::store) struct Statement<V> {
    text: &'static str,
    values: V,
}

/// A value of the SQL type `T`, after others.
#[derive(Debug)]
pub(in crate::store) struct Bound<P, T, U> {
    previous: P,
    value: U,
    sql_type: PhantomData<T>,
}

impl Statement<()> {
    pub(in crate::store) const fn new(text: &'static str) -> Self {
        Self { text, values: () }
    }
}

impl<V> Statement<V> {
    /// The value of the next `?`.
    pub(in crate::store) fn bind<T, U>(self, value: U) -> Statement<Bound<V, T, U>> {
        Statement {
            text: self.text,
            values: Bound {
                previous: self.values,
                value,
                sql_type: PhantomData,
            },
        }
    }
}

/// The values of one column of all rows.
macro_rules! column {
    ($rows:expr, $name:ident) => {
        $rows.iter().map(|row| row.$name).collect::<Vec<_>>()
    };
    ($rows:expr, & $name:ident) => {
        $rows.iter().map(|row| &row.$name).collect::<Vec<_>>()
    };
}
pub(in crate::store) use column;

/// Values, each written behind the next piece of the text.
pub(in crate::store) trait BoundValues {
    fn write<'b>(
        &'b self,
        pieces: &mut Split<'static, char>,
        out: &mut AstPass<'_, 'b, Pg>,
    ) -> QueryResult<()>;
}

impl BoundValues for () {
    fn write<'b>(
        &'b self,
        _: &mut Split<'static, char>,
        _: &mut AstPass<'_, 'b, Pg>,
    ) -> QueryResult<()> {
        Ok(())
    }
}

impl<P: BoundValues, T, U: ToSql<T, Pg>> BoundValues for Bound<P, T, U>
where
    Pg: HasSqlType<T>,
{
    fn write<'b>(
        &'b self,
        pieces: &mut Split<'static, char>,
        out: &mut AstPass<'_, 'b, Pg>,
    ) -> QueryResult<()> {
        self.previous.write(pieces, out)?;
        out.push_sql(pieces.next().unwrap_or_default());
        out.push_bind_param::<T, U>(&self.value)
    }
}

impl<V: BoundValues> QueryFragment<Pg> for Statement<V> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let mut pieces = self.text.split('?');
        self.values.write(&mut pieces, &mut out)?;
        out.push_sql(pieces.next().unwrap_or_default());
        Ok(())
    }
}

impl<V> QueryId for Statement<V> {
    type QueryId = ();
    // Two statements can have values of the same types.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<V, C> RunQueryDsl<C> for Statement<V> {}

#[cfg(test)]
mod tests {
    use diesel::debug_query;
    use diesel::sql_types::{Array, BigInt, Text};

    use super::*;

    #[test]
    fn a_statement_is_prepared_once_whatever_its_values() {
        let of = |ids: Vec<i64>| {
            Statement::new("INSERT INTO t SELECT * FROM unnest(?, ?) WHERE true")
                .bind::<Array<BigInt>, _>(ids)
                .bind::<Array<Text>, _>(vec!["a"])
        };
        for ids in [vec![], vec![1], vec![1, 2]] {
            let statement = of(ids);
            assert!(statement.is_safe_to_cache_prepared(&Pg).expect("an answer"));
            let text = debug_query::<Pg, _>(&statement).to_string();
            let text = text.split(" -- ").next();
            assert_eq!(
                text,
                Some("INSERT INTO t SELECT * FROM unnest($1, $2) WHERE true")
            );
        }
    }
}
