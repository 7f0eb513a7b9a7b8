//! The pool of read connections.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use diesel::r2d2::R2D2Connection as _;
use parking_lot::{Mutex, RwLock};

use super::abandoned_pools::{AbandonedPools, ConnectAttempts};
use super::connection::{AnyConnection, begin_reading};
use super::connector::{ConnectFailure, DatabaseConnector, IfMissing};
use super::error::{OpenError, Remedy, StoreError};
use super::reader_progress::ReaderProgress;
use super::timelines::BegunOn;
use super::timeouts::{DatabaseTimeouts, TransactionKind};
use crate::telemetry::RepeatedLine;

/// Connections for reading. All of them can break at once, when the database fails over.
#[derive(Debug)]
pub(super) struct ReadPool {
    current: RwLock<CurrentPool>,
    abandoned: Mutex<AbandonedPools>,
    connector: DatabaseConnector,
    size: u32,
    /// Connections that were opened before have to be replaced.
    stale_before: Mutex<Option<Instant>>,
    pub(super) progress: Arc<ReaderProgress>,
}

/// The pool that is used, until it is stuck.
#[derive(Debug, Clone)]
struct CurrentPool {
    pool: r2d2::Pool<Readers>,
    attempts: Arc<ConnectAttempts>,
}

/// A connection of the pool, in a transaction.
pub(super) struct Reading {
    reader: r2d2::PooledConnection<Readers>,
    begun: BegunOn,
    progress: Arc<ReaderProgress>,
}

impl ReadPool {
    pub(super) fn open(connector: &DatabaseConnector, size: u32) -> Result<Self, OpenError> {
        let readers = Readers::new(connector);
        let attempts = Arc::clone(&readers.attempts);
        // The errors of the manager have no secrets.
        let pool = builder(connector, size).build(readers);
        let pool = pool.map_err(|error| OpenError::Connect(error.to_string()))?;
        Ok(Self {
            current: RwLock::new(CurrentPool { pool, attempts }),
            abandoned: Mutex::default(),
            connector: connector.clone(),
            size,
            stale_before: Mutex::new(None),
            progress: Arc::new(ReaderProgress::starting(Instant::now())),
        })
    }

    pub(super) const fn timeouts(&self) -> &DatabaseTimeouts {
        &self.connector.timeouts
    }

    /// Begins a transaction that reads. If the connection turns out to be of no use, as after a
    /// failover, another one is tried once: nothing was read yet.
    pub(super) fn begin(&self, kind: TransactionKind) -> Result<Reading, StoreError> {
        let mut tried = false;
        // Each that is stale is taken out once.
        for _ in 0..=self.size.saturating_add(1) {
            let mut reading = self.take()?;
            let opened = reading.reader.opened;
            if self.stale_before.lock().is_some_and(|at| opened < at) {
                reading.reader.is_useless = true;
                continue;
            }
            let (timeouts, timelines) = (&self.connector.timeouts, &self.connector.timelines);
            let error = match begin_reading(&mut reading, timeouts, kind, Some(timelines)) {
                Ok(begun) => {
                    self.progress.read(Instant::now());
                    reading.begun = begun;
                    return Ok(reading);
                }
                Err(error) => error,
            };
            match &reading.reader.connection {
                AnyConnection::Sqlite(_) => return Err(unavailable(&error)),
                // Its server was restarted, demoted or ended; the others may be on the same one.
                AnyConnection::Postgres(_) => {
                    reading.reader.is_useless = true;
                    if Remedy::for_error(&error) != Remedy::Repeat {
                        self.replace_connections();
                    }
                }
            }
            if std::mem::replace(&mut tried, true) {
                return Err(unavailable(&error));
            }
        }
        Err(unavailable(&"no read connection works"))
    }

    /// Fails if a newer primary was found since the transaction began, so what was read may be old.
    pub(super) fn must_be_newest(&self, reading: &Reading) -> Result<(), StoreError> {
        if self.connector.timelines.is_newest(reading.begun) {
            return Ok(());
        }
        Err(unavailable(&"the primary was replaced while it was read"))
    }

    /// From now on, only connections are used that are opened afterwards.
    pub(super) fn replace_connections(&self) {
        *self.stale_before.lock() = Some(Instant::now());
    }

    /// How many connections are in use, and how many wait for use.
    pub(super) fn busy_and_idle(&self) -> (u32, u32) {
        let state = self.current.read().pool.state();
        let busy = state.connections.saturating_sub(state.idle_connections);
        (busy, state.idle_connections)
    }

