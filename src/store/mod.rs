//! The database: connections, migrations, the writer thread, and one file a table. Only this module
//! knows diesel.
//!
//! No row type leaves this module: arguments and results are types of `domain`. Reads take a
//! connection from a pool and block. Writes go through one thread with group commit, and return
//! after COMMIT.

mod abandoned_pools;
mod actor;
mod availability;
mod backup;
mod client_presence;
mod compatible_migrations;
mod connection;
mod connector;
mod database_clock;
mod database_url;
mod error;
mod inspection;
mod locks;
mod migrations;
mod mint;
mod page;
mod plain_server;
mod postgres_url;
mod reader_probe;
mod reader_progress;
mod readers;
mod recorded_refusals;
mod refusal;
mod requester;
mod schema;
mod server_report;
mod server_state;
mod single_use;
mod sqlite_checkpoints;
mod sqlite_file;
mod sqlite_locks;
mod sqlite_log;
mod table_access;
mod tables;
mod timelines;
mod timeouts;
mod tx;
mod wait_budget;
mod waiter;
mod writer;
mod writer_health;

pub use backup::{Backup, BackupError, BackupReport};
pub use client_presence::ClientPresence;
pub use connector::{PostgresSettings, PreparedMode};
pub use database_url::DatabaseUrl;
pub use error::{OpenError, StoreError};
pub use locks::AUTHORITY_LOCK;
pub use mint::SampleTask;
pub use page::{Page, PageOf};
pub use requester::{Requester, Sealing};
pub use server_report::ServerReport;
pub use server_state::{ServerState, SynchronousStandbys};
pub use tables::accounts::Within;
pub use tables::api_key_hashes::{KeysByApiKeySecret, Rehash};
pub use tables::api_keys::KeptApiKey;
pub use tables::audit_events::EventFilter;
pub use tables::control_confirmed::ProofProbes;
pub use tables::control_due::NextDue;
pub use tables::control_starts::{StartedBy, StartedProof};
pub use tables::control_tries::TriedBy;
pub use tables::grant_inserts::NewGrant;
pub use tables::grants::GrantFilter;
pub use tables::imports::TouchedNumbers;
pub use tables::overlap::Versions;
pub use tables::replicas::{Heartbeat, ReplicaIdentity};
pub use tables::staged_imports::UnfinishedImport;
pub use tables::withdrawals::{Loss, Swept};
pub use timeouts::DatabaseTimeouts;
pub use tx::Tx;
pub use wait_budget::WaitBudget;
pub use waiter::Waiter;
pub use writer::Verdict;
pub use writer_health::WriterHealth;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::domain::Actor;
use crate::domain::issuance::{KeyedRequest, MintOrder, RefusalSums};
use crate::telemetry::Metrics;
use connector::{DatabaseConnector, IfMissing};
use reader_probe::ReaderProbe;
use readers::ReadPool;
use sqlite_checkpoints::Checkpoints;
use sqlite_file::SqliteFile;
use sqlite_locks::{ServeLock, WriteTurns};
use timeouts::TransactionKind;
use writer::{Writer, WriterDatabase};

/// Options for [`Store::open`].
#[derive(Debug, Clone)]
pub struct Settings {
    pub url: DatabaseUrl,
    pub purpose: Purpose,
    /// The size of the pool of read connections.
    pub pool_size: u32,
    /// Whether missing migrations are applied on opening.
    pub migrate: bool,
    /// The capacity of the writer's queue, in jobs.
    pub queue: usize,
    /// The most jobs that one transaction takes.
    pub batch: usize,
    pub postgres: PostgresSettings,
}

/// Who opens a store. It matters on SQLite only, where one process serves a database that is a
/// file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The service. A second one is refused; if migrations are applied, a missing file is created.
    Serve,
    /// A command that can be the first. If migrations are applied, a missing file is created.
    FirstStep,
    /// Any other command. A missing file is an error.
    Command,
}

/// A pool of read connections and one writer.
#[derive(Debug)]
pub struct Store {
    readers: Arc<ReadPool>,
    reader_probe: Arc<ReaderProbe>,
    writer: Writer,
    /// On SQLite.
    _checkpoints: Option<Checkpoints>,
    refusals: Arc<Mutex<RefusalSums>>,
    /// The last owner, so that its connection is closed after all others.
    file: Option<Arc<SqliteFile>>,
    /// Released after all connections are closed.
    _serve_lock: Option<ServeLock>,
}

