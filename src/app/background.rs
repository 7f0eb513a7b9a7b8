//! Periodic background work of the service. Each job has a thread of its own, which survives what
//! goes wrong in one run: an error or a panic is logged, counted, and tried again.

mod availability;

use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::file_reload::FileReload;
use super::http::ListenerTls;
use super::signals::Signals;
use super::supervisor::Supervisor;
use crate::api::Service;
use crate::authority::{Authority, PolicyWatch, ReproofRun, ScanMode};
use crate::config::Config;
use crate::domain::{Caller, new_id};
use crate::store::{DatabaseUrl, Waiter};
use crate::telemetry::RunningTask;

/// How often expired idempotency keys are deleted.
const EXPIRE_KEYS_INTERVAL: Duration = Duration::from_secs(60);
/// How often the time at which API keys were last used is written to the database.
const WRITE_KEY_USES_INTERVAL: Duration = Duration::from_secs(30);
/// How often the sums of refused tokens are written.
const WRITE_REFUSALS_INTERVAL: Duration = Duration::from_secs(1);
/// How often rights to renew are checked whose numbers have to be proven again.
const REPROOF_INTERVAL: Duration = Duration::from_secs(1);
/// The pause between two runs while work is left, so that other jobs get their turn at the writer.
const PAUSE: Duration = Duration::from_millis(20);

/// Starts all periodic work. Must be called inside [`super::block_on`], because SIGHUP also
/// triggers a scan for certificates, and that files are read again.
pub(super) fn start(
    service: &Arc<Service>,
    config: &Config,
    tls: Option<Arc<ListenerTls>>,
    (supervisor, signals): (&Arc<Supervisor>, &Signals),
    url: &DatabaseUrl,
) -> io::Result<Vec<Periodic>> {
    let tasks = &service.authority.metrics().background;
    let mut all = availability::start(service, config, supervisor, url)?;

    let authority = Arc::clone(&service.authority);
    all.push(Periodic::start(
        tasks.start("idempotency"),
        EXPIRE_KEYS_INTERVAL,
        move |waiter, _| expire_idempotency_keys(&authority, waiter),
    )?);

    let shared = Arc::clone(service);
    all.push(Periodic::start(
        tasks.start("api-key-uses"),
        WRITE_KEY_USES_INTERVAL,
        move |waiter, _| waiter.wait(write_api_key_uses(&shared)),
    )?);

    let authority = Arc::clone(&service.authority);
    all.push(Periodic::start(
        tasks.start("refusals"),
        WRITE_REFUSALS_INTERVAL,
        move |waiter, _| waiter.wait(write_refusal_sums(&authority, false)),
    )?);

    let authority = Arc::clone(&service.authority);
    all.push(Periodic::start(
        tasks.start("control"),
        REPROOF_INTERVAL,
        move |waiter, _| prove_control_again(&authority, waiter),
    )?);

    let reading = all.len();
    if service.authority.signs() {
        let authority = Arc::clone(&service.authority);
        let interval = Duration::from_secs(config.signer.poll_interval.into());
        let task = tasks.start("signers");
        let signers = Periodic::start(task, interval, move |waiter, trigger| {
            reload_signers(&authority, waiter, trigger)
        })?;
        all.push(signers);
    }

    let mut files = FileReload::new(Arc::clone(service), tls);
    let interval = Duration::from_secs(config.server.tls_poll_interval.into());
    all.push(Periodic::start(
        tasks.start("files"),
        interval,
        move |_, trigger| {
            files.poll(trigger == Trigger::Hangup);
            Ok(PollProgress::Done)
        },
    )?);
    run_at_hangups(tasks.start("hangups"), &all[reading..], signals)?;

    if let Some(dir) = config.policy.dir.clone() {
        let authority = Arc::clone(&service.authority);
        let interval = Duration::from_secs(config.policy.poll_interval.into());
        let mut watch = PolicyWatch::new(dir);
        let task = tasks.start("policies");
        all.push(Periodic::start(task, interval, move |waiter, _| {
            let caller = Caller::the_service(new_id(authority.now()));
            // It reports what is wrong with the folder itself, by a metric of its own.
            waiter.wait(watch.poll(&authority, &caller));
            Ok(PollProgress::Done)
        })?);
    }
    Ok(all)
}

