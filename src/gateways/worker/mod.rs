//! The background threads: a dispatcher leases codes from the outbox and hands them to the sending
//! threads of each gateway. Each gateway has threads of its own, so a slow one delays no other.

mod receipts;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender as Channel, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use parking_lot::Mutex;
use uuid::Uuid;

use super::gateway::{Gateway, OutgoingCode, Reports};
use super::template::{Template, Values};
use crate::authority::{AssignedCode, AttemptResult, Authority, CodeReceipt};
use crate::domain::control::receipt_ids::LearnedIds;
use crate::domain::control::sending::{SendFailure, SendOutcome};
use crate::domain::new_id;
use crate::store::{StoreError, Waiter};
use crate::telemetry::RunningTask;

/// How often the database is polled for work.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// How often the length of the outbox is measured.
const MEASURE_INTERVAL: Duration = Duration::from_secs(15);

/// A gateway with what the configuration says about it.
#[derive(Debug)]
pub struct ConfiguredGateway {
    pub name: String,
    pub gateway: Box<dyn Gateway>,
    /// Threads that send over it.
    pub concurrency: u16,
    /// The longest that one attempt takes.
    pub timeout: Duration,
}

/// All gateways, and what their messages say.
#[derive(Debug)]
pub struct Gateways {
    pub all: Vec<ConfiguredGateway>,
    pub message: Template,
}

/// The running threads. Dropping it stops them; each finishes its current attempt first.
#[derive(Debug)]
pub struct GatewayThreads {
    wake: Channel<GatewayEvent>,
    threads: Vec<JoinHandle<()>>,
    gateways: Arc<Gateways>,
}

/// Why the dispatcher is woken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum GatewayEvent {
    /// A thread of this gateway has become idle.
    Idle(usize),
    /// Codes were put into the outbox.
    Due,
    /// A gateway can send again.
    Ready,
    /// A gateway accepted a code, and will report its delivery under this id.
    Accepted {
        gateway: usize,
        proof: Uuid,
        message_id: String,
    },
    /// What became of a code that this process has sent, or another one.
    Receipt {
        gateway: usize,
        receipt: CodeReceipt,
    },
    /// This gateway cannot do what it does besides sending.
    Failed(usize, SendFailure),
    Stop,
}

impl GatewayThreads {
    /// Starts the threads; none if there is no gateway.
    ///
    /// # Errors
    /// The system's error if a thread cannot be started.
    pub fn start(authority: &Arc<Authority>, gateways: &Arc<Gateways>) -> std::io::Result<Self> {
        let (wake, woken) = channel();
        let mut started = Self {
            wake: wake.clone(),
            threads: Vec::new(),
            gateways: Arc::clone(gateways),
        };
        if gateways.all.is_empty() {
            return Ok(started);
        }
        let process = new_id(authority.now());
        let tasks = &authority.metrics().background;
        let mut lanes = Vec::new();
        for (index, configured) in gateways.all.iter().enumerate() {
            let reports = Reports {
                wake: wake.clone(),
                index,
            };
            configured.gateway.start(reports, tasks)?;
            let (assign, assigned) = channel();
            let assigned = Arc::new(Mutex::new(assigned));
            for _ in 0..configured.concurrency {
                let worker = CodeWorker {
                    authority: Arc::clone(authority),
                    gateways: Arc::clone(gateways),
                    index,
                    process,
                };
                let (assigned, idle) = (Arc::clone(&assigned), wake.clone());
                let task = tasks.start("gateways");
                let work = move || worker.run(task, &assigned, &idle);
                let thread = thread::Builder::new().name("gateways".to_owned());
                started.threads.push(thread.spawn(work)?);
            }
            lanes.push(Lane {
                assign,
                idle: configured.concurrency,
                ids: LearnedIds::default(),
            });
        }
        let dispatcher = OutboxDispatcher {
            authority: Arc::clone(authority),
            gateways: Arc::clone(gateways),
            process,
            lanes,
        };
        let thread = thread::Builder::new().name("outbox".to_owned());
        let task = tasks.start("outbox");
        let dispatch = move || dispatcher.run(task, &woken);
        started.threads.push(thread.spawn(dispatch)?);
        let bell = wake;
        authority.control().signal.on_codes(move || {
            // The dispatcher is gone when the service stops.
            let _ = bell.send(GatewayEvent::Due);
        });
        Ok(started)
    }
}

