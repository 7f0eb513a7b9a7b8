//! The search behind every decision: which rows of the inventory touch these numbers.
//!
//! A range of span `s` that touches `[a, b]` starts after `a - s` and not after `b` (see `NumberRange::span`). So one look
//! into an index on span and first position for each span that occurs finds everything, in O(log n + matches), and one
//! statement answers for a whole batch of questions.

use std::marker::PhantomData;

use diesel::pg::Pg;
use diesel::query_builder::{AsQuery, AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::{Array, BigInt, Integer, Text};
use diesel::sqlite::Sqlite;
use diesel::{RunQueryDsl, Table};
use serde_json::json;
use uuid::Uuid;

use crate::domain::clock::Time;
use crate::domain::numbers::range_set::merged;
use crate::domain::{AccountId, NumberRange};

/// Numbers to look for, each on behalf of the `asker`-th question of a batch.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct RangeProbes {
    askers: Vec<i32>,
    firsts: Vec<i64>,
    lasts: Vec<i64>,
    accounts: Vec<String>,
}

impl RangeProbes {
    /// The probes of a single question, which has no account.
    pub(in crate::store) fn of(numbers: &[NumberRange]) -> Self {
        let mut probes = Self::default();
        probes.add(0, None, numbers);
        probes
    }

    /// Adds a question. Ranges that touch each other are looked for as one.
    pub(in crate::store) fn add(
        &mut self,
        asker: usize,
        account: Option<&AccountId>,
        numbers: &[NumberRange],
    ) {
        for range in merged(numbers.to_vec()) {
            self.askers.push(i32::try_from(asker).unwrap_or(i32::MAX));
            self.firsts.push(range.first().position());
            self.lasts.push(range.last().position());
            self.accounts
                .push(account.map(ToString::to_string).unwrap_or_default());
        }
    }

    pub(in crate::store) fn is_empty(&self) -> bool {
        self.askers.is_empty()
    }

    fn to_json(&self) -> String {
        let rows = self.askers.iter().zip(&self.firsts).zip(&self.lasts);
        let rows = rows.zip(&self.accounts);
        rows.map(|(((asker, first), last), account)| json!([asker, first, last, account]))
            .collect::<serde_json::Value>()
            .to_string()
    }
}

/// Which versions of the rows are wanted.
#[derive(Debug, Clone, Copy)]
pub enum Versions {
    /// The newest ones that hold at some instant of `[from, until)`; without an end, at any from `from` on.
    HoldingIn { from: Time, until: Option<Time> },
    /// Those that hold at `at`, as far as was believed at `believed`.
    HeldAt { at: Time, believed: Time },
    /// All, also those that were superseded, the newest first.
    All,
}

/// Which versions are believed.
#[derive(Debug, Clone, Copy)]
enum VersionFilter {
    Any,
    Newest,
    Then(i64),
}

/// Whose rows are wanted.
#[derive(Debug, Clone)]
enum OwnedBy {
    Anybodys,
    OfTheAccount,
    LentOnByTheAccount,
    CutFrom(Option<String>),
}

/// Finds the rows of table `T` that touch the probes; each comes once, with the number of its asker. At most `limit` rows.
pub(in crate::store) struct OverlapQuery<T> {
    table: &'static str,
    whose: OwnedBy,
    probes: RangeProbes,
    json: String,
    period: Option<(i64, i64)>,
    belief: VersionFilter,
    /// Of rows that have `expires_at`: only those whose is later.
    expiring_after: Option<i64>,
    limit: i64,
    row: PhantomData<T>,
}

