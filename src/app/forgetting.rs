//! Forgets the keys of requests whose time is over: again and again, a few at once, on a thread of its own.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::block_on;
use crate::authority::Authority;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(60);
/// Between two transactions of one look, so that the writer is free for others.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks until it is dropped.
#[derive(Debug)]
pub(super) struct Forgetting {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Forgetting {
    pub(super) fn start(authority: Arc<Authority>) -> std::io::Result<Self> {
        let (stop, stopped) = channel();
        let work = move || {
            let mut wait = INTERVAL;
            while stopped.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                wait = match block_on(authority.forget_keys()) {
                    Ok(true) => PAUSE,
                    Ok(false) => INTERVAL,
                    Err(error) => {
                        log::warn!("old idempotency keys stay for now: {error}");
                        INTERVAL
                    }
                };
            }
        };
        let thread = thread::Builder::new()
            .name("idempotency".to_owned())
            .spawn(work)?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Forgetting {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