impl Store {
    /// Connects, applies missing migrations if `settings.migrate` is set, and starts the writer
    /// thread.
    pub fn open(settings: &Settings, metrics: Arc<Metrics>) -> Result<Self, OpenError> {
        let may_create = match settings.purpose {
            Purpose::Serve | Purpose::FirstStep => settings.migrate,
            Purpose::Command => false,
        };
        if let Some(missing) = settings.url.missing_file()?
            && !may_create
        {
            return Err(OpenError::NoDatabase(missing));
        }
        // Before the lock, which would leave a file of that name.
        sqlite_file::refuse_hard_links(&settings.url)
            .map_err(|e| OpenError::Connect(e.to_string()))?;
        let serve_lock = match settings.purpose {
            Purpose::Serve => ServeLock::acquire(&settings.url)?,
            Purpose::FirstStep | Purpose::Command => None,
        };
        if settings.migrate {
            let url = settings
                .postgres
                .migrate_url
                .as_ref()
                .unwrap_or(&settings.url);
            for name in migrations::run(url, &settings.postgres.timeouts)? {
                log::info!("applied migration {name}");
            }
        }
        let file = SqliteFile::open(&settings.url)?.map(Arc::new);
        let connector = DatabaseConnector::new(&settings.url, &settings.postgres);
        let mut connection = connector.connect_writer()?;
        migrations::check(&mut connection)?;
        connector.inspect(&mut connection)?;
        let readers = Arc::new(ReadPool::open(&connector, settings.pool_size)?);
        let turns = || WriteTurns::open(&settings.url);
        let checkpoints = match (&file, turns()?) {
            (Some(file), Some(turns)) => {
                let (connector, file) = (connector.clone(), Arc::clone(file));
                Some(Checkpoints::start(connector, file, turns, &metrics)?)
            }
            (_, None) | (None, _) => None,
        };
        let database = WriterDatabase {
            connector,
            file: file.clone(),
            turns: turns()?.map(Arc::new),
            written: checkpoints.as_ref().map(Checkpoints::written),
        };
        let refusals: Arc<Mutex<RefusalSums>> = Arc::default();
        let (queue, batch, sums) = (settings.queue, settings.batch, Arc::clone(&refusals));
        let writer = Writer::start(database, connection, (queue, batch), sums, metrics)?;
        Ok(Self {
            readers,
            reader_probe: Arc::default(),
            writer,
            _checkpoints: checkpoints,
            refusals,
            file,
            _serve_lock: serve_lock,
        })
    }

    /// Applies missing migrations and returns their names.
    pub fn migrate(url: &DatabaseUrl) -> Result<Vec<String>, OpenError> {
        Self::migrate_within(url, &DatabaseTimeouts::default())
    }

    /// Like [`Self::migrate`], with bounds of its own.
    pub fn migrate_within(
        url: &DatabaseUrl,
        timeouts: &DatabaseTimeouts,
    ) -> Result<Vec<String>, OpenError> {
        migrations::run(url, timeouts).map_err(|error| error.explained(url))
    }

    /// Checks that the database can be reached and written to, and that its schema is the one of
    /// this version. Changes nothing. Returns warnings about what does not prevent the service from
    /// running.
    pub fn check(url: &DatabaseUrl) -> Result<Vec<String>, OpenError> {
        if let Some(missing) = url.missing_file()? {
            return Err(OpenError::NoDatabase(missing));
        }
        let connector = DatabaseConnector::for_command(url);
        let connection = url.connect(IfMissing::Fail);
        let mut connection = connection.map_err(|error| OpenError::from(error).explained(url))?;
        migrations::check(&mut connection)?;
        let writable = connection.check_writable();
        writable.map_err(|e| OpenError::of_query(&e, OpenError::ReadOnly))?;
        connector.inspect(&mut connection)?;
        Ok(Vec::new())
    }

    /// Reads from a database that no store is open for, in a transaction.
    ///
    /// # Errors
    /// If it cannot be reached, or `work` fails.
    pub fn read_once<T>(
        url: &DatabaseUrl,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError>,
    ) -> Result<T, OpenError> {
        let mut connection = url.connect(IfMissing::Fail)?;
        let (timeouts, kind) = (DatabaseTimeouts::default(), TransactionKind::Request);
        let begun = connection::begin_reading(&mut connection, &timeouts, kind, None);
        begun.map_err(|e| {
            OpenError::of_query(&e, |why| OpenError::Read(StoreError::Unavailable(why)))
        })?;
        work(&mut Tx::new(&mut connection)).map_err(OpenError::Read)
    }

