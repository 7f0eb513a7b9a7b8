//! The pool of read connections.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use diesel::r2d2::R2D2Connection as _;
use parking_lot::{Mutex, RwLock};

use super::connection::{AnyConnection, begin_reading};
use super::connector::{ConnectFailure, DatabaseConnector, IfMissing};
use super::error::{OpenError, Remedy, StoreError};
use super::timeouts::{DatabaseTimeouts, TransactionKind};
use crate::telemetry::RepeatedLine;

/// Connections for reading. All of them can break at once, when the database fails over.
#[derive(Debug)]
pub(super) struct ReadPool {
    pool: RwLock<r2d2::Pool<Readers>>,
    connector: DatabaseConnector,
    size: u32,
    /// Connections that were opened before have to be replaced.
    stale_before: Mutex<Option<Instant>>,
    /// When a connection was last returned, or the pool replaced.
    last_return: Arc<Mutex<Instant>>,
}

/// A connection of the pool, in a transaction.
pub(super) struct Reading {
    reader: r2d2::PooledConnection<Readers>,
    last_return: Arc<Mutex<Instant>>,
}

impl ReadPool {
    pub(super) fn open(connector: &DatabaseConnector, size: u32) -> Result<Self, OpenError> {
        let pool = builder(connector, size).build(Readers(connector.clone()));
        // The errors of the manager have no secrets.
        let pool = pool.map_err(|error| OpenError::Connect(error.to_string()))?;
        Ok(Self {
            pool: RwLock::new(pool),
            connector: connector.clone(),
            size,
            stale_before: Mutex::new(None),
            last_return: Arc::new(Mutex::new(Instant::now())),
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
            let Err(error) = begin_reading(&mut reading, &self.connector.timeouts, kind) else {
                return Ok(reading);
            };
            match &reading.reader.connection {
                AnyConnection::Sqlite(_) => return Err(unavailable(&error)),
                // Its server was restarted, demoted or ended; the others may be on the same one.
                AnyConnection::Postgres(_) => {
                    reading.reader.is_useless = true;
                    if Remedy::for_error(&error) != Remedy::Repeat {
                        *self.stale_before.lock() = Some(Instant::now());
                    }
                }
            }
            if std::mem::replace(&mut tried, true) {
                return Err(unavailable(&error));
            }
        }
        Err(unavailable(&"no read connection works"))
    }

    /// How many connections are in use, and how many wait for use.
    pub(super) fn busy_and_idle(&self) -> (u32, u32) {
        let state = self.pool.read().state();
        let busy = state.connections.saturating_sub(state.idle_connections);
        (busy, state.idle_connections)
    }

    fn take(&self) -> Result<Reading, StoreError> {
        let pool = self.pool.read().clone();
        let reader = match pool.get() {
            Ok(reader) => reader,
            Err(_) if self.replace_stuck(&pool) => {
                let pool = self.pool.read().clone();
                pool.get().map_err(|error| unavailable(&error))?
            }
            Err(error) => return Err(unavailable(&error)),
        };
        Ok(Reading {
            reader,
            last_return: Arc::clone(&self.last_return),
        })
    }

    /// Replaces a pool all of whose connections are in use and none of which came back for long:
    /// their server may be frozen, and another one may be there by now.
    fn replace_stuck(&self, stuck: &r2d2::Pool<Readers>) -> bool {
        let state = stuck.state();
        let mut last_return = self.last_return.lock();
        let all_in_use = state.idle_connections == 0 && state.connections >= self.size;
        if !all_in_use || last_return.elapsed() < self.connector.timeouts.request {
            return false;
        }
        log::error!("no read connection has been returned for long, so others are opened");
        *last_return = Instant::now();
        let new = builder(&self.connector, self.size);
        *self.pool.write() = new.build_unchecked(Readers(self.connector.clone()));
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
        *self.last_return.lock() = Instant::now();
    }
}

/// Opens the connections of the pool.
#[derive(Debug)]
pub(super) struct Readers(DatabaseConnector);

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
        Ok(ReadConnection {
            connection: self.0.connect(IfMissing::Fail)?,
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
