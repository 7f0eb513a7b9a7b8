//! The query behind every decision: which rows of a table overlap these numbers.
//!
//! A range of span `s` that overlaps `[a, b]` starts after `a - s` and not after `b` (see
//! `NumberRange::span`). So one probe of an index on span and first position, for each span that
//! occurs, finds everything in O(log n + matches), and one statement serves a whole batch of
//! requests.

use std::marker::PhantomData;
use std::rc::Rc;

use diesel::pg::Pg;
use diesel::query_builder::{AsQuery, AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::{Array, BigInt, Integer, Text};
use diesel::sqlite::Sqlite;
use diesel::{RunQueryDsl, Table};
use uuid::Uuid;

use super::range_probes::RangeProbes;
pub use super::row_filters::Versions;
pub(in crate::store) use super::row_filters::{EndsAny, VersionFilter};
use super::staged_imports::NOT_STAGED;
use crate::domain::clock::Time;

/// Restricts the rows by account, delegating account or parent delegation.
#[derive(Debug, Clone)]
enum OwnedBy {
    Anyone,
    ProbedAccount,
    DelegatedOnByProbedAccount,
    CutFrom(Option<String>),
}

/// Finds the rows of table `T` that overlap the probes. Each overlapping row is returned once for
/// each request, with the index of that request; at most `limit` rows.
pub(in crate::store) struct OverlapQuery<T> {
    table: &'static str,
    owner: OwnedBy,
    probes: Rc<RangeProbes>,
    period: Option<(i64, i64)>,
    versions: VersionFilter,
    /// If set, only rows whose `expires_at` is later.
    expiring_after: Option<i64>,
    /// If set, only departures that can end such delegations.
    ending: Option<EndsAny>,
    /// Whether to hide the rows of imports that are not effective.
    hides_staged: bool,
    limit: i64,
    row: PhantomData<T>,
}

impl<T> OverlapQuery<T> {
    pub(in crate::store) fn new(
        table: &'static str,
        probes: impl Into<Rc<RangeProbes>>,
        versions: Versions,
        limit: usize,
    ) -> Self {
        Self {
            table,
            owner: OwnedBy::Anyone,
            probes: probes.into(),
            period: versions.period(),
            versions: versions.filter(),
            expiring_after: None,
            ending: None,
            // Only delegations are staged.
            hides_staged: table == "delegations",
            limit: i64::try_from(limit).unwrap_or(i64::MAX),
            row: PhantomData,
        }
    }

    /// Only rows of grants that expire after `time`.
    pub(in crate::store) fn expiring_after(mut self, time: Time) -> Self {
        self.expiring_after = Some(time.timestamp());
        self
    }

    pub(in crate::store) fn with_staged(mut self) -> Self {
        self.hides_staged = false;
        self
    }

    /// Only departures that can end a delegation like these.
    pub(in crate::store) fn ending(mut self, delegations: EndsAny) -> Self {
        self.ending = Some(delegations);
        self
    }

    /// Only rows of the account that each probe names.
    pub(in crate::store) fn of_the_account(mut self) -> Self {
        self.owner = OwnedBy::ProbedAccount;
        self
    }

    /// Only what the account that each probe names has delegated on without keeping its own right.
    pub(in crate::store) fn delegated_on_by_the_account(mut self) -> Self {
        self.owner = OwnedBy::DelegatedOnByProbedAccount;
        self
    }

    /// Only delegations that are cut from `parent`; if it is `None`, only those that the carrier
    /// itself made.
    pub(in crate::store) fn cut_from(mut self, parent: Option<Uuid>) -> Self {
        self.owner = OwnedBy::CutFrom(parent.map(|id| id.to_string()));
        self
    }

    /// Newest first, so that the limit drops the oldest rows of a history. `grant_numbers` has no
    /// `recorded_at` to order by.
    fn order(&self) -> &'static str {
        match self.versions {
            VersionFilter::Any if self.expiring_after.is_none() => " ORDER BY t.recorded_at DESC",
            VersionFilter::Any | VersionFilter::Newest | VersionFilter::AsOf(_) => "",
        }
    }

    /// The SQL before the probes: the spans that occur, found by stepping through the index.
    fn before_probes(&self) -> String {
        let table = self.table;
        let distinct = if self.probes.are_of_one_each() {
            ""
        } else {
            " DISTINCT"
        };
        // Filtering by account would yield fewer spans, but there are at most 16, so it is not
        // worth it.
        format!(
            "WITH RECURSIVE spans (span) AS (SELECT min(r.span) FROM {table} r UNION ALL \
             SELECT (SELECT min(t.span) FROM {table} t WHERE t.span > s.span) FROM spans s WHERE s.span IS NOT NULL) \
             SELECT{distinct} p.request, t.* FROM "
        )
    }

    /// The conditions that a row `t` has to meet for a probe `p` and a span `s`. Values are bound,
    /// not inlined, so the statement is prepared once instead of once for each value.
    fn conditions(&self) -> String {
        let mut sql = String::from(
            "t.span = s.span AND t.first_position > p.first_position - s.span \
             AND t.first_position <= p.last_position AND t.last_position >= p.first_position",
        );
        match &self.owner {
            OwnedBy::Anyone | OwnedBy::CutFrom(Some(_)) => {}
            OwnedBy::ProbedAccount => sql.push_str(" AND t.account_id = p.account_id"),
            OwnedBy::DelegatedOnByProbedAccount => {
                sql.push_str(" AND t.lender_id = p.account_id AND NOT t.lender_keeps");
            }
            OwnedBy::CutFrom(None) => sql.push_str(" AND t.parent_id IS NULL"),
        }
        if self.ending.is_some_and(|ending| !ending.by_aging) {
            sql.push_str(" AND t.kind <> 'aging'");
        }
        match self.versions {
            VersionFilter::Any | VersionFilter::AsOf(_) => {}
            VersionFilter::Newest => sql.push_str(" AND t.superseded_at IS NULL"),
        }
        sql
    }
}

