//! How SQLite would run a statement, for tests that hold a query to its index.

use diesel::query_builder::QueryFragment;
use diesel::sql_types::Text;
use diesel::sqlite::Sqlite;
use diesel::{QueryableByName, RunQueryDsl as _, debug_query, sql_query};

use crate::store::connection::AnyConnection;
use crate::store::connector::IfMissing;
use crate::store::{DatabaseUrl, Store};

#[derive(QueryableByName)]
struct PlanStep {
    #[diesel(sql_type = Text)]
    detail: String,
}

/// The steps of a statement over an empty database. It has no statistics, so the plan is the same
/// for any size.
pub(super) fn query_plan(statement: &str) -> Vec<String> {
    let dir = tempfile::TempDir::new().expect("a folder");
    let url = DatabaseUrl::Sqlite(dir.path().join("plan.db"));
    Store::migrate(&url).expect("migrations");
    let Ok(AnyConnection::Sqlite(mut connection)) = url.connect(IfMissing::Fail) else {
        panic!("SQLite")
    };
    let steps = sql_query(format!("EXPLAIN QUERY PLAN {statement}"));
    let steps = steps.load::<PlanStep>(&mut connection).expect("a plan");
    steps.into_iter().map(|step| step.detail).collect()
}

/// The text of a query, without its values.
pub(super) fn text_of(query: &impl QueryFragment<Sqlite>) -> String {
    let text = debug_query::<Sqlite, _>(query).to_string();
    let (text, _) = text.rsplit_once(" -- binds").expect("the text of a query");
    text.to_owned()
}
