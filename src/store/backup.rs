//! A copy of an SQLite database, as one file. A plain copy of the file would lack what is still in
//! the write-ahead log beside it, which can be the newest grants.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use diesel::sql_types::{BigInt, Text};
use diesel::sqlite::SqliteConnection;
use diesel::{Connection as _, QueryResult, QueryableByName, RunQueryDsl as _, sql_query};
use tempfile::TempPath;
use thiserror::Error;

use super::connection::AnyConnection;
use super::connector::IfMissing;
use super::database_url::{DatabaseUrl, existing_file_uri};
use super::error::OpenError;

/// The tables whose rows are counted. All are older than the first release.
const COUNTED: [&str; 7] = [
    "accounts",
    "allocations",
    "delegations",
    "exclusions",
    "grants",
    "api_keys",
    "audit_events",
];

/// The first bytes of every SQLite database.
const HEADER: &[u8] = b"SQLite format 3\0";

/// What else is beside a database, and must not be overwritten.
const SUFFIXES: [&str; 5] = ["-wal", "-shm", ".lock", ".turn", ".api-key-secret"];

/// Why there is no backup.
#[derive(Debug, Error)]
pub enum BackupError {
    #[error(
        "the database is on PostgreSQL, which has a tool of its own: `pg_dump --format=custom \
         --file=FILE`"
    )]
    NotSqlite,
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("`{}` exists; name another file, or replace it with `--replace`", .0.display())]
    Exists(PathBuf),
    #[error("`{}` is no SQLite database, and is not replaced; name another file", .0.display())]
    NotABackup(PathBuf),
    #[error("`{}` belongs to a database in use; name another file", .0.display())]
    InUse(PathBuf),
    #[error("`{}` cannot be written: {error}", path.display())]
    Write { path: PathBuf, error: io::Error },
    #[error("the database cannot be copied: {0}")]
    Copy(String),
    #[error("the copy is not intact, so it was deleted: {0}")]
    NotIntact(String),
}

/// A backup that was prepared. Dropping it deletes what was copied so far.
pub struct Backup {
    source: AnyConnection,
    target: PathBuf,
    replace: bool,
    /// Beside the target, so that it can be renamed.
    partial: TempPath,
    /// About the size of the copy, in bytes.
    pub expected_bytes: u64,
}

/// What is in a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupReport {
    pub bytes: u64,
    /// Tables and the numbers of their rows.
    pub rows: Vec<(&'static str, u64)>,
}

