//! The watcher of the policies: a thread that looks at their folder again and again.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::block_on;
use crate::authority::{Authority, PolicyWatch};
use crate::config::Policy;
use crate::domain::{Caller, new_id};

/// A running watcher. Dropping it stops the thread, which finishes what it is doing.
#[derive(Debug)]
pub(super) struct PolicyWatcher {
    /// The thread ends when nobody could speak to it any more.
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl PolicyWatcher {
    /// Starts the thread, if there is a folder.
    pub(super) fn start(
        authority: &Arc<Authority>,
        policy: &Policy,
    ) -> std::io::Result<Option<Self>> {
        let Some(dir) = policy.dir.clone() else {
            return Ok(None);
        };
        let interval = Duration::from_secs(policy.poll_interval.into());
        let authority = Arc::clone(authority);
        let (end, ended) = channel::<()>();
        let work = move || {
            let mut watch = PolicyWatch::new(dir);
            while ended.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                let caller = Caller::the_service(new_id(authority.now()));
                block_on(watch.look(&authority, &caller));
            }
        };
        let thread = thread::Builder::new()
            .name("policies".to_owned())
            .spawn(work)?;
        Ok(Some(Self {
            end: Some(end),
            thread: Some(thread),
        }))
    }
}

impl Drop for PolicyWatcher {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
