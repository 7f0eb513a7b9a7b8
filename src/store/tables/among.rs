//! The condition that a column has one of some values. Its text is the same for any number of
//! values, so that the statement is prepared once.

use std::cell::OnceCell;

use diesel::expression::{AppearsOnTable, Expression, ValidGrouping, is_aggregate};
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::{Array, Bool, Text};
use diesel::sqlite::Sqlite;

#[derive(Debug)]
pub(in crate::store) struct Among<'a, C> {
    column: C,
    values: Vec<&'a str>,
    json: OnceCell<String>,
}

pub(in crate::store) fn among<'a, C>(
    column: C,
    values: impl IntoIterator<Item = &'a str>,
) -> Among<'a, C> {
    Among {
        column,
        values: values.into_iter().collect(),
        json: OnceCell::new(),
    }
}

impl<C: Expression> Expression for Among<'_, C> {
    type SqlType = Bool;
}

impl<C: AppearsOnTable<T>, T> AppearsOnTable<T> for Among<'_, C> {}

impl<C, G> ValidGrouping<G> for Among<'_, C> {
    type IsAggregate = is_aggregate::No;
}

impl<C> QueryId for Among<'_, C> {
    type QueryId = ();
    // The type does not identify the column.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<C: QueryFragment<Pg>> QueryFragment<Pg> for Among<'_, C> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.column.walk_ast(out.reborrow())?;
        out.push_sql(" = ANY(");
        out.push_bind_param::<Array<Text>, Vec<&str>>(&self.values)?;
        out.push_sql(")");
        Ok(())
    }
}

impl<C: QueryFragment<Sqlite>> QueryFragment<Sqlite> for Among<'_, C> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        self.column.walk_ast(out.reborrow())?;
        out.push_sql(" IN (SELECT value FROM json_each(");
        // It cannot fail; if it did, the query would, and not find nothing.
        let json = || serde_json::to_string(&self.values).unwrap_or_default();
        out.push_bind_param::<Text, String>(self.json.get_or_init(json))?;
        out.push_sql("))");
        Ok(())
    }
}
