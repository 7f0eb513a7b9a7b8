//! The background threads: a dispatcher continues unfinished sweeps, measures exposure, and hands
//! deliveries to a pool of sending threads. One delivery is sent to a target at a time, and two for
//! an account, so a slow target delays only itself and its account. Others are delayed only while
//! the targets of many accounts are slow at once.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender as Channel, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use uuid::Uuid;

use super::send::Sender;
use crate::authority::{Assignment, Authority};
use crate::domain::webhook::DeliveryState;
use crate::domain::{Caller, new_id};
use crate::store::{StoreError, Waiter};
use crate::telemetry::RunningTask;

/// The number of sending threads. They spend most of their time waiting for targets.
pub const SENDERS: u16 = 32;
/// How often the database is polled for work.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// How often exposure is measured.
const MEASURE_INTERVAL: Duration = Duration::from_secs(15);

/// The running threads. Dropping it stops them; each finishes its current task first.
#[derive(Debug)]
pub struct SenderThreads {
    wake: Channel<Wake>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wake {
    /// A sending thread has become idle.
    Idle,
    Stop,
}

impl SenderThreads {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system's error if a thread cannot be started.
    pub fn start(authority: &Arc<Authority>, sender: &Arc<Sender>) -> std::io::Result<Self> {
        let (wake, woken) = channel();
        let (assign, assigned) = channel();
        let assigned = Arc::new(Mutex::new(assigned));
        let process = new_id(authority.now());
        let tasks = &authority.metrics().background;
        let mut threads = Vec::new();
        for _ in 0..SENDERS {
            let worker = DeliveryWorker {
                authority: Arc::clone(authority),
                sender: Arc::clone(sender),
                process,
            };
            let (assigned, idle) = (Arc::clone(&assigned), wake.clone());
            let task = tasks.start("webhooks");
            let work = move || worker.run(task, &assigned, &idle);
            let thread = thread::Builder::new().name("webhooks".to_owned());
            threads.push(thread.spawn(work)?);
        }
        let dispatcher = Dispatcher {
            authority: Arc::clone(authority),
            process,
            assign,
            idle: SENDERS,
        };
        let thread = thread::Builder::new().name("withdrawals".to_owned());
        let task = tasks.start("withdrawals");
        threads.push(thread.spawn(move || dispatcher.run(task, &woken))?);
        Ok(Self { wake, threads })
    }
}

impl Drop for SenderThreads {
    fn drop(&mut self) {
        let _ = self.wake.send(Wake::Stop);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Polls for work and hands it out.
struct Dispatcher {
    authority: Arc<Authority>,
    process: Uuid,
    assign: Channel<Assignment>,
    /// The number of idle sending threads.
    idle: u16,
}

impl Dispatcher {
    fn run(mut self, task: RunningTask, woken: &Receiver<Wake>) {
        let waiter = match Waiter::new() {
            Ok(waiter) => waiter,
            Err(error) => return task.failed(&error),
        };
        let mut measured: Option<Instant> = None;
        loop {
            let polled = task.attempt(|| self.poll(&task, &waiter, &mut measured));
            let swept = polled.unwrap_or(false);
            // Continue an unfinished sweep immediately: other writes get their turn between its
            // transactions.
            let timeout = if swept { Duration::ZERO } else { POLL_INTERVAL };
            match woken.recv_timeout(timeout) {
                Ok(Wake::Idle) => self.idle += 1,
                Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return task.stop(),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Polls once. Returns whether a sweep is unfinished.
    fn poll(
        &mut self,
        task: &RunningTask,
        waiter: &Waiter,
        measured: &mut Option<Instant>,
    ) -> bool {
        if measured.is_none_or(|at| at.elapsed() >= MEASURE_INTERVAL) {
            *measured = Some(Instant::now());
            let exposure = self.authority.measure_exposure();
            or_failed(task, "exposure could not be measured", exposure);
        }
        let caller = Caller::the_service(new_id(self.authority.now()));
        let swept = waiter.wait(self.authority.sweep(&caller));
        let swept = or_failed(task, "a withdrawal sweep failed", swept);
        self.hand_out(task, waiter);
        swept.unwrap_or(false)
    }

    fn hand_out(&mut self, task: &RunningTask, waiter: &Waiter) {
        let taken = waiter.wait(self.authority.take_deliveries(self.process, self.idle));
        let taken = or_failed(task, "deliveries could not be leased", taken);
        for assignment in taken.unwrap_or_default() {
            self.idle = self.idle.saturating_sub(1);
            if self.assign.send(assignment).is_err() {
                return;
            }
        }
    }
}

/// Sends the deliveries handed to it.
struct DeliveryWorker {
    authority: Arc<Authority>,
    sender: Arc<Sender>,
    process: Uuid,
}

impl DeliveryWorker {
    fn run(&self, task: RunningTask, assigned: &Mutex<Receiver<Assignment>>, idle: &Channel<Wake>) {
        let waiter = match Waiter::new() {
            Ok(waiter) => waiter,
            Err(error) => return task.failed(&error),
        };
        loop {
            let next = assigned.lock().recv();
            // The dispatcher has ended, because it was stopped or by a fault that it reports.
            let Ok(assignment) = next else {
                return task.stop();
            };
            // After a panic, the lease ends and the delivery is sent once more.
            task.attempt(|| self.deliver(&task, &waiter, assignment));
            if idle.send(Wake::Idle).is_err() {
                return task.stop();
            }
        }
    }

    /// Makes one attempt and records it. If it cannot be recorded, the lease ends and the delivery
    /// is sent once more.
    fn deliver(&self, task: &RunningTask, waiter: &Waiter, assignment: Assignment) {
        let now = self.authority.now();
        let answer = match self.sender.send(&assignment, now) {
            Ok(answer) => answer,
            Err(error) => return log::error!("webhook delivery could not be signed: {error}"),
        };
        let mut jitter = [0];
        // Without random bits there is no jitter, which is no reason not to retry.
        let _ = getrandom::fill(&mut jitter);
        let caller = Caller::the_service(new_id(now));
        let (webhook, id) = (
            assignment.webhook.id.to_string(),
            assignment.delivery.id.to_string(),
        );
        let recorded =
            self.authority
                .attempted(&caller, self.process, assignment, (answer, jitter[0]));
        let recorded = waiter.wait(recorded);
        let recorded = or_failed(task, "a webhook attempt could not be recorded", recorded);
        let Some(Some(delivery)) = recorded else {
            return;
        };
        let attempts = delivery.attempts;
        let failure = delivery.last_failure.as_deref().unwrap_or("none");
        match delivery.state {
            DeliveryState::Delivered => {
                log::info!(webhook = webhook.as_str(), delivery = id.as_str(), attempts = attempts; "webhook delivered");
            }
            DeliveryState::Pending => {
                log::info!(
                    webhook = webhook.as_str(), delivery = id.as_str(), attempts = attempts, failure = failure;
                    "webhook attempt failed, and will be retried"
                );
            }
            DeliveryState::Dead => {
                log::warn!(
                    webhook = webhook.as_str(), delivery = id.as_str(), attempts = attempts, failure = failure;
                    "webhook delivery abandoned"
                );
            }
        }
    }
}

fn or_failed<T>(task: &RunningTask, what: &str, outcome: Result<T, StoreError>) -> Option<T> {
    outcome
        .inspect_err(|error| task.failed(&format_args!("{what}: {error}")))
        .ok()
}