impl Drop for GatewayThreads {
    fn drop(&mut self) {
        let _ = self.wake.send(GatewayEvent::Stop);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        for configured in &self.gateways.all {
            configured.gateway.stop();
        }
    }
}

/// The sending threads of a gateway.
struct Lane {
    assign: Channel<AssignedCode>,
    /// The number of idle threads.
    idle: u16,
    /// How the gateway writes the ids of messages in receipts.
    ids: LearnedIds,
}

/// Polls for work and hands it out.
struct OutboxDispatcher {
    authority: Arc<Authority>,
    gateways: Arc<Gateways>,
    process: Uuid,
    lanes: Vec<Lane>,
}

impl OutboxDispatcher {
    fn run(mut self, task: RunningTask, woken: &Receiver<GatewayEvent>) {
        let waiter = match Waiter::new() {
            Ok(waiter) => waiter,
            Err(error) => return task.failed(&error),
        };
        let mut measured: Option<Instant> = None;
        loop {
            task.attempt(|| {
                if measured.is_none_or(|at| at.elapsed() >= MEASURE_INTERVAL) {
                    measured = Some(Instant::now());
                    let counted = self.authority.measure_outbox();
                    or_failed(&task, "the outbox could not be measured", counted);
                }
                self.hand_out(&task, &waiter);
            });
            let mut next = woken.recv_timeout(POLL_INTERVAL);
            // What has been waiting is handled before the database is asked again.
            loop {
                match next {
                    Ok(GatewayEvent::Idle(index)) => self.lanes[index].idle += 1,
                    Ok(GatewayEvent::Due | GatewayEvent::Ready) => {}
                    Ok(GatewayEvent::Accepted {
                        gateway,
                        proof,
                        message_id,
                    }) => {
                        task.attempt(|| self.awaits(&task, &waiter, gateway, (message_id, proof)));
                    }
                    Ok(GatewayEvent::Receipt { gateway, receipt }) => {
                        task.attempt(|| self.record(&task, &waiter, gateway, receipt));
                    }
                    Ok(GatewayEvent::Failed(index, failure)) => {
                        let metrics = &self.authority.metrics().gateways;
                        metrics.failed(&self.gateways.all[index].name, failure.as_str());
                    }
                    Ok(GatewayEvent::Stop) | Err(RecvTimeoutError::Disconnected) => {
                        return task.stop();
                    }
                    Err(RecvTimeoutError::Timeout) => break,
                }
                next = woken.recv_timeout(Duration::ZERO);
            }
        }
    }

    fn hand_out(&mut self, task: &RunningTask, waiter: &Waiter) {
        let lanes = self.gateways.all.iter().zip(&self.lanes);
        let room: BTreeMap<String, u16> = lanes
            .filter(|(configured, _)| configured.gateway.is_ready())
            .map(|(configured, lane)| (configured.name.clone(), lane.idle))
            .collect();
        let taken = waiter.wait(self.authority.take_codes(self.process, &room));
        let taken = or_failed(task, "codes could not be leased", taken);
        for code in taken.unwrap_or_default() {
            let named = |configured: &ConfiguredGateway| configured.name == code.message.gateway;
            let Some(index) = self.gateways.all.iter().position(named) else {
                continue;
            };
            let lane = &mut self.lanes[index];
            lane.idle = lane.idle.saturating_sub(1);
            if lane.assign.send(code).is_err() {
                return;
            }
        }
    }
}

/// Sends the codes handed to it.
struct CodeWorker {
    authority: Arc<Authority>,
    gateways: Arc<Gateways>,
    index: usize,
    process: Uuid,
}

