//! SMPP 3.4, as a client: one session, bound as transceiver, which is opened again when it ends. Up
//! to `window` messages wait for their answers at a time.

mod bound;
mod connection;
mod pdu;
mod receipts;
mod session;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;
use rusmpp::pdus::{BindTransceiver, SubmitSm};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::watch;
use uuid::Uuid;

use super::error::GatewayError;
use super::gateway::{Gateway, OutgoingCode, Reports};
use crate::domain::Passphrase;
use crate::domain::control::sending::{SendFailure, SendOutcome};
use crate::telemetry::BackgroundTasks;
use connection::Connector;
use session::Session;

/// How long a thread waits beyond the timeout of an attempt, which the session itself watches.
const GRACE: Duration = Duration::from_secs(1);

/// An SMSC, as the configuration describes it.
#[derive(Debug, Clone)]
pub struct SmppSettings {
    /// The name of the gateway, for log lines.
    pub name: String,
    /// `host:port`.
    pub target: String,
    pub system_id: String,
    pub password: Passphrase,
    pub system_type: String,
    /// Who the message is from: a number, or a name of up to 11 characters.
    pub from: Option<String>,
    pub tls: bool,
    /// CAs (PEM) in place of those of the system.
    pub ca_file: Option<PathBuf>,
    pub timeout: Duration,
    /// How long the session is idle before it is checked by `enquire_link`.
    pub enquire_interval: Duration,
    /// The most messages that wait for an answer at a time.
    pub window: u16,
}

/// A gateway by SMPP.
pub struct SmppGateway {
    timeout: Duration,
    from: pdu::SenderAddress,
    submissions: Sender<Submission>,
    shared: Arc<SessionState>,
    stop: watch::Sender<bool>,
    /// What the thread is started with.
    session: Mutex<Option<(Session, Receiver<Submission>)>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the session shares with the threads that send.
#[derive(Debug, Default)]
struct SessionState {
    is_bound: AtomicBool,
    /// The SMSC asked to send more slowly.
    is_paused: AtomicBool,
}

/// A message for the session to submit.
struct Submission {
    proof: Uuid,
    message: Box<SubmitSm>,
    answer: SyncSender<SendOutcome>,
}

impl fmt::Debug for SmppGateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmppGateway")
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}

impl SmppGateway {
    /// Prepares the session; nothing is connected.
    ///
    /// # Errors
    /// [`GatewayError`] if the address, the credentials or the CAs cannot be used.
    pub fn new(settings: &SmppSettings) -> Result<Self, GatewayError> {
        let bind: BindTransceiver = pdu::bind(settings)?;
        let connector = Connector::new(settings)?;
        let from = pdu::SenderAddress::new(settings.from.as_deref())?;
        let (submissions, received) = channel(usize::from(settings.window.max(1)));
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::new(SessionState::default());
        let session = Session {
            name: settings.name.clone(),
            connector,
            bind,
            timeout: settings.timeout,
            enquire_interval: settings.enquire_interval,
            window: usize::from(settings.window.max(1)),
            shared: Arc::clone(&shared),
            stopped,
        };
        Ok(Self {
            timeout: settings.timeout,
            from,
            submissions,
            shared,
            stop,
            session: Mutex::new(Some((session, received))),
            thread: Mutex::new(None),
        })
    }
}

impl Gateway for SmppGateway {
    fn start(&self, reports: Reports, tasks: &BackgroundTasks) -> io::Result<()> {
        let Some((session, submissions)) = self.session.lock().take() else {
            return Ok(());
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let task = tasks.start("gateways");
        let work = move || {
            session::run(&runtime, session, submissions, &reports, task);
            // A name lookup may still be waiting, and nothing stops the system's resolver.
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name("smpp".to_owned()).spawn(work)?;
        *self.thread.lock() = Some(thread);
        Ok(())
    }

    fn stop(&self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }

    fn is_ready(&self) -> bool {
        self.shared.is_bound.load(Ordering::SeqCst) && !self.shared.is_paused.load(Ordering::SeqCst)
    }

    fn send(&self, code: &OutgoingCode) -> SendOutcome {
        const LOST: SendOutcome = SendOutcome::Later(SendFailure::Unreachable, None);
        if !self.is_ready() {
            return LOST;
        }
        let Ok(message) = pdu::submit(&self.from, code) else {
            return SendOutcome::Refused(SendFailure::Unsendable);
        };
        let (answer, answered) = sync_channel(1);
        let submission = Submission {
            proof: code.proof,
            message: Box::new(message),
            answer,
        };
        // There is room for each sending thread.
        if self.submissions.try_send(submission).is_err() {
            return LOST;
        }
        match answered.recv_timeout(self.timeout + GRACE) {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Timeout) => SendOutcome::Unclear(SendFailure::Timeout, None),
            // The session has ended by a fault, and may have sent it.
            Err(RecvTimeoutError::Disconnected) => {
                SendOutcome::Unclear(SendFailure::Interrupted, None)
            }
        }
    }
}