/// Appends the conditions with values, for either database; a macro, since the bounds of a generic
/// function would be longer.
macro_rules! write_values {
    ($self:ident, $out:ident) => {
        if let OwnedBy::CutFrom(Some(parent)) = &$self.owner {
            $out.push_sql(" AND t.parent_id = ");
            $out.push_bind_param::<Text, String>(parent)?;
        }
        if let VersionFilter::AsOf(at) = &$self.versions {
            $out.push_sql(" AND t.recorded_at <= ");
            $out.push_bind_param::<BigInt, i64>(at)?;
            $out.push_sql(" AND (t.superseded_at IS NULL OR t.superseded_at > ");
            $out.push_bind_param::<BigInt, i64>(at)?;
            $out.push_sql(")");
        }
        if $self.hides_staged {
            $out.push_sql(NOT_STAGED);
            if let VersionFilter::AsOf(at) = &$self.versions {
                $out.push_sql(" OR i.effective_at > ");
                $out.push_bind_param::<BigInt, i64>(at)?;
            }
            $out.push_sql(")");
        }
        if let Some((from, until)) = &$self.period {
            $out.push_sql(" AND t.valid_from < ");
            $out.push_bind_param::<BigInt, i64>(until)?;
            $out.push_sql(" AND (t.valid_until IS NULL OR t.valid_until > ");
            $out.push_bind_param::<BigInt, i64>(from)?;
            $out.push_sql(")");
        }
        if let Some(after) = &$self.expiring_after {
            $out.push_sql(" AND t.expires_at > ");
            $out.push_bind_param::<BigInt, i64>(after)?;
        }
        if let Some(ending) = &$self.ending {
            $out.push_sql(" AND (t.sequence > ");
            $out.push_bind_param::<BigInt, i64>(&ending.sequence)?;
            $out.push_sql(" OR t.valid_from > ");
            $out.push_bind_param::<BigInt, i64>(&ending.made_at)?;
            $out.push_sql(")");
        }
    };
}

impl<T> QueryFragment<Pg> for OverlapQuery<T> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(&self.before_probes());
        out.push_sql("unnest(");
        out.push_bind_param::<Array<Integer>, Vec<i32>>(&self.probes.requests)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<BigInt>, Vec<i64>>(&self.probes.firsts)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<BigInt>, Vec<i64>>(&self.probes.lasts)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Text>, Vec<String>>(&self.probes.accounts)?;
        // `OFFSET 0` keeps the planner from flattening the subquery. Otherwise it may search by
        // account and last number, read all rows of the account, and compare the spans afterwards.
        out.push_sql(
            ") AS p (request, first_position, last_position, account_id) CROSS JOIN spans s ",
        );
        out.push_sql(&format!(
            "CROSS JOIN LATERAL (SELECT t.* FROM {} t WHERE {}",
            self.table,
            self.conditions()
        ));
        write_values!(self, out);
        out.push_sql(" OFFSET 0) t");
        out.push_sql(self.order());
        out.push_sql(" LIMIT ");
        out.push_bind_param::<BigInt, i64>(&self.limit)
    }
}

