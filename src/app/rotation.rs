//! The watcher: a thread that looks for new certificates, again and again, and whenever SIGHUP asks it to.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use actix_web::rt;
use actix_web::rt::signal::unix::{SignalKind, signal};

use super::block_on;
use crate::authority::{Authority, Patience};
use crate::domain::{Caller, new_id};

/// A running watcher. Dropping it stops the thread, which finishes what it is doing.
#[derive(Debug)]
pub(super) struct Watcher {
    asks: Sender<Ask>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    Look,
    Stop,
}

impl Watcher {
    /// Starts the thread. Must be called where [`block_on`] runs, since it also waits for SIGHUP.
    pub(super) fn start(authority: Arc<Authority>, interval: Duration) -> std::io::Result<Self> {
        let (asks, asked) = channel();
        let mut hangups = signal(SignalKind::hangup())?;
        let on_hangup = asks.clone();
        rt::spawn(async move {
            while hangups.recv().await.is_some() {
                log::info!("SIGHUP: looking for certificates");
                if on_hangup.send(Ask::Look).is_err() {
                    return;
                }
            }
        });
        let work = move || {
            loop {
                let patience = match asked.recv_timeout(interval) {
                    Ok(Ask::Look) => Patience::Asked,
                    Err(RecvTimeoutError::Timeout) => Patience::Polled,
                    Ok(Ask::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                };
                look(&authority, patience);
            }
        };
        let thread = thread::Builder::new()
            .name("signers".to_owned())
            .spawn(work)?;
        Ok(Self {
            asks,
            thread: Some(thread),
        })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.asks.send(Ask::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn look(authority: &Authority, patience: Patience) {
    let caller = Caller::the_service(new_id(authority.now()));
    let agreed = authority
        .look_for_signers(patience)
        .and_then(|found| block_on(authority.agree_on_signers(&caller, found)));
    if let Err(error) = agreed {
        log::warn!("the certificates stay as they are: {error}");
    }
}