impl std::fmt::Debug for Backup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backup")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl Backup {
    /// Checks that the database and the target can be used. With `replace`, the target may exist.
    pub fn prepare(url: &DatabaseUrl, target: &Path, replace: bool) -> Result<Self, BackupError> {
        let DatabaseUrl::Sqlite(path) = url else {
            return Err(BackupError::NotSqlite);
        };
        if let Some(missing) = url.missing_file()? {
            return Err(OpenError::NoDatabase(missing).into());
        }
        let cannot_write = |error| BackupError::Write {
            path: target.to_owned(),
            error,
        };
        let target = std::path::absolute(target).map_err(cannot_write)?;
        refuse_files_in_use(path, &target)?;
        // Also if it is a link to nowhere.
        if target.symlink_metadata().is_ok() {
            if !replace {
                return Err(BackupError::Exists(target));
            }
            if !is_database(&target).map_err(cannot_write)? {
                return Err(BackupError::NotABackup(target));
            }
        }
        let folder = target.parent().unwrap_or(Path::new("/"));
        let partial = tempfile::Builder::new()
            .prefix(".tn-authority-backup-")
            .tempfile_in(folder)
            .map_err(cannot_write)?;
        let failed = |error: &dyn ToString| OpenError::Connect(error.to_string());
        let source = url.connect(IfMissing::Fail).map_err(|e| failed(&e))?;
        let expected_bytes = fs::metadata(path).map_err(|e| failed(&e))?.len();
        Ok(Self {
            source,
            target,
            replace,
            partial: partial.into_temp_path(),
            expected_bytes,
        })
    }

    /// The file that grows while the backup runs.
    #[must_use]
    pub fn partial(&self) -> PathBuf {
        self.partial.to_path_buf()
    }

    /// Copies one snapshot of the database, while others write to it; checks the copy, and gives it
    /// its name once it is safe on disk. Blocks.
    pub fn run(mut self) -> Result<BackupReport, BackupError> {
        let path = self.partial.to_string_lossy().into_owned();
        let vacuum = sql_query("VACUUM INTO ?").bind::<Text, _>(path);
        match &mut self.source {
            AnyConnection::Sqlite(c) => vacuum.execute(c),
            AnyConnection::Postgres(_) => return Err(BackupError::NotSqlite),
        }
        .map_err(|error| BackupError::Copy(error.to_string()))?;
        let rows = check_copy(&self.partial)?;

        let cannot_write = |error| BackupError::Write {
            path: self.target.clone(),
            error,
        };
        // SQLite does not flush what VACUUM INTO writes.
        let copy = File::open(&self.partial).map_err(cannot_write)?;
        copy.sync_all().map_err(cannot_write)?;
        let bytes = copy.metadata().map_err(cannot_write)?.len();
        let renamed = if self.replace {
            self.partial.persist(&self.target)
        } else {
            self.partial.persist_noclobber(&self.target)
        };
        renamed.map_err(|failed| cannot_write(failed.error))?;
        let folder = self.target.parent().unwrap_or(Path::new("/"));
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(cannot_write)?;
        Ok(BackupReport { bytes, rows })
    }
}

/// Refuses to replace the database, a file that belongs to it, or another database in use.
fn refuse_files_in_use(source: &Path, target: &Path) -> Result<(), BackupError> {
    let beside = |path: &Path, suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let real = |path: &Path| fs::canonicalize(path).ok();
    let source = real(source).unwrap_or_else(|| source.to_owned());
    let mut own = SUFFIXES
        .map(|suffix| real(&beside(&source, suffix)))
        .to_vec();
    own.push(Some(source));
    let found = real(target);
    if found.is_some() && own.contains(&found) || beside(target, "-wal").exists() {
        return Err(BackupError::InUse(target.to_owned()));
    }
    Ok(())
}

/// Whether a file is an SQLite database, so that `--replace` does not overwrite a configuration or
/// a key after a slip of the hand.
fn is_database(path: &Path) -> io::Result<bool> {
    let mut header = Vec::with_capacity(HEADER.len());
    let file = File::open(path)?;
    file.take(HEADER.len() as u64).read_to_end(&mut header)?;
    Ok(header == HEADER)
}

/// Checks each page and index of the copy, and counts its rows.
fn check_copy(path: &Path) -> Result<Vec<(&'static str, u64)>, BackupError> {
    #[derive(QueryableByName)]
    struct IntegrityMessage {
        #[diesel(sql_type = Text)]
        integrity_check: String,
    }
    #[derive(QueryableByName)]
    struct RowCount {
        #[diesel(sql_type = BigInt)]
        rows: i64,
    }
    let broken = |error: &dyn ToString| BackupError::NotIntact(error.to_string());
    let mut copy = SqliteConnection::establish(&existing_file_uri(path)).map_err(|e| broken(&e))?;
    let checked: QueryResult<Vec<IntegrityMessage>> =
        sql_query("PRAGMA integrity_check(1)").load(&mut copy);
    for message in checked.map_err(|e| broken(&e))? {
        if message.integrity_check != "ok" {
            return Err(broken(&message.integrity_check));
        }
    }
    let counted = COUNTED.map(|table| {
        let count = sql_query(format!("SELECT count(*) AS rows FROM {table}"));
        let count: RowCount = count.get_result(&mut copy).map_err(|e| broken(&e))?;
        Ok((table, u64::try_from(count.rows).unwrap_or_default()))
    });
    counted.into_iter().collect()
}
