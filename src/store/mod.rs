//! The only room that knows diesel: connections, migrations, the thread that writes, one file a table group.
//!
//! Nothing outside sees a row: what goes in and out are the types of `domain`. Reading takes a connection from a pool and
//! blocks; writing goes through one thread with group commit and answers after COMMIT.

mod actor;
mod connection;
mod error;
mod locks;
mod migrations;
mod mint;
mod page;
mod requester;
mod schema;
mod server_messages;
mod tables;
mod tx;
mod writer;

pub use connection::DatabaseUrl;
pub use error::{OpenError, StoreError};
pub use locks::AUTHORITY_LOCK;
pub use page::{Page, PageOf};
pub use requester::{Requester, Sealing};
pub use tables::accounts::Within;
pub use tables::api_keys::KeptApiKey;
pub use tables::audit_events::EventFilter;
pub use tables::grants::GrantFilter;
pub use tables::imports::TouchedNumbers;
pub use tables::overlap::Versions;
pub use tables::withdrawals::{Loss, Swept};
pub use tx::Tx;
pub use writer::Verdict;

use std::sync::Arc;
use std::time::Duration;

use crate::domain::Actor;
use crate::domain::issuance::{KeyedRequest, MintOrder};
use crate::telemetry::Metrics;
use writer::Writer;

/// How a store is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    pub url: DatabaseUrl,
    /// How many connections read at once.
    pub pool_size: u32,
    /// Whether missing migrations are applied on opening.
    pub migrate: bool,
    /// How many jobs may wait for the thread that writes.
    pub queue: usize,
    /// How many of them one transaction may take.
    pub batch: usize,
}

/// The database: readers and one writer.
#[derive(Debug)]
pub struct Store {
    readers: r2d2::Pool<connection::Readers>,
    writer: Writer,
}

impl Store {
    /// Opens the database, brings its schema up to date if it may, and starts the thread that writes.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong and what to do.
    pub fn open(settings: &Settings, metrics: Arc<Metrics>) -> Result<Self, OpenError> {
        if settings.migrate {
            for name in migrations::run(&settings.url)? {
                log::info!("applied migration {name}");
            }
        }
        let unreachable =
            |error: &dyn ToString| OpenError::Connect(settings.url.without_secrets(error));
        let mut connection = settings.url.connect().map_err(|e| unreachable(&e))?;
        migrations::check(&mut connection)?;
        let readers = r2d2::Pool::builder()
            .max_size(settings.pool_size)
            .min_idle(Some(1))
            .connection_timeout(Duration::from_secs(5))
            .test_on_check_out(false)
            .error_handler(Box::new(LogPoolErrors))
            .build(connection::Readers(settings.url.clone()))
            .map_err(|e| unreachable(&e))?;
        let url = settings.url.clone();
        let writer = Writer::start(url, connection, settings.queue, settings.batch, metrics)?;
        Ok(Self { readers, writer })
    }

    /// Applies missing migrations, and names them.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong and what to do.
    pub fn migrate(url: &DatabaseUrl) -> Result<Vec<String>, OpenError> {
        migrations::run(url)
    }

    /// Checks that the database answers, that its schema is the one of this version, and that it can be written to, without
    /// changing it. Returns warnings: what does not keep the service from running.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong and what to do.
    pub fn check(url: &DatabaseUrl) -> Result<Vec<String>, OpenError> {
        let connection = url.connect();
        let mut connection = connection.map_err(|e| OpenError::Connect(url.without_secrets(&e)))?;
        migrations::check(&mut connection)?;
        let begun = connection.begin_to_write();
        begun.map_err(|e| OpenError::ReadOnly(url.without_secrets(&e)))?;
        let warning = server_messages::warning(&mut connection);
        let warning = warning.map_err(|e| OpenError::Connect(url.without_secrets(&e)))?;
        Ok(warning.into_iter().collect())
    }

    /// Asks questions of one state of the database. Blocks.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot answer, or whatever `work` returns.
    pub fn read<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let unavailable = |error: &dyn ToString| StoreError::Unavailable(error.to_string());
        let mut connection = self.readers.get().map_err(|e| unavailable(&e))?;
        connection::begin_reading(&mut connection).map_err(|e| unavailable(&e))?;
        let outcome = work(&mut Tx::new(&mut connection));
        connection::roll_back(&mut connection).map_err(|e| unavailable(&e))?;
        outcome
    }

    /// Decides orders, each for itself, and records what was decided, in as few transactions as possible. They wait in the
    /// lane of a tenant, which is any name: lanes take turns. Each verdict comes after COMMIT; they are in the order of the
    /// orders. Where there is an error in place of a verdict, there is no token.
    pub async fn issue(
        &self,
        lane: &str,
        orders: Vec<MintOrder>,
    ) -> Vec<Result<Verdict, StoreError>> {
        self.writer.issue(lane, orders).await
    }

    /// Changes what is kept, in a transaction of this name, in the lane of whoever acts. `work` runs alone, on all replicas,
    /// and may run more than once; if it fails, nothing of it stays. Answers after COMMIT. It does not run at all if what
    /// proved whoever it is for has ended meanwhile: that is refused, and recorded.
    ///
    /// # Errors
    /// [`StoreError`] if that could not be done, or whatever `work` returns.
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

    /// The same for a request that may come again: it is done once, and what `seal` makes of the outcome is kept in the
    /// same transaction. What `seal` makes nothing of is not kept, and can be tried again.
    ///
    /// # Errors
    /// [`StoreError::Replay`] if the request was here before; [`StoreError`] if that could not be done, or whatever
    /// `work` returns.
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

    /// Changes what no decision looks at, in a transaction of this name, so that minting goes on beside it.
    ///
    /// # Errors
    /// [`StoreError`] if that could not be done.
    pub async fn write_alongside<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnMut(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writer.write_alongside(name, work).await
    }

    /// Checks that the store can read and write now. Blocks.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot.
    pub fn ready(&self) -> Result<(), StoreError> {
        if !self.writer.is_alive() {
            return Err(StoreError::Unavailable(
                "the thread that writes has ended".to_owned(),
            ));
        }
        self.read(|tx| tx.list_accounts(None, &Page::new(1, None)).map(drop))
    }
}

#[derive(Debug)]
struct LogPoolErrors;

impl r2d2::HandleError<diesel::r2d2::Error> for LogPoolErrors {
    fn handle_error(&self, error: diesel::r2d2::Error) {
        log::warn!("a reading connection failed: {error}");
    }
}
