//! The background threads: a dispatcher continues unfinished sweeps, measures exposure, and hands
//! deliveries to a pool of sending threads. One delivery is sent to a target at a time, and two for
//! an account, so a slow target delays only itself and its account. Others are delayed only while
//! the targets of many accounts are slow at once.

use std::future::Future;
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
use crate::store::StoreError;

/// The number of sending threads. They spend most of their time waiting for targets.
const SENDERS: u16 = 32;
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
        let mut threads = Vec::new();
        for _ in 0..SENDERS {
            let worker = DeliveryWorker {
                authority: Arc::clone(authority),
                sender: Arc::clone(sender),
                process,
            };
            let (assigned, idle) = (Arc::clone(&assigned), wake.clone());
            let work = move || worker.run(&assigned, &idle);
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
        threads.push(thread.spawn(move || dispatcher.run(&woken))?);
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
    fn run(mut self, woken: &Receiver<Wake>) {
        let mut measured: Option<Instant> = None;
        loop {
            if measured.is_none_or(|at| at.elapsed() >= MEASURE_INTERVAL) {
                measured = Some(Instant::now());
                or_warn(
                    "exposure could not be measured",
                    self.authority.measure_exposure(),
                );
            }
            let caller = Caller::the_service(new_id(self.authority.now()));
            let swept = wait(self.authority.sweep(&caller)).unwrap_or(Ok(false));
            let swept =
                or_warn("withdrawal sweep failed, and will be retried", swept).unwrap_or(false);
            self.hand_out();
            // Continue an unfinished sweep immediately: other writes get their turn between its
            // transactions.
            let timeout = if swept { Duration::ZERO } else { POLL_INTERVAL };
            match woken.recv_timeout(timeout) {
                Ok(Wake::Idle) => self.idle += 1,
                Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn hand_out(&mut self) {
        let taken = wait(self.authority.take_deliveries(self.process, self.idle));
        let taken = or_warn(
            "deliveries could not be leased",
            taken.unwrap_or(Ok(Vec::new())),
        );
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
    fn run(&self, assigned: &Mutex<Receiver<Assignment>>, idle: &Channel<Wake>) {
        loop {
            let next = assigned.lock().recv();
            let Ok(assignment) = next else { return };
            self.deliver(assignment);
            if idle.send(Wake::Idle).is_err() {
                return;
            }
        }
    }

    /// Makes one attempt and records it. If it cannot be recorded, the lease ends and the delivery
    /// is sent once more.
    fn deliver(&self, assignment: Assignment) {
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
        let recorded = or_warn(
            "webhook attempt could not be recorded",
            wait(recorded).unwrap_or(Ok(None)),
        );
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

/// Blocks until the writer answers. `None` if the system cannot provide a runtime.
fn wait<T>(answer: impl Future<Output = T>) -> Option<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    match runtime {
        Ok(runtime) => Some(runtime.block_on(answer)),
        Err(error) => {
            log::error!("no runtime to wait for the writer: {error}");
            None
        }
    }
}

fn or_warn<T>(what: &str, outcome: Result<T, StoreError>) -> Option<T> {
    outcome
        .inspect_err(|error| log::warn!("{what}: {error}"))
        .ok()
}
