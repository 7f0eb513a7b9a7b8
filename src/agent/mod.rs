//! The enterprise's side of control by SIP: receives the nonces that the authority sends to its
//! numbers, and returns each to the authority, signed with the ACME account key.
//!
//! A nonce says nothing of who asked for it, and anyone can send a `MESSAGE`. So the agent returns
//! nonces to one authority only, the one that it was configured with, and the authority accepts
//! one only for the key that signed it.

mod queue;

use std::fmt;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use serde::Deserialize;
use uuid::Uuid;

use crate::acme::{AccountKey, ProblemDocument};
use crate::domain::control::message::CONTROL_NONCE;
use crate::domain::network::retry_after::RetryAfter;
use crate::domain::text::strict_json;
use crate::domain::{NumberRange, Tn};
use crate::outgoing::{HttpReply, HttpRequest, HttpsUrl, Outgoing, OutgoingError};
use crate::sip::once_a_minute::OnceAMinute;
use crate::sip::server::{Handler, IncomingMessage};
use queue::{NextNonce, NonceQueue, QueuedNonce, Taken};

/// How many nonces are returned at one time.
const SENDERS: usize = 4;
/// How often a nonce is returned while the authority cannot be reached, before it is given up.
const MAX_ATTEMPTS: u32 = 6;
/// The wait after the first failure. Each further wait is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// The longest wait that the authority can ask for. No code is valid for long.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How long an attempt may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The longest nonce.
const MAX_NONCE: usize = 256;

/// The parts of a [`ControlAgent`].
pub struct AgentParts {
    pub key: AccountKey,
    pub http: Outgoing,
    /// The authority, such as `https://authority.example`.
    pub authority: HttpsUrl,
    /// The numbers that are answered for; none means all.
    pub numbers: Vec<NumberRange>,
}

/// Shows the authority, without the key.
impl fmt::Debug for AgentParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentParts")
            .field("authority", &self.authority)
            .field("numbers", &self.numbers)
            .finish_non_exhaustive()
    }
}

/// Takes nonces, which its threads return. Dropping it stops them, after the attempts in progress.
#[derive(Debug)]
pub struct ControlAgent {
    numbers: Vec<NumberRange>,
    other_numbers: OnceAMinute,
    waiting: Arc<WaitingNonces>,
}

/// The threads that return nonces. They end when the agent is dropped.
#[derive(Debug)]
pub struct AgentThreads(Vec<JoinHandle<()>>);

/// What a `MESSAGE` brings.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nonce {
    proof: Uuid,
    nonce: String,
}

/// The queue, as the threads share it.
#[derive(Debug, Default)]
struct WaitingNonces {
    state: Mutex<NonceState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct NonceState {
    queue: NonceQueue,
    is_stopped: bool,
    /// Nonces that were refused, and when that was logged last.
    refused: u64,
    reported: OnceAMinute,
}

impl ControlAgent {
    /// Starts the threads that return nonces.
    ///
    /// # Errors
    /// The system's error if a thread cannot be started.
    pub fn start(parts: AgentParts) -> std::io::Result<(Arc<Self>, AgentThreads)> {
        let waiting = Arc::<WaitingNonces>::default();
        let agent = Arc::new(Self {
            numbers: parts.numbers.clone(),
            other_numbers: OnceAMinute::default(),
            waiting: Arc::clone(&waiting),
        });
        let parts = Arc::new(parts);
        let threads = (0..SENDERS).map(|_| {
            let (parts, waiting) = (Arc::clone(&parts), Arc::clone(&waiting));
            let name = thread::Builder::new().name("answers".to_owned());
            name.spawn(move || parts.return_all(&waiting))
        });
        Ok((agent, AgentThreads(threads.collect::<Result<_, _>>()?)))
    }

    /// What answers a `MESSAGE`.
    #[must_use]
    pub fn handler(self: &Arc<Self>) -> Arc<Handler> {
        let agent = Arc::clone(self);
        Arc::new(move |message| agent.receive(message))
    }

    /// Takes a nonce, and returns the status of the answer (RFC 3261 §21).
    fn receive(&self, message: &IncomingMessage<'_>) -> u16 {
        let media_type = message.content_type.split(';').next().unwrap_or_default();
        if !media_type.trim().eq_ignore_ascii_case(CONTROL_NONCE) {
            return 415;
        }
        let number = message.user.parse::<Tn>();
        let is_ours = |number: Tn| self.numbers.iter().any(|range| range.contains(number));
        match number {
            Ok(number) if self.numbers.is_empty() || is_ours(number) => {}
            Ok(_) | Err(_) => {
                if self.other_numbers.is_due(Instant::now()) {
                    log::warn!("refused a nonce for a number that is not among `--numbers`");
                }
                return 404;
            }
        }
        let nonce = strict_json::from_slice(message.body).ok();
        let nonce = nonce.and_then(|body| serde_json::from_value::<Nonce>(body).ok());
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
        let Some(nonce) = nonce.filter(|nonce| {
            (1..=MAX_NONCE).contains(&nonce.nonce.len()) && nonce.nonce.bytes().all(is_plain)
        }) else {
            return 400;
        };
        if self.waiting.take(nonce) { 200 } else { 503 }
    }
}

impl Drop for ControlAgent {
    fn drop(&mut self) {
        self.waiting.state.lock().is_stopped = true;
        self.waiting.changed.notify_all();
    }
}

impl WaitingNonces {
    /// Whether the nonce is returned, or was before.
    fn take(&self, nonce: Nonce) -> bool {
        let now = Instant::now();
        let mut state = self.state.lock();
        match state.queue.take(nonce, now) {
            Taken::Repeated => return true,
            Taken::Queued => {}
            Taken::Refused => {
                state.count_refused(now);
                return false;
            }
        }
        drop(state);
        self.changed.notify_one();
        true
    }