    /// Runs `work` in a read-only transaction, which sees one snapshot of the database. Blocks.
    ///
    /// # Errors
    /// [`StoreError`] if the transaction failed, or the error of `work`.
    pub fn read<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.read_as(TransactionKind::Request, work)
    }

    /// Like [`Store::read`], for what may take minutes, such as comparing a whole table.
    ///
    /// # Errors
    /// As for [`Store::read`].
    pub fn read_at_length<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.read_as(TransactionKind::Long, work)
    }

    fn read_as<T, E: From<StoreError>>(
        &self,
        kind: TransactionKind,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let unavailable = |error: &dyn ToString| StoreError::Unavailable(error.to_string());
        // Checked before the wait for a connection too, since no new one can be opened then.
        self.check_file()?;
        let mut connection = self.readers.begin(kind)?;
        if let Err(error) = self.check_file() {
            let _ = connection::roll_back(&mut connection);
            return Err(error.into());
        }
        let outcome = work(&mut Tx::new(&mut connection));
        // Nothing was written, so a rollback ends the transaction as well as a COMMIT.
        let ended = connection::roll_back(&mut connection).map_err(|e| unavailable(&e));
        self.readers.must_be_newest(&connection)?;
        // After a lost connection, only the first error says so.
        let done = outcome?;
        ended?;
        Ok(done)
    }

    /// Decides each order independently and records the decisions, in as few transactions as
    /// possible. The orders wait in the queue of `tenant`, which can be any name; tenants take
    /// turns.
    ///
    /// Returns after COMMIT, with one verdict for each order, in their order. An error in place of
    /// a verdict means that there is no token.
    pub async fn issue(
        &self,
        tenant: &str,
        orders: Vec<MintOrder>,
    ) -> Vec<Result<Verdict, StoreError>> {
        self.writer.issue(tenant, orders).await
    }

    /// Runs `work` in a transaction of this name, queued for the tenant of `actor`. It excludes
    /// minting and other changes on all replicas, and can run more than once; if it fails, it is
    /// rolled back. Returns after COMMIT.
    ///
    /// If the credential of `actor` has ended in the meantime, `work` does not run: the change is
    /// refused, and the refusal recorded.
    ///
    /// # Errors
    /// [`StoreError`] if the transaction failed, or the error of `work`.
    pub async fn change<T, E>(
        &self,
        actor: Actor,
        name: &'static str,
        work: impl FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.writer.change(actor, name, work).await
    }

    /// Like [`Store::change`], but at most once for an idempotency key: what `seal` makes of the
    /// outcome is stored in the same transaction. If `seal` returns `None`, nothing is stored and
    /// the request can be retried.
    ///
    /// # Errors
    /// [`StoreError::Replay`] if the key was used before; otherwise as for [`Store::change`].
    pub async fn change_once<T, E>(
        &self,
        actor: Actor,
        name: &'static str,
        keyed: KeyedRequest,
        mut work: impl FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        mut seal: impl FnMut(&Result<T, E>) -> Result<Option<Vec<u8>>, StoreError> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let once =
            move |tx: &mut Tx<'_>| tables::idempotency_keys::once(tx, &keyed, &mut work, &mut seal);
        self.writer.change(actor, name, once).await?
    }

    /// Writes what no decision reads, in a transaction of this name, while minting continues.
    pub async fn write_alongside<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnMut(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writer.write_alongside(name, work).await
    }

    /// How long one request may wait for the database.
    #[must_use]
    pub fn wait_budget(&self) -> WaitBudget {
        WaitBudget(self.readers.timeouts().request)
    }

    /// How long an order waits for its transaction that is taken after this number of others.
    #[must_use]
    pub fn expected_wait(&self, ahead: usize) -> Duration {
        self.writer.expected_wait(ahead)
    }

    /// How the writer is now. Waits for nothing.
    #[must_use]
    pub fn writer_health(&self) -> WriterHealth {
        self.writer.health()
    }

    /// Checks that the writer thread is alive and that the database can be read. Blocks.
    pub fn ready(&self) -> Result<(), StoreError> {
        if !self.writer.is_alive() {
            return Err(StoreError::Unavailable(
                "the writer thread has ended".to_owned(),
            ));
        }
        self.read(|tx| tx.list_accounts(None, &Page::new(1, None)).map(drop))
    }

    /// Fails if the file of an SQLite database is not the one that was opened.
    fn check_file(&self) -> Result<(), StoreError> {
        self.file.as_ref().map_or(Ok(()), |file| file.check())
    }
}
