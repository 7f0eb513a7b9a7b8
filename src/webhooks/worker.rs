//! The worker: a thread that goes on with what losses of authority have left to do, measures, and hands deliveries to a few
//! threads that send. A target has one delivery at a time and an account two, so a slow one holds up itself and its own; and
//! others only while the targets of many accounts are slow at once.

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

/// How many targets are told at one time. Those who tell them do nothing but wait most of the time.
const SENDERS: u16 = 32;
/// How often it is looked for work.
const BEAT: Duration = Duration::from_secs(1);
/// How often exposure is measured.
const MEASURE: Duration = Duration::from_secs(15);

/// A running worker. Dropping it stops the threads, which finish what they are doing.
#[derive(Debug)]
pub struct SenderThreads {
    wake: Channel<Wake>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wake {
    /// A sender is free again.
    Free,
    Stop,
}

impl SenderThreads {
    /// Starts the threads.
    ///
    /// # Errors
    /// What the system says if there can be no thread.
    pub fn start(authority: &Arc<Authority>, sender: &Arc<Sender>) -> std::io::Result<Self> {
        let (wake, woken) = channel();
        let (assign, assigned) = channel();
        let assigned = Arc::new(Mutex::new(assigned));
        let process = new_id(authority.now());
        let mut threads = Vec::new();
        for _ in 0..SENDERS {
            let teller = Teller {
                authority: Arc::clone(authority),
                sender: Arc::clone(sender),
                process,
            };
            let (assigned, free) = (Arc::clone(&assigned), wake.clone());
            let work = move || teller.work_off(&assigned, &free);
            let thread = thread::Builder::new().name("webhooks".to_owned());
            threads.push(thread.spawn(work)?);
        }
        let follower = Follower {
            authority: Arc::clone(authority),
            process,
            assign,
            free: SENDERS,
        };
        let thread = thread::Builder::new().name("withdrawals".to_owned());
        threads.push(thread.spawn(move || follower.follow(&woken))?);
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

/// Looks for work.
struct Follower {
    authority: Arc<Authority>,
    process: Uuid,
    assign: Channel<Assignment>,
    /// How many senders have nothing to do.
    free: u16,
}

impl Follower {
    fn follow(mut self, woken: &Receiver<Wake>) {
        let mut measured: Option<Instant> = None;
        loop {
            if measured.is_none_or(|at| at.elapsed() >= MEASURE) {
                measured = Some(Instant::now());
                note(
                    "exposure is not measured",
                    self.authority.measure_exposure(),
                );
            }
            let caller = Caller::the_service(new_id(self.authority.now()));
            let swept = wait(self.authority.sweep(&caller)).unwrap_or(Ok(false));
            let swept = note("grants are not taken back yet", swept).unwrap_or(false);
            self.hand_out();
            // What is left of a sweep is gone on with at once; those who mint had their turn in between.
            let patience = if swept { Duration::ZERO } else { BEAT };
            match woken.recv_timeout(patience) {
                Ok(Wake::Free) => self.free += 1,
                Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn hand_out(&mut self) {
        let taken = wait(self.authority.take_deliveries(self.process, self.free));
        let taken = note("deliveries are not taken", taken.unwrap_or(Ok(Vec::new())));
        for assignment in taken.unwrap_or_default() {
            self.free = self.free.saturating_sub(1);
            if self.assign.send(assignment).is_err() {
                return;
            }
        }
    }
}

/// Sends what is handed to it.
struct Teller {
    authority: Arc<Authority>,
    sender: Arc<Sender>,
    process: Uuid,
}

impl Teller {
    fn work_off(&self, assigned: &Mutex<Receiver<Assignment>>, free: &Channel<Wake>) {
        loop {
            let next = assigned.lock().recv();
            let Ok(assignment) = next else { return };
            self.tell(assignment);
            if free.send(Wake::Free).is_err() {
                return;
            }
        }
    }

    /// One attempt, and its record. Without the record the lease runs out, and it is sent once more.
    fn tell(&self, assignment: Assignment) {
        let now = self.authority.now();
        let answer = match self.sender.send(&assignment, now) {
            Ok(answer) => answer,
            Err(error) => return log::error!("a webhook is not told: {error}"),
        };
        let mut jitter = [0];
        // Without chance all wait equally long, which is no reason not to go on.
        let _ = getrandom::fill(&mut jitter);
        let caller = Caller::the_service(new_id(now));
        let (webhook, id) = (
            assignment.webhook.id.to_string(),
            assignment.delivery.id.to_string(),
        );
        let recorded =
            self.authority
                .attempted(&caller, self.process, assignment, (answer, jitter[0]));
        let recorded = note(
            "an attempt is not recorded",
            wait(recorded).unwrap_or(Ok(None)),
        );
        let Some(Some(delivery)) = recorded else {
            return;
        };
        let attempts = delivery.attempts;
        let failure = delivery.last_failure.as_deref().unwrap_or("none");
        match delivery.state {
            DeliveryState::Delivered => {
                log::info!(webhook = webhook.as_str(), delivery = id.as_str(), attempts = attempts; "told a webhook");
            }
            DeliveryState::Pending => {
                log::info!(
                    webhook = webhook.as_str(), delivery = id.as_str(), attempts = attempts, failure = failure;
                    "a webhook is told later"
                );
            }
            DeliveryState::Dead => {
                log::warn!(
                    webhook = webhook.as_str(), delivery = id.as_str(), attempts = attempts, failure = failure;
                    "a webhook could not be told"
                );
            }
        }
    }
}

/// Waits for an answer of the writer. `None` if the system has no means to wait.
fn wait<T>(answer: impl Future<Output = T>) -> Option<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    match runtime {
        Ok(runtime) => Some(runtime.block_on(answer)),
        Err(error) => {
            log::error!("no answer can be waited for: {error}");
            None
        }
    }
}

fn note<T>(what: &str, outcome: Result<T, StoreError>) -> Option<T> {
    outcome
        .inspect_err(|error| log::warn!("{what}: {error}"))
        .ok()
}
