//! The enterprise's side of control by SIP: receives the nonces that the authority sends to its
//! numbers, and returns each to the authority, signed with the ACME account key.
//!
//! A nonce says nothing of who asked for it, and anyone can send a `MESSAGE`. So the agent returns
//! nonces to one authority only, the one that it was configured with, and the authority accepts
//! one only for the key that signed it.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::Deserialize;
use uuid::Uuid;

use crate::acme::{AccountKey, Pause, ProblemDocument};
use crate::domain::control::message::CONTROL_NONCE;
use crate::domain::text::strict_json;
use crate::domain::{NumberRange, Tn};
use crate::outgoing::{HttpRequest, HttpsUrl, Outgoing};
use crate::sip::server::{Handler, IncomingMessage};

/// How many nonces wait to be returned. More are refused, and sent again by the authority.
const MAX_WAITING: usize = 1_000;
/// How many nonces are returned at one time.
const SENDERS: usize = 4;
/// How often a nonce is returned while the authority cannot be reached, before it is given up.
const MAX_ATTEMPTS: u32 = 6;
/// The wait after the first failure. Each further wait is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(2);
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
    /// Waits between attempts, unless the agent is stopped.
    pub pause: Arc<dyn Pause + Send + Sync>,
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

/// Returns nonces. Dropping it stops its threads, after the attempts in progress.
#[derive(Debug)]
pub struct ControlAgent {
    numbers: Vec<NumberRange>,
    waiting: SyncSender<Nonce>,
}

/// The threads that return nonces. They end when the agent is dropped.
#[derive(Debug)]
pub struct AgentThreads(Vec<JoinHandle<()>>);

/// What a `MESSAGE` brings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nonce {
    proof: Uuid,
    nonce: String,
}

impl ControlAgent {
    /// Starts the threads that return nonces.
    ///
    /// # Errors
    /// The system's error if a thread cannot be started.
    pub fn start(parts: AgentParts) -> std::io::Result<(Arc<Self>, AgentThreads)> {
        let (waiting, waited) = sync_channel(MAX_WAITING);
        let agent = Arc::new(Self {
            numbers: parts.numbers.clone(),
            waiting,
        });
        let (parts, waited) = (Arc::new(parts), Arc::new(parking_lot::Mutex::new(waited)));
        let threads = (0..SENDERS).map(|_| {
            let (parts, waited) = (Arc::clone(&parts), Arc::clone(&waited));
            let name = thread::Builder::new().name("answers".to_owned());
            name.spawn(move || parts.return_all(&waited))
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
            Ok(_) | Err(_) => return 404,
        }
        let nonce = strict_json::from_slice(message.body).ok();
        let nonce = nonce.and_then(|body| serde_json::from_value::<Nonce>(body).ok());
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
        let Some(nonce) = nonce.filter(|nonce| {
            (1..=MAX_NONCE).contains(&nonce.nonce.len()) && nonce.nonce.bytes().all(is_plain)
        }) else {
            return 400;
        };
        match self.waiting.try_send(nonce) {
            Ok(()) => 200,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => 503,
        }
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
    /// Another attempt may succeed.
    Failed(String),
}

impl AgentParts {
    fn return_all(&self, waiting: &parking_lot::Mutex<Receiver<Nonce>>) {
        loop {
            let next = waiting.lock().recv();
            let Ok(nonce) = next else { return };
            self.return_one(&nonce);
        }
    }

    /// Returns a nonce, with retries. The nonce itself is never logged.
    fn return_one(&self, nonce: &Nonce) {
        let proof = nonce.proof.to_string();
        let mut wait = FIRST_WAIT;
        for attempt in 1..=MAX_ATTEMPTS {
            match self.attempt(nonce) {
                Returned::Accepted => {
                    log::info!(proof = proof.as_str(); "control confirmed");
                    return;
                }
                Returned::Refused(code) => {
                    log::warn!(proof = proof.as_str(), code = code.as_str(); "the authority refused the answer");
                    return;
                }
                Returned::Failed(why) if attempt == MAX_ATTEMPTS => {
                    log::error!(proof = proof.as_str(), attempts = attempt; "given up: {why}");
                }
                Returned::Failed(why) => {
                    log::warn!(proof = proof.as_str(), attempts = attempt; "the answer could not be sent, and will be retried: {why}");
                    if self.pause.pause(wait).is_err() {
                        return;
                    }
                    wait *= 2;
                }
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
            Err(error) => return Returned::Failed(error.to_string()),
        };
        let request = HttpRequest::Post {
            media_type: "application/json",
            body: &body,
        };
        let reply = match self.http.send(&url, request, &[], TIMEOUT) {
            Ok(reply) => reply,
            Err(error) => return Returned::Failed(error.to_string()),
        };
        match reply.status {
            200 => Returned::Accepted,
            429 | 500.. => Returned::Failed(format!("status {}", reply.status)),
            status => {
                let problem = ProblemDocument::read(&reply.body);
                let code = problem.map_or_else(|| format!("status {status}"), |p| p.to_string());
                Returned::Refused(code)
            }
        }
    }
}