    fn take(&self) -> Result<Reading, StoreError> {
        let current = self.current.read().clone();
        let reader = match current.pool.get() {
            Ok(reader) => reader,
            Err(_) if self.replace_stuck(&current, Instant::now()) => {
                let pool = self.current.read().pool.clone();
                pool.get().map_err(|error| unavailable(&error))?
            }
            Err(error) => return Err(unavailable(&error)),
        };
        Ok(Reading {
            reader,
            begun: BegunOn::default(),
            progress: Arc::clone(&self.progress),
        })
    }

    /// Replaces a pool that hangs, so that no connection came back for long: all of them are in
    /// use, or it hangs where it opens one. Their server may be frozen, and another one may be
    /// there by now. Nothing in this process can interrupt such a wait, so the pool is abandoned:
    /// it ends when the wait does.
    fn replace_stuck(&self, stuck: &CurrentPool, now: Instant) -> bool {
        let mut abandoned = self.abandoned.lock();
        if !Arc::ptr_eq(&self.current.read().attempts, &stuck.attempts) {
            // Another thread has replaced it.
            return true;
        }
        let longest = self.connector.timeouts.request;
        let state = stuck.pool.state();
        let hangs = state.connections >= self.size || stuck.attempts.hang(now, longest);
        if state.idle_connections > 0 || !hangs || !self.progress.is_quiet(now, longest) {
            return false;
        }
        if !abandoned.add(&stuck.attempts, now) {
            return false;
        }
        log::error!("no read connection has been returned for long, so others are opened");
        self.progress.returned(now);
        let readers = Readers::new(&self.connector);
        let attempts = Arc::clone(&readers.attempts);
        let pool = builder(&self.connector, self.size).build_unchecked(readers);
        *self.current.write() = CurrentPool { pool, attempts };
        true
    }
}

fn builder(connector: &DatabaseConnector, size: u32) -> r2d2::Builder<Readers> {
    let longest =
        (connector.timeouts.request / 2).clamp(Duration::from_millis(100), Duration::from_secs(5));
    r2d2::Pool::builder()
        .max_size(size)
        .min_idle(Some(1))
        // A request that waits longer for a connection gets 503.
        .connection_timeout(longest)
        // Saves a round trip for each read; `has_broken` discards a failed connection anyway.
        .test_on_check_out(false)
        .error_handler(Box::<LogPoolErrors>::default())
}

fn unavailable(error: &dyn ToString) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

impl Deref for Reading {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        &self.reader.connection
    }
}

impl DerefMut for Reading {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.reader.connection
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.progress.returned(Instant::now());
    }
}

/// Opens the connections of the pool.
#[derive(Debug)]
pub(super) struct Readers {
    connector: DatabaseConnector,
    attempts: Arc<ConnectAttempts>,
}

impl Readers {
    fn new(connector: &DatabaseConnector) -> Self {
        Self {
            connector: connector.clone(),
            attempts: Arc::default(),
        }
    }
}

pub(super) struct ReadConnection {
    connection: AnyConnection,
    opened: Instant,
    /// It is closed instead of being returned to the pool.
    is_useless: bool,
}

/// Why a connection of the pool failed; without secrets.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReaderFailure {
    #[error(transparent)]
    Connect(#[from] ConnectFailure),
    #[error(transparent)]
    Query(#[from] diesel::result::Error),
}

impl r2d2::ManageConnection for Readers {
    type Connection = ReadConnection;
    type Error = ReaderFailure;

    fn connect(&self) -> Result<ReadConnection, ReaderFailure> {
        let _attempt = self.attempts.begin(Instant::now());
        Ok(ReadConnection {
            connection: self.connector.connect(IfMissing::Fail)?,
            opened: Instant::now(),
            is_useless: false,
        })
    }

    fn is_valid(&self, reader: &mut ReadConnection) -> Result<(), ReaderFailure> {
        Ok(reader.connection.batch_execute("SELECT 1")?)
    }

    fn has_broken(&self, reader: &mut ReadConnection) -> bool {
        // A panic can leave a transaction open.
        reader.is_useless || std::thread::panicking() || reader.connection.is_broken()
    }
}

/// A pool whose database is away tries several times a second.
#[derive(Debug, Default)]
struct LogPoolErrors(RepeatedLine);

impl r2d2::HandleError<ReaderFailure> for LogPoolErrors {
    fn handle_error(&self, error: ReaderFailure) {
        if let Some(left_out) = self.0.left_out(Instant::now()) {
            log::warn!(left_out; "a read connection failed: {error}");
        }
    }
}