    /// Waits for a nonce that is due; `None` once the agent is stopped.
    fn next(&self) -> Option<QueuedNonce> {
        let mut state = self.state.lock();
        loop {
            if state.is_stopped {
                return None;
            }
            match state.queue.next(Instant::now()) {
                NextNonce::Return(queued) => return Some(queued),
                NextNonce::Wait(None) => self.changed.wait(&mut state),
                NextNonce::Wait(Some(time)) => {
                    let _ = self.changed.wait_for(&mut state, time);
                }
            }
        }
    }

    fn retry(&self, queued: QueuedNonce, wait: Duration) {
        let now = Instant::now();
        self.state.lock().queue.retry(queued, now + wait);
    }

    fn forget(&self, nonce: &Nonce) {
        self.state.lock().queue.forget(nonce);
    }
}

impl NonceState {
    /// A flood of nonces must not become a flood of log lines.
    fn count_refused(&mut self, now: Instant) {
        self.refused += 1;
        if !self.reported.is_due(now) {
            return;
        }
        log::warn!(refused = self.refused; "more nonces arrive than can be returned; those that find the queue full are refused");
    }
}

impl AgentThreads {
    /// Whether all of them still work.
    #[must_use]
    pub fn are_running(&self) -> bool {
        self.0.iter().all(|thread| !thread.is_finished())
    }

    /// Waits for the threads, after the agent was dropped.
    pub fn join(self) {
        for thread in self.0 {
            let _ = thread.join();
        }
    }
}

/// What became of one attempt to return a nonce.
enum Returned {
    Accepted,
    /// The authority refuses: the code of its problem.
    Refused(String),
    /// Another attempt may succeed; the authority can say when.
    Failed(String, Option<Duration>),
}

impl AgentParts {
    fn return_all(&self, waiting: &WaitingNonces) {
        while let Some(queued) = waiting.next() {
            self.return_one(queued, waiting);
        }
    }

    /// Makes one attempt. A retry waits in the queue, so it occupies no thread. The nonce itself is
    /// never logged.
    fn return_one(&self, queued: QueuedNonce, waiting: &WaitingNonces) {
        let proof = queued.nonce.proof.to_string();
        let attempts = queued.attempts + 1;
        match self.attempt(&queued.nonce) {
            Returned::Accepted => log::info!(proof = proof.as_str(); "control confirmed"),
            Returned::Refused(code) => {
                let key = self.key.fingerprint();
                log::warn!(
                    proof = proof.as_str(), code = code.as_str();
                    "the authority refused the answer; if the proof was started for another ACME account key than \
                     this agent's, `{key}`, run the agent with that `--account-key`"
                );
            }
            Returned::Failed(why, _) if attempts >= MAX_ATTEMPTS => {
                log::error!(proof = proof.as_str(), attempts = attempts; "given up: {why}");
                // If the authority sends it again, it is tried again.
                waiting.forget(&queued.nonce);
            }
            Returned::Failed(why, asked) => {
                log::warn!(proof = proof.as_str(), attempts = attempts; "the answer could not be sent, and will be retried: {why}");
                let wait = FIRST_WAIT * 2_u32.pow(queued.attempts);
                let asked = asked.unwrap_or_default().min(LONGEST_WAIT);
                waiting.retry(queued, wait.max(asked));
            }
        }
    }

    fn attempt(&self, nonce: &Nonce) -> Returned {
        let base = self.authority.as_str().trim_end_matches('/');
        let url = format!("{base}/v1/control-proofs/{}/confirm", nonce.proof);
        let url: HttpsUrl = match url.parse() {
            Ok(url) => url,
            Err(error) => return Returned::Refused(format!("{error}")),
        };
        let body = match self.key.sign_control_answer(&url, &nonce.nonce) {
            Ok(body) => body,
            Err(error) => return Returned::Failed(error.to_string(), None),
        };
        let request = HttpRequest::Post {
            media_type: "application/json",
            body: &body,
        };
        let reply = match self.http.send(&url, request, &[], TIMEOUT) {
            Ok(reply) => reply,
            Err(error) => return Returned::Failed(explained(&error), None),
        };
        match reply.status {
            200 => Returned::Accepted,
            429 | 500.. => Returned::Failed(format!("status {}", reply.status), asked_wait(&reply)),
            status => {
                let problem = ProblemDocument::read(&reply.body);
                let code = problem.map_or_else(|| format!("status {status}"), |p| p.to_string());
                Returned::Refused(code)
            }
        }
    }
}

/// Why there is no answer of the authority, and what helps.
fn explained(error: &OutgoingError) -> String {
    if error.is_untrusted() {
        format!(
            "{error}; if a CA of its own has issued the authority's certificate, name it by `--ca-file`"
        )
    } else {
        error.to_string()
    }
}

/// The seconds of `Retry-After`. Authorities send no dates.
fn asked_wait(reply: &HttpReply) -> Option<Duration> {
    match RetryAfter::parse(reply.header("retry-after")?)? {
        RetryAfter::Seconds(seconds) => Some(Duration::from_secs(seconds.into())),
        RetryAfter::At(_) => None,
    }
}