/// Deletes a bounded number of expired idempotency keys.
fn expire_idempotency_keys(authority: &Authority, waiter: &Waiter) -> RunOutcome {
    match waiter.wait(authority.forget_keys()) {
        Ok(true) => Ok(PollProgress::Unfinished),
        Ok(false) => Ok(PollProgress::Done),
        Err(error) => failed("expired idempotency keys cannot be deleted", &error),
    }
}

/// Reports a bounded number of proofs that failed, and starts a bounded number of new ones.
fn prove_control_again(authority: &Authority, waiter: &Waiter) -> RunOutcome {
    let reported = match waiter.wait(authority.report_failures()) {
        Ok(more) => more,
        Err(error) => return failed("proofs of control that failed cannot be reported", &error),
    };
    let started = Instant::now();
    match waiter.wait(authority.reproof()) {
        Ok(run) if run.rights > 0 => Ok(PollProgress::UnfinishedAfter(ReproofRun::pause(
            started.elapsed(),
        ))),
        Ok(_) if reported => Ok(PollProgress::Unfinished),
        Ok(_) => Ok(PollProgress::Done),
        Err(error) => failed("control cannot be proven again", &error),
    }
}

/// Writes to the database when API keys were last used, and the hashes that were made anew at that.
async fn write_api_key_uses(service: &Service) -> RunOutcome {
    let keys = service.callers.api_keys();
    let uses = keys.write_uses().await;
    let rehashes = keys.write_rehashes().await;
    match (uses, rehashes) {
        (Ok(()), Ok(())) => Ok(PollProgress::Done),
        (Err(error), _) => failed("cannot record when API keys were last used", &error),
        (Ok(()), Err(error)) => failed("cannot store API keys that were hashed anew", &error),
    }
}

/// Writes the sums of refused tokens of the seconds that are over, or all.
async fn write_refusal_sums(authority: &Authority, all: bool) -> RunOutcome {
    let now = authority.now();
    match authority.store().write_refusal_sums(now, all).await {
        Ok(()) => Ok(PollProgress::Done),
        Err(error) => failed("the sums of refused tokens cannot be recorded", &error),
    }
}

/// Writes what is still in memory when the service stops.
pub(super) async fn write_the_rest(service: &Service) {
    let sums = write_refusal_sums(&service.authority, true).await;
    let uses = write_api_key_uses(service).await;
    let left = service.authority.leave().await;
    let left = left.map(|()| PollProgress::Done).map_err(|e| e.to_string());
    for error in [sums, uses, left].into_iter().filter_map(Result::err) {
        log::warn!("{error}");
    }
}

/// Scans for new certificates, and agrees on them with the other replicas.
fn reload_signers(authority: &Authority, waiter: &Waiter, trigger: Trigger) -> RunOutcome {
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
        .and_then(|found| waiter.wait(authority.agree_on_signers(&caller, found)));
    match agreed {
        Ok(()) => Ok(PollProgress::Done),
        Err(error) => failed("keeping the current certificates", &error),
    }
}

fn failed(what: &str, error: &dyn Display) -> RunOutcome {
    Err(format!("{what}: {error}"))
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
    /// There is more to do: the next run follows after this pause.
    UnfinishedAfter(Duration),
}

/// How a run ended, or why it failed.
type RunOutcome = Result<PollProgress, String>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    Hangup,
    Stop,
}

impl Periodic {
    /// Starts the thread. The first run is after one interval.
    fn start(
        task: RunningTask,
        interval: Duration,
        work: impl FnMut(&Waiter, Trigger) -> RunOutcome + Send + 'static,
    ) -> io::Result<Self> {
        let (messages, received) = channel();
        let name = task.name().to_owned();
        let repeat = move || repeat(task, interval, &received, work);
        let thread = thread::Builder::new().name(name).spawn(repeat)?;
        Ok(Self {
            messages,
            thread: Some(thread),
        })
    }
}

