//! Periodic background work of the service. Each job has a thread of its own.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use actix_web::rt;
use actix_web::rt::signal::unix::{SignalKind, signal};

use super::block_on;
use crate::api::Service;
use crate::authority::{Authority, PolicyWatch, ScanMode};
use crate::config::Config;
use crate::domain::{Caller, new_id};

/// How often expired idempotency keys are deleted.
const EXPIRE_KEYS_INTERVAL: Duration = Duration::from_secs(60);
/// How often the time at which API keys were last used is written to the database.
const WRITE_KEY_USES_INTERVAL: Duration = Duration::from_secs(30);
/// The pause between two runs while work is left, so that other jobs get their turn at the writer.
const PAUSE: Duration = Duration::from_millis(20);

/// Starts all periodic work. Must be called inside [`block_on`], because SIGHUP also triggers a
/// scan for certificates.
pub(super) fn start(service: &Arc<Service>, config: &Config) -> io::Result<Vec<Periodic>> {
    let mut all = Vec::new();

    let authority = Arc::clone(&service.authority);
    all.push(Periodic::start(
        "idempotency",
        EXPIRE_KEYS_INTERVAL,
        move |_| expire_idempotency_keys(&authority),
    )?);

    let shared = Arc::clone(service);
    all.push(Periodic::start(
        "api-key-uses",
        WRITE_KEY_USES_INTERVAL,
        move |_| {
            block_on(write_api_key_uses(&shared));
            PollProgress::Done
        },
    )?);

    if service.authority.signs() {
        let authority = Arc::clone(&service.authority);
        let interval = Duration::from_secs(config.signer.poll_interval.into());
        let signers = Periodic::start("signers", interval, move |trigger| {
            reload_signers(&authority, trigger);
            PollProgress::Done
        })?;
        signers.run_at_hangups()?;
        all.push(signers);
    }

    if let Some(dir) = config.policy.dir.clone() {
        let authority = Arc::clone(&service.authority);
        let interval = Duration::from_secs(config.policy.poll_interval.into());
        let mut watch = PolicyWatch::new(dir);
        all.push(Periodic::start("policies", interval, move |_| {
            let caller = Caller::the_service(new_id(authority.now()));
            block_on(watch.poll(&authority, &caller));
            PollProgress::Done
        })?);
    }
    Ok(all)
}

/// Deletes a bounded number of expired idempotency keys.
fn expire_idempotency_keys(authority: &Authority) -> PollProgress {
    match block_on(authority.forget_keys()) {
        Ok(true) => PollProgress::Unfinished,
        Ok(false) => PollProgress::Done,
        Err(error) => {
            log::warn!("expired idempotency keys cannot be deleted; retrying later: {error}");
            PollProgress::Done
        }
    }
}

/// Writes to the database when API keys were last used, and the hashes that were made anew at that.
pub(super) async fn write_api_key_uses(service: &Service) {
    let keys = service.callers.api_keys();
    if let Err(error) = keys.write_uses().await {
        log::warn!("cannot record when API keys were last used: {error}");
    }
    if let Err(error) = keys.write_rehashes().await {
        log::warn!(
            "cannot store API keys that were hashed anew; retrying at their next use: {error}"
        );
    }
}

/// Scans for new certificates, and agrees on them with the other replicas.
fn reload_signers(authority: &Authority, trigger: Trigger) {
    let patience = match trigger {
        Trigger::Interval => ScanMode::Polled,
        Trigger::Hangup => {
            log::info!("SIGHUP: scanning for certificates");
            ScanMode::Asked
        }
    };
    let caller = Caller::the_service(new_id(authority.now()));
    let agreed = authority
        .look_for_signers(patience)
        .and_then(|found| block_on(authority.agree_on_signers(&caller, found)));
    if let Err(error) = agreed {
        log::warn!("keeping the current certificates: {error}");
    }
}

/// A named thread that runs some work periodically. Dropping it stops the thread, after waiting for
/// a run in progress.
#[derive(Debug)]
pub(super) struct Periodic {
    messages: Sender<Message>,
    thread: Option<JoinHandle<()>>,
}

/// What started a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trigger {
    Interval,
    Hangup,
}

/// Whether a run has finished its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PollProgress {
    Done,
    /// There is more to do: the next run follows after a short pause.
    Unfinished,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    Hangup,
    Stop,
}

impl Periodic {
    /// Starts the thread. The first run is after one interval.
    fn start(
        name: &str,
        interval: Duration,
        mut work: impl FnMut(Trigger) -> PollProgress + Send + 'static,
    ) -> io::Result<Self> {
        let (messages, received) = channel();
        let repeat = move || {
            let mut wait = interval;
            loop {
                let trigger = match received.recv_timeout(wait) {
                    Err(RecvTimeoutError::Timeout) => Trigger::Interval,
                    Ok(Message::Hangup) => Trigger::Hangup,
                    Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                };
                wait = match work(trigger) {
                    PollProgress::Done => interval,
                    PollProgress::Unfinished => PAUSE,
                };
            }
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(repeat)?;
        Ok(Self {
            messages,
            thread: Some(thread),
        })
    }

    /// Also runs the work at each SIGHUP. Must be called inside [`block_on`].
    fn run_at_hangups(&self) -> io::Result<()> {
        let mut hangups = signal(SignalKind::hangup())?;
        let messages = self.messages.clone();
        rt::spawn(async move {
            while hangups.recv().await.is_some() {
                if messages.send(Message::Hangup).is_err() {
                    return;
                }
            }
        });
        Ok(())
    }
}

impl Drop for Periodic {
    fn drop(&mut self) {
        // A message is needed, because the task that waits for SIGHUP keeps the channel open.
        let _ = self.messages.send(Message::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn work_is_repeated_until_it_is_dropped() {
        let (ran, runs) = channel();
        let work = move |trigger| {
            let _ = ran.send(trigger);
            PollProgress::Done
        };
        let periodic = Periodic::start("test", Duration::from_millis(1), work).expect("a thread");
        for _ in 0..3 {
            assert_eq!(runs.recv(), Ok(Trigger::Interval));
        }
        drop(periodic);
        // The thread has ended and dropped the work, so the channel closes.
        while runs.recv().is_ok() {}
    }

    #[test]
    fn unfinished_work_continues_without_waiting_for_the_interval() {
        let (ran, runs) = channel();
        let mut left = 3;
        let work = move |trigger| {
            left -= 1;
            let _ = ran.send(trigger);
            match left {
                0 => PollProgress::Done,
                _ => PollProgress::Unfinished,
            }
        };
        let periodic = Periodic::start("test", LONG, work).expect("a thread");
        periodic.messages.send(Message::Hangup).expect("sent");
        assert_eq!(runs.recv(), Ok(Trigger::Hangup));
        assert_eq!(runs.recv(), Ok(Trigger::Interval));
        assert_eq!(runs.recv(), Ok(Trigger::Interval));
        let started = Instant::now();
        drop(periodic);
        assert!(started.elapsed() < LONG / 60);
        assert!(runs.recv().is_err());
    }
}
