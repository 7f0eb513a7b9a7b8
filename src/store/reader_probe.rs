//! Shows that connections for reading work, while no request reads. A replica that can write and
//! not read issues no tokens: it does not get to know the keys of its callers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Store;
use super::connection::{AnyConnection, roll_back};
use super::readers::ReadPool;
use super::timeouts::TransactionKind;

/// The read that is under way, if there is one.
#[derive(Debug, Default)]
pub(super) struct ReaderProbe(Mutex<RunningProbe>);

#[derive(Debug, Default)]
struct RunningProbe {
    number: u64,
    since: Option<Instant>,
}

impl Store {
    /// When the database last answered a connection for reading.
    #[must_use]
    pub fn last_read(&self) -> Instant {
        self.readers.progress.last_read()
    }

    /// Reads, unless a request has done so within `interval`. On PostgreSQL, whose wait can have
    /// no end, this is done by another thread.
    pub fn probe_readers(&self, interval: Duration) {
        let now = Instant::now();
        if now.saturating_duration_since(self.last_read()) < interval {
            return;
        }
        if self.file.is_some() {
            // It is not read if it is not the one that was opened. Its wait has an end.
            if self.check_file().is_ok() {
                read(&self.readers);
            }
            return;
        }
        let longest = self.readers.timeouts().request;
        let Some(number) = self.reader_probe.begin(now, longest, &self.readers) else {
            return;
        };
        let (probe, readers) = (Arc::clone(&self.reader_probe), Arc::clone(&self.readers));
        let thread = std::thread::Builder::new().name("reader-probe".to_owned());
        let started = thread.spawn(move || {
            read(&readers);
            probe.end(number);
        });
        if let Err(error) = started {
            log::warn!("the read connections cannot be checked: {error}");
            self.reader_probe.end(number);
        }
    }
}

impl ReaderProbe {
    /// Begins a read, unless another is under way. One that hangs is left alone: it occupies its
    /// connection, so only as many can hang as there are connections. Those that were opened
    /// before it are not used any more, since their server may be frozen as well.
    fn begin(&self, now: Instant, longest: Duration, readers: &ReadPool) -> Option<u64> {
        let mut running = self.0.lock();
        if let Some(since) = running.since {
            if now.saturating_duration_since(since) < longest * 2 {
                return None;
            }
            readers.replace_connections();
        }
        running.number += 1;
        running.since = Some(now);
        Some(running.number)
    }

    fn end(&self, number: u64) {
        let mut running = self.0.lock();
        if running.number == number {
            running.since = None;
        }
    }
}

/// That a transaction begins is noted by the pool.
fn read(readers: &ReadPool) {
    match readers.begin(TransactionKind::Request) {
        Ok(mut reading) => {
            let connection: &mut AnyConnection = &mut reading;
            if let Err(error) = roll_back(connection) {
                log::debug!("a read connection failed: {error}");
            }
        }
        Err(error) => log::debug!("no read connection works: {error}"),
    }
}