impl CodeWorker {
    fn run(
        &self,
        task: RunningTask,
        assigned: &Mutex<Receiver<AssignedCode>>,
        idle: &Channel<GatewayEvent>,
    ) {
        let waiter = match Waiter::new() {
            Ok(waiter) => waiter,
            Err(error) => return task.failed(&error),
        };
        loop {
            let next = assigned.lock().recv();
            // The dispatcher has ended, because it was stopped or by a fault that it reports.
            let Ok(code) = next else {
                return task.stop();
            };
            // After a panic, the lease ends and the code is sent once more.
            task.attempt(|| self.deliver(&task, &waiter, &code));
            if idle.send(GatewayEvent::Idle(self.index)).is_err() {
                return task.stop();
            }
        }
    }

    /// Makes one attempt and records it. If it cannot be recorded, the lease ends and the code is
    /// sent once more.
    fn deliver(&self, task: &RunningTask, waiter: &Waiter, code: &AssignedCode) {
        let Some(outcome) = self.attempt(code) else {
            return;
        };
        let recorded = self.authority.code_attempted(self.process, code, outcome);
        let recorded = waiter.wait(recorded);
        let recorded = or_failed(task, "an attempt to send could not be recorded", recorded);
        let (proof, gateway) = (code.proof.id.to_string(), code.message.gateway.as_str());
        let attempts = code.message.attempts;
        let failure = outcome.failure().map_or("none", SendFailure::as_str);
        match recorded {
            None | Some(AttemptResult::NotOurs) => {}
            Some(AttemptResult::Sent) => {
                log::info!(proof = proof.as_str(), gateway = gateway, attempts = attempts; "control code sent");
            }
            Some(AttemptResult::RetriedAt(_)) => {
                log::info!(
                    proof = proof.as_str(), gateway = gateway, attempts = attempts, failure = failure;
                    "control code not sent, and will be retried"
                );
            }
            Some(AttemptResult::GivenUp) => {
                log::warn!(
                    proof = proof.as_str(), gateway = gateway, attempts = attempts, failure = failure;
                    "control code given up"
                );
            }
        }
    }

    /// `None` if this process may no longer send it.
    fn attempt(&self, code: &AssignedCode) -> Option<SendOutcome> {
        let configured = &self.gateways.all[self.index];
        let now = self.authority.now();
        let longest = TimeDelta::from_std(configured.timeout).unwrap_or(TimeDelta::MAX);
        // The process was stopped, or the machine slept: another process may have it by now.
        if now + longest >= code.leased_until {
            return None;
        }
        let (message, proof) = (&code.message, &code.proof);
        let codes = &self.authority.control().codes;
        let opened = codes.open(message.proof, &message.gateway, &message.sealed);
        let secret = match opened {
            Ok(secret) => secret,
            Err(error) => {
                let proof = proof.id.to_string();
                log::error!(proof = proof.as_str(); "a control code cannot be sent: {error}");
                return Some(SendOutcome::Refused(SendFailure::Unsendable));
            }
        };
        let left = (proof.expires_at - now).num_seconds().max(60) / 60;
        let minutes = u32::try_from(left).unwrap_or(u32::MAX);
        let text = self.gateways.message.text(&Values {
            code: secret.expose(),
            account: &code.account_name,
            number: proof.number,
            minutes,
            text: "",
            secret: "",
            message_id: proof.id,
        });
        Some(configured.gateway.send(&OutgoingCode {
            proof: proof.id,
            account: proof.account.clone(),
            account_name: code.account_name.clone(),
            number: proof.number,
            code: secret,
            text,
            minutes,
            expires_at: proof.expires_at,
        }))
    }
}

fn or_failed<T>(task: &RunningTask, what: &str, outcome: Result<T, StoreError>) -> Option<T> {
    outcome
        .inspect_err(|error| task.failed(&format_args!("{what}: {error}")))
        .ok()
}