/// Also runs this work at each SIGHUP. Must be called inside [`super::block_on`].
fn run_at_hangups(task: RunningTask, work: &[Periodic], signals: &Signals) -> io::Result<()> {
    let work: Vec<Sender<Message>> = work.iter().map(|one| one.messages.clone()).collect();
    let mut task = Some(task);
    signals.at_hangups(move || {
        let sent = work.iter().map(|one| one.send(Message::Hangup));
        let is_used = sent.flatten().count() > 0;
        if !is_used && let Some(task) = task.take() {
            task.stop();
        }
        is_used
    })
}

fn repeat(
    task: RunningTask,
    interval: Duration,
    received: &Receiver<Message>,
    mut work: impl FnMut(&Waiter, Trigger) -> RunOutcome,
) {
    // Built once: a runtime for each run would fail whenever file descriptors run out.
    let waiter = match Waiter::new() {
        Ok(waiter) => waiter,
        Err(error) => return task.failed(&error),
    };
    let mut wait = interval;
    loop {
        let trigger = match received.recv_timeout(wait) {
            Err(RecvTimeoutError::Timeout) => Trigger::Interval,
            Ok(Message::Hangup) => Trigger::Hangup,
            Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return task.stop(),
        };
        let outcome = task.attempt(|| work(&waiter, trigger));
        wait = match outcome {
            Some(Ok(PollProgress::Unfinished)) => PAUSE,
            Some(Ok(PollProgress::UnfinishedAfter(pause))) => pause,
            Some(Ok(PollProgress::Done)) | None => interval,
            Some(Err(why)) => {
                task.failed(&why);
                interval
            }
        };
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
    use super::*;
    use crate::telemetry::Metrics;

    const LONG: Duration = Duration::from_secs(3600);
    const SHORT: Duration = Duration::from_millis(1);

    fn task(metrics: &Metrics) -> RunningTask {
        metrics.background.start("test")
    }

    #[test]
    fn work_is_repeated_until_it_is_dropped() {
        let metrics = Metrics::new().expect("metrics");
        let (ran, runs) = channel();
        let work = move |_: &Waiter, trigger| {
            let _ = ran.send(trigger);
            Ok(PollProgress::Done)
        };
        let periodic = Periodic::start(task(&metrics), SHORT, work).expect("a thread");
        for _ in 0..3 {
            assert_eq!(runs.recv(), Ok(Trigger::Interval));
        }
        drop(periodic);
        // The thread has ended and dropped the work, so the channel closes.
        while runs.recv().is_ok() {}
        assert_eq!(metrics.background.ended(), [""; 0]);
    }

    #[test]
    fn unfinished_work_continues_without_waiting_for_the_interval() {
        let metrics = Metrics::new().expect("metrics");
        let (ran, runs) = channel();
        let mut left = 3;
        let work = move |_: &Waiter, trigger| {
            left -= 1;
            let _ = ran.send(trigger);
            Ok(match left {
                0 => PollProgress::Done,
                _ => PollProgress::Unfinished,
            })
        };
        let periodic = Periodic::start(task(&metrics), LONG, work).expect("a thread");
        periodic.messages.send(Message::Hangup).expect("sent");
        assert_eq!(runs.recv(), Ok(Trigger::Hangup));
        assert_eq!(runs.recv(), Ok(Trigger::Interval));
        assert_eq!(runs.recv(), Ok(Trigger::Interval));
        let started = Instant::now();
        drop(periodic);
        assert!(started.elapsed() < LONG / 60);
        assert!(runs.recv().is_err());
    }

    #[test]
    fn a_run_that_panics_or_fails_is_counted_and_the_next_one_comes() {
        let metrics = Metrics::new().expect("metrics");
        let (ran, runs) = channel();
        let mut run = 0;
        let work = move |waiter: &Waiter, _| {
            run += 1;
            match run {
                1 => panic!("no file descriptors"),
                2 => return failed("no file descriptors", &"EMFILE"),
                _ => {}
            }
            let _ = ran.send(waiter.wait(async { run }));
            Ok(PollProgress::Done)
        };
        let periodic = Periodic::start(task(&metrics), SHORT, work).expect("a thread");
        assert_eq!(runs.recv(), Ok(3));
        assert_eq!(metrics.background.ended(), [""; 0]);
        let text = metrics.render().expect("text");
        let line = "tn_authority_background_failures_total{task=\"test\"} 2";
        assert!(text.lines().any(|l| l == line), "{text}");
        drop(periodic);
    }
}