impl<T> OverlapQuery<T> {
    pub(in crate::store) fn new(
        table: &'static str,
        probes: RangeProbes,
        versions: Versions,
        limit: usize,
    ) -> Self {
        Self {
            table,
            whose: OwnedBy::Anybodys,
            json: probes.to_json(),
            probes,
            period: match versions {
                Versions::All => None,
                Versions::HoldingIn { from, until } => Some((
                    from.timestamp(),
                    until.map_or(i64::MAX, |until| until.timestamp()),
                )),
                Versions::HeldAt { at, .. } => {
                    let at = at.timestamp();
                    Some((at, at.saturating_add(1)))
                }
            },
            belief: match versions {
                Versions::All => VersionFilter::Any,
                Versions::HoldingIn { .. } => VersionFilter::Newest,
                Versions::HeldAt { believed, .. } => VersionFilter::Then(believed.timestamp()),
            },
            expiring_after: None,
            limit: i64::try_from(limit).unwrap_or(i64::MAX),
            row: PhantomData,
        }
    }

    /// Only the rows, of grants, that expire after an instant.
    pub(in crate::store) fn expiring_after(mut self, time: Time) -> Self {
        self.expiring_after = Some(time.timestamp());
        self
    }

    /// Only the rows of the account that each probe names.
    pub(in crate::store) fn of_the_account(mut self) -> Self {
        self.whose = OwnedBy::OfTheAccount;
        self
    }

    /// Only what the account that each probe names has lent on without keeping its own right.
    pub(in crate::store) fn lent_on_by_the_account(mut self) -> Self {
        self.whose = OwnedBy::LentOnByTheAccount;
        self
    }

    /// Only what is cut from this delegation, or, without one, what the carrier itself lends.
    pub(in crate::store) fn cut_from(mut self, parent: Option<Uuid>) -> Self {
        self.whose = OwnedBy::CutFrom(parent.map(|id| id.to_string()));
        self
    }

    /// Where history is cut off, it is the oldest that is left out; of `grant_numbers` there are no versions.
    fn order(&self) -> &'static str {
        match self.belief {
            VersionFilter::Any if self.expiring_after.is_none() => " ORDER BY t.recorded_at DESC",
            VersionFilter::Any | VersionFilter::Newest | VersionFilter::Then(_) => "",
        }
    }

    /// What stands before the probes: the spans that occur, found by stepping through the index.
    fn before_probes(&self) -> String {
        let table = self.table;
        // Among the spans of the newest rows of one account there would be fewer, but these are few already.
        format!(
            "WITH RECURSIVE spans (span) AS (SELECT min(span) FROM {table} UNION ALL \
             SELECT (SELECT min(t.span) FROM {table} t WHERE t.span > s.span) FROM spans s WHERE s.span IS NOT NULL) \
             SELECT DISTINCT p.asker, t.* FROM "
        )
    }

    /// What makes a row one that is wanted, of the table `t`, for a probe `p` and a span `s`. Has no values in it: a text
    /// that is the same each time is prepared once, and another one each time would be kept for each.
    fn conditions(&self) -> String {
        let mut sql = String::from(
            "t.span = s.span AND t.first_position > p.first_position - s.span \
             AND t.first_position <= p.last_position AND t.last_position >= p.first_position",
        );
        match &self.whose {
            OwnedBy::Anybodys | OwnedBy::CutFrom(Some(_)) => {}
            OwnedBy::OfTheAccount => sql.push_str(" AND t.account_id = p.account_id"),
            OwnedBy::LentOnByTheAccount => {
                sql.push_str(" AND t.lender_id = p.account_id AND NOT t.lender_keeps");
            }
            OwnedBy::CutFrom(None) => sql.push_str(" AND t.parent_id IS NULL"),
        }
        match self.belief {
            VersionFilter::Any | VersionFilter::Then(_) => {}
            VersionFilter::Newest => sql.push_str(" AND t.superseded_at IS NULL"),
        }
        sql
    }
}

