//! Migrations of newer versions: whether this version may write beside them, as during a rolling
//! upgrade. The schema says so, since this version cannot know.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::Text;

use super::connection::{AnyConnection, on_either};
use super::error::StoreError;
use super::migrations::known_versions;
use super::tx::Tx;

#[derive(Debug, QueryableByName)]
struct AppliedMigration {
    #[diesel(sql_type = Text)]
    version: String,
}

impl Tx<'_> {
    /// The first applied migration that this version does not know and must not write beside.
    pub fn unknown_migration(&mut self) -> Result<Option<String>, StoreError> {
        let known = known_versions().map_err(|e| StoreError::Corrupt(e.to_string()))?;
        self.run(|connection| first_incompatible(connection, &known))
    }
}

/// The first applied migration that is not among these, and that a program which knows only these
/// must not write beside.
pub(super) fn first_incompatible(
    connection: &mut AnyConnection,
    known: &[String],
) -> QueryResult<Option<String>> {
    // Both are names of folders, in digits.
    let newest = known.last().map_or("", String::as_str);
    let listed: Vec<String> = known.iter().map(|version| format!("'{version}'")).collect();
    let query = sql_query(format!(
        "SELECT m.version FROM __diesel_schema_migrations m WHERE m.version NOT IN ({}) \
         AND NOT EXISTS (SELECT 1 FROM compatible_migrations c WHERE c.version = m.version \
         AND c.needs <= '{newest}') ORDER BY m.version LIMIT 1",
        listed.join(", ")
    ));
    let found: Option<AppliedMigration> =
        on_either!(connection, c => query.get_result(c).optional())?;
    Ok(found.map(|migration| migration.version))
}
