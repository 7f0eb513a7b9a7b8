//! A query that answers one question for each request of a batch: the questions are a table of
//! their own, `p`. Its columns are bound as arrays on PostgreSQL, and as one JSON value on SQLite.

use std::cell::OnceCell;
use std::marker::PhantomData;

use diesel::RunQueryDsl;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::{Array, BigInt, Binary, Integer, Nullable, Text};
use diesel::sqlite::Sqlite;
use serde_json::Value;

/// `before`, then the table `p` of the probes, then `after`. The text is the same for all values,
/// so the statement is prepared once.
pub(in crate::store) struct ProbeQuery<S> {
    before: &'static str,
    columns: Vec<(&'static str, ProbeColumn)>,
    after: &'static str,
    json: OnceCell<String>,
    row: PhantomData<S>,
}

/// The values of a column of `p`: one for each probe.
#[derive(Debug)]
pub(in crate::store) enum ProbeColumn {
    Integers(Vec<i32>),
    BigInts(Vec<Option<i64>>),
    Texts(Vec<Option<String>>),
    Bytes(Vec<Vec<u8>>),
}

impl ProbeColumn {
    /// Indices of requests.
    pub(in crate::store) fn indices(values: impl IntoIterator<Item = usize>) -> Self {
        let index = |value| i32::try_from(value).unwrap_or(i32::MAX);
        Self::Integers(values.into_iter().map(index).collect())
    }

    pub(in crate::store) fn big_ints<V: Into<Option<i64>>>(
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        Self::BigInts(values.into_iter().map(Into::into).collect())
    }

    pub(in crate::store) fn texts<V: Into<Option<String>>>(
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        Self::Texts(values.into_iter().map(Into::into).collect())
    }

    fn len(&self) -> usize {
        match self {
            Self::Integers(values) => values.len(),
            Self::BigInts(values) => values.len(),
            Self::Texts(values) => values.len(),
            Self::Bytes(values) => values.len(),
        }
    }

    fn json(&self, at: usize) -> Value {
        match self {
            Self::Integers(values) => values.get(at).copied().into(),
            Self::BigInts(values) => values.get(at).copied().flatten().into(),
            Self::Texts(values) => values.get(at).cloned().flatten().into(),
            Self::Bytes(values) => values.get(at).map(hex::encode).into(),
        }
    }
}

impl<S> ProbeQuery<S> {
    pub(in crate::store) fn new(
        columns: impl IntoIterator<Item = (&'static str, ProbeColumn)>,
        [before, after]: [&'static str; 2],
    ) -> Self {
        Self {
            before,
            columns: columns.into_iter().collect(),
            after,
            json: OnceCell::new(),
            row: PhantomData,
        }
    }

    /// An array for each probe.
    fn json(&self) -> &String {
        self.json.get_or_init(|| {
            let columns = self.columns.iter().map(|(_, column)| column);
            let probes = columns.clone().map(ProbeColumn::len).max();
            let probe = |at| {
                columns
                    .clone()
                    .map(|column| column.json(at))
                    .collect::<Value>()
            };
            (0..probes.unwrap_or(0))
                .map(probe)
                .collect::<Value>()
                .to_string()
        })
    }
}

impl<S> QueryFragment<Pg> for ProbeQuery<S> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(self.before);
        out.push_sql("unnest(");
        for (n, (_, column)) in self.columns.iter().enumerate() {
            if n > 0 {
                out.push_sql(", ");
            }
            match column {
                ProbeColumn::Integers(values) => {
                    out.push_bind_param::<Array<Integer>, Vec<i32>>(values)?;
                }
                ProbeColumn::BigInts(values) => {
                    out.push_bind_param::<Array<Nullable<BigInt>>, Vec<Option<i64>>>(values)?;
                }
                ProbeColumn::Texts(values) => {
                    out.push_bind_param::<Array<Nullable<Text>>, Vec<Option<String>>>(values)?;
                }
                ProbeColumn::Bytes(values) => {
                    out.push_bind_param::<Array<Binary>, Vec<Vec<u8>>>(values)?;
                }
            }
        }
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
        out.push_sql(&format!(") AS p ({})", names.join(", ")));
        out.push_sql(self.after);
        Ok(())
    }
}

impl<S> QueryFragment<Sqlite> for ProbeQuery<S> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql(self.before);
        let columns = self.columns.iter().enumerate();
        let columns = columns.map(|(n, (name, column))| match column {
            ProbeColumn::Bytes(_) => format!("unhex(value ->> {n}) AS {name}"),
            ProbeColumn::Integers(_) | ProbeColumn::BigInts(_) | ProbeColumn::Texts(_) => {
                format!("value ->> {n} AS {name}")
            }
        });
        let columns = columns.collect::<Vec<_>>().join(", ");
        out.push_sql(&format!("(SELECT {columns} FROM json_each("));
        out.push_bind_param::<Text, String>(self.json())?;
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