/// The conditions with values, which end those of both databases; a macro, since the bounds of a function would be longer.
macro_rules! write_values {
    ($self:ident, $out:ident) => {
        if let OwnedBy::CutFrom(Some(parent)) = &$self.whose {
            $out.push_sql(" AND t.parent_id = ");
            $out.push_bind_param::<Text, String>(parent)?;
        }
        if let VersionFilter::Then(at) = &$self.belief {
            $out.push_sql(" AND t.recorded_at <= ");
            $out.push_bind_param::<BigInt, i64>(at)?;
            $out.push_sql(" AND (t.superseded_at IS NULL OR t.superseded_at > ");
            $out.push_bind_param::<BigInt, i64>(at)?;
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
    };
}

impl<T> QueryFragment<Pg> for OverlapQuery<T> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(&self.before_probes());
        out.push_sql("unnest(");
        out.push_bind_param::<Array<Integer>, Vec<i32>>(&self.probes.askers)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<BigInt>, Vec<i64>>(&self.probes.firsts)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<BigInt>, Vec<i64>>(&self.probes.lasts)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Text>, Vec<String>>(&self.probes.accounts)?;
        // `OFFSET 0` keeps the search in one piece: otherwise the planner may look for each probe alone, by account and
        // last number, reads all of the account's rows, and compares the spans afterwards.
        out.push_sql(
            ") AS p (asker, first_position, last_position, account_id) CROSS JOIN spans s ",
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
            "(SELECT value ->> 0 AS asker, value ->> 1 AS first_position, value ->> 2 AS last_position, \
             value ->> 3 AS account_id FROM json_each(",
        );
        out.push_bind_param::<Text, String>(&self.json)?;
        // SQLite takes the tables of a `CROSS JOIN` in the order in which they stand.
        out.push_sql(&format!(
            ")) p CROSS JOIN spans s CROSS JOIN {} t WHERE {}",
            self.table,
            self.conditions()
        ));
        write_values!(self, out);
        out.push_sql(self.order());
        out.push_sql(" LIMIT ");
        out.push_bind_param::<BigInt, i64>(&self.limit)
    }
}

impl<T: Table + AsQuery> Query for OverlapQuery<T> {
    type SqlType = (Integer, T::SqlType);
}

impl<T> QueryId for OverlapQuery<T> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<T, C> RunQueryDsl<C> for OverlapQuery<T> {}

#[cfg(test)]
mod tests {
    use diesel::sql_types::{Nullable, Text};
    use diesel::{QueryableByName, RunQueryDsl as _, debug_query, sql_query};

    use super::*;
    use crate::domain::clock::from_unix;
    use crate::store::connection::AnyConnection;
    use crate::store::schema::{allocations, delegations, exclusions};
    use crate::store::{DatabaseUrl, Store};

    #[derive(Debug, QueryableByName)]
    struct Step {
        #[diesel(sql_type = Nullable<Text>)]
        detail: Option<String>,
    }

    /// How SQLite would search. It has no statistics, so the plan is the same for any size.
    fn plan<T>(query: &OverlapQuery<T>) -> Vec<String> {
        let dir = tempfile::TempDir::new().expect("a folder");
        let url = DatabaseUrl::Sqlite(dir.path().join("plan.db"));
        Store::migrate(&url).expect("migrations");
        let Ok(AnyConnection::Sqlite(mut connection)) = url.connect() else {
            panic!("SQLite")
        };
        let sql = debug_query::<Sqlite, _>(query).to_string();
        let (sql, _) = sql.rsplit_once(" -- binds").expect("the text of a query");
        let steps = sql_query(format!("EXPLAIN QUERY PLAN {sql}")).load::<Step>(&mut connection);
        steps
            .expect("a plan")
            .into_iter()
            .filter_map(|step| step.detail)
            .collect()
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
                probes,
                versions,
                1,
            )),
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
            for table in ["SCAN delegations", "SCAN allocations", "SCAN exclusions"] {
                assert!(!plan.iter().any(|step| step == table), "{plan:#?}");
            }
        }
    }

    #[test]
    fn the_same_question_has_the_same_text_whatever_it_is_about() {
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
            let sql = debug_query::<Sqlite, _>(&query).to_string();
            let (sql, _) = sql.rsplit_once(" -- binds").expect("the text of a query");
            sql.to_owned()
        };
        assert_eq!(text("+12125551001", 1, 2), text("+4930123", 3, 4));
    }
}