impl<T> QueryFragment<Sqlite> for OverlapQuery<T> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql(&self.before_probes());
        out.push_sql(
            "(SELECT value ->> 0 AS request, value ->> 1 AS first_position, value ->> 2 AS last_position, \
             value ->> 3 AS account_id FROM json_each(",
        );
        out.push_bind_param::<Text, String>(self.probes.json())?;
        // SQLite joins the tables of a `CROSS JOIN` in the order in which they are written. The
        // limit keeps it from taking the values out of the JSON anew for each span.
        out.push_sql(&format!(
            ") LIMIT -1) p CROSS JOIN spans s CROSS JOIN {} t WHERE {}",
            self.table,
            self.conditions()
        ));
        write_values!(self, out);
        out.push_sql(self.order());
        // Without the `+`, SQLite plans for the value, and prepares the statement anew for each.
        out.push_sql(" LIMIT +");
        out.push_bind_param::<BigInt, i64>(&self.limit)
    }
}

impl<T: Table + AsQuery> Query for OverlapQuery<T> {
    type SqlType = (Integer, T::SqlType);
}

impl<T> QueryId for OverlapQuery<T> {
    type QueryId = ();
    // The text depends on the fields, so the type does not identify it.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<T, C> RunQueryDsl<C> for OverlapQuery<T> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::from_unix;
    use crate::store::schema::{allocations, delegations, departures, exclusions};
    use crate::store::tables::query_plan::{query_plan, text_of};

    fn plan<T>(query: &OverlapQuery<T>) -> Vec<String> {
        query_plan(&text_of(query))
    }

    #[test]
    fn sqlite_searches_an_index_and_scans_no_table() {
        let numbers = ["+12125551001"
            .parse::<crate::domain::Tn>()
            .expect("a number")
            .into()];
        let versions = Versions::HoldingIn {
            from: from_unix(0),
            until: None,
        };
        let probes = RangeProbes::of(&numbers);
        let plans = [
            plan(
                &OverlapQuery::<delegations::table>::new(
                    "delegations",
                    probes.clone(),
                    versions,
                    1,
                )
                .of_the_account(),
            ),
            plan(&OverlapQuery::<delegations::table>::new(
                "delegations",
                probes.clone(),
                versions,
                1,
            )),
            plan(&OverlapQuery::<allocations::table>::new(
                "allocations",
                probes.clone(),
                versions,
                1,
            )),
            plan(&OverlapQuery::<allocations::table>::new(
                "allocations",
                probes.clone(),
                Versions::All,
                1,
            )),
            plan(&OverlapQuery::<exclusions::table>::new(
                "exclusions",
                probes.clone(),
                versions,
                1,
            )),
            plan(
                &OverlapQuery::<departures::table>::new("departures", probes, versions, 1).ending(
                    EndsAny {
                        sequence: 1,
                        made_at: 2,
                        by_aging: false,
                    },
                ),
            ),
        ];
        for plan in plans {
            let of_table = plan.iter().filter(|step| step.contains(" t "));
            assert!(of_table.clone().count() > 0, "{plan:#?}");
            for step in of_table {
                assert!(
                    step.starts_with("SEARCH t USING") && step.contains("INDEX"),
                    "{plan:#?}"
                );
                assert!(step.contains("span"), "{plan:#?}");
            }
            let searched = plan
                .iter()
                .any(|step| step.contains("span=? AND first_position>? AND first_position<?"));
            assert!(searched, "{plan:#?}");
            for table in ["delegations", "allocations", "exclusions", "departures"] {
                assert!(!plan.contains(&format!("SCAN {table}")), "{plan:#?}");
            }
        }
    }

    #[test]
    fn queries_of_one_kind_have_the_same_text_whatever_their_values() {
        let text = |number: &str, parent: u128, at: i64| {
            let numbers = [number
                .parse::<crate::domain::Tn>()
                .expect("a number")
                .into()];
            let versions = Versions::HeldAt {
                at: from_unix(at),
                believed: from_unix(at),
            };
            let query = OverlapQuery::<delegations::table>::new(
                "delegations",
                RangeProbes::of(&numbers),
                versions,
                1,
            )
            .cut_from(Some(Uuid::from_u128(parent)));
            text_of(&query)
        };
        assert_eq!(text("+12125551001", 1, 2), text("+4930123", 3, 4));
    }
}
