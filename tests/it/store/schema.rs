//! The schema: equal in both databases and in the code, and every column is explained.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use diesel::sql_types::{Nullable, Text};
use diesel::{QueryableByName, RunQueryDsl as _, sql_query};

use crate::support::{Db, Kind, Raw};

both! {
    the_code_knows_the_columns_of_the_database_in_their_order,
}

#[derive(QueryableByName)]
struct Column {
    #[diesel(sql_type = Text)]
    table: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Nullable<Text>)]
    comment: Option<String>,
}

/// The columns of the database, table by table, in their order.
fn columns(db: &Db) -> Vec<Column> {
    match db.connect() {
        Raw::Sqlite(mut connection) => sql_query(
            "SELECT m.name AS \"table\", c.name AS \"name\", NULL AS comment FROM sqlite_master m, \
             pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' \
             AND m.name NOT LIKE '\\_\\_%' ESCAPE '\\' ORDER BY m.name, c.cid",
        )
        .load(&mut connection),
        Raw::Postgres(mut connection) => sql_query(
            "SELECT table_name::text AS \"table\", column_name::text AS \"name\", \
             col_description(format('%I.%I', table_schema, table_name)::regclass, ordinal_position) AS comment \
             FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE '\\_\\_%' \
             ORDER BY table_name COLLATE \"C\", ordinal_position",
        )
        .load(&mut connection),
    }
    .expect("columns")
}

/// What `schema.rs` and its parts say: each `table!` with its columns in their order.
fn declared() -> BTreeMap<String, Vec<String>> {
    let files = [
        "src/store/schema.rs",
        "src/store/schema/control.rs",
        "src/store/schema/replication.rs",
    ];
    let files = files.map(|file| fs::read_to_string(root().join(file)).expect("the schema"));
    let text = files.concat();
    let mut tables = BTreeMap::new();
    for table in text.split("table! {").skip(1) {
        let lines: Vec<&str> = table
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        let name = lines[0].split([' ', '(']).next().expect("a name");
        let columns = lines.iter().filter_map(|line| line.split_once(" -> "));
        tables.insert(
            name.to_owned(),
            columns.map(|(column, _)| column.to_owned()).collect(),
        );
    }
    assert!(tables.len() >= 10, "{tables:?}");
    tables
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn the_code_knows_the_columns_of_the_database_in_their_order(db: Db) {
    let mut real: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for column in columns(&db) {
        real.entry(column.table).or_default().push(column.name);
    }
    assert_eq!(real, declared());
}

#[test]
fn every_column_of_postgresql_has_a_comment() {
    let columns = columns(&Db::from(Kind::Postgres));
    let bare = columns
        .iter()
        .filter(|column| column.comment.as_ref().is_none_or(String::is_empty));
    let bare: Vec<String> = bare
        .map(|column| format!("{}.{}", column.table, column.name))
        .collect();
    assert_eq!(bare, Vec::<String>::new());
}

#[test]
fn every_column_of_sqlite_stands_below_a_comment() {
    // A migration can rename a table, and make another of the old name.
    let mut columns: BTreeMap<String, usize> = BTreeMap::new();
    for name in names("sqlite") {
        let text = fs::read_to_string(root().join("migrations/sqlite").join(&name).join("up.sql"))
            .expect("a migration");
        let (mut inside, mut above) = (None, "");
        for line in text.lines().map(str::trim) {
            let words: Vec<&str> = line.trim_end_matches(';').split(' ').collect();
            let commented = || assert!(above.starts_with("--"), "{name}: no comment above {line}");
            match words.as_slice() {
                ["CREATE", "TABLE", table, ..] => {
                    commented();
                    inside = Some((*table).to_owned());
                    columns.insert((*table).to_owned(), 0);
                }
                ["ALTER", "TABLE", table, "ADD", "COLUMN", ..] => {
                    commented();
                    *columns.get_mut(*table).expect("a table") += 1;
                }
                ["ALTER", "TABLE", table, "RENAME", "TO", to] => {
                    let counted = columns.remove(*table).expect("a table");
                    columns.insert((*to).to_owned(), counted);
                }
                ["DROP", "TABLE", table] => {
                    columns.remove(*table).expect("a table");
                }
                _ if line.starts_with(')') => inside = None,
                _ => {
                    if let Some(table) = &inside
                        && line.starts_with(|c: char| c.is_ascii_lowercase())
                    {
                        commented();
                        *columns.get_mut(table).expect("a table") += 1;
                    }
                }
            }
            above = line;
        }
    }
    let declared = declared().into_iter();
    let declared = declared.map(|(table, columns)| (table, columns.len()));
    assert_eq!(columns, declared.collect());
}

#[test]
fn both_databases_have_the_same_migrations() {
    assert_eq!(names("postgres"), names("sqlite"));
    for (kind, name) in ["postgres", "sqlite"]
        .into_iter()
        .flat_map(|kind| names(kind).into_iter().map(move |n| (kind, n)))
    {
        for file in ["up.sql", "down.sql"] {
            assert!(
                root()
                    .join("migrations")
                    .join(kind)
                    .join(&name)
                    .join(file)
                    .exists(),
                "{kind}/{name}/{file}"
            );
        }
    }
}

fn names(kind: &str) -> Vec<String> {
    let is_folder = |path: &Path| path.is_dir();
    let entries = fs::read_dir(root().join("migrations").join(kind)).expect("migrations");
    let paths = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| is_folder(path));
    let mut names: Vec<String> = paths
        .map(|path| {
            path.file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort_unstable();
    names
}
