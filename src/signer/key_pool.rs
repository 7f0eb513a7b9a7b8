//! A thread pool for slow keys: a bounded queue, a few threads with one session each, and a
//! timeout. No thread that serves HTTP ever waits for a device.
//!
//! A key has signed once before it is used. Each signature is verified with the public key before
//! it is returned. One that is late or does not verify is discarded.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use openssl::bn::BigNum;
use openssl::ec::EcKey;
use openssl::ecdsa::EcdsaSig;
use openssl::pkey::{PKey, Public};
use openssl::sha::sha256;
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::error::{HsmError, SignerError};
use super::key::{SIGNATURE_LENGTH, Signature, Signing, SigningKey};

/// What a key signs when it is opened. It is no token, which has two dots.
const TRIAL_MESSAGE: &[u8] = b"tn-authority: does this key sign?";

/// A device that holds a key.
pub trait Device: fmt::Debug + Send + Sync + 'static {
    /// Opens a session that can sign. Each thread calls it once, and again after it has lost its
    /// session.
    ///
    /// # Errors
    /// [`HsmError`] if the device is unreachable or does not hold the key.
    fn open(&self) -> Result<Box<dyn KeySession>, HsmError>;

    /// The name of this kind of key, as in [`SigningKey::kind`].
    fn kind(&self) -> &'static str {
        "pkcs11"
    }
}

/// A session with the key, used by one thread.
pub trait KeySession: Send {
    /// Signs a SHA-256 digest: R, then S.
    ///
    /// # Errors
    /// [`HsmError`] if the session is lost. A new session can succeed.
    fn sign(&mut self, digest: &[u8; 32]) -> Result<Signature, HsmError>;

    /// The public keys that the device has for the key, each as a DER-encoded
    /// `SubjectPublicKeyInfo`. There can be none, and none need be right.
    fn public_keys(&self) -> &[Vec<u8>];
}

/// The size of a pool and its queue, and the timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSettings {
    /// Threads, each with a session: the number of concurrent signatures.
    pub sessions: usize,
    /// The largest number of requests that wait for a thread.
    pub queue: usize,
    /// How long a caller waits for its signature.
    pub timeout: Duration,
}

/// A key that is used through a pool of sessions.
pub struct PooledKey {
    public_key_der: Vec<u8>,
    queue: SyncSender<SignJob>,
    timeouts: Arc<Timeouts>,
    timeout: Duration,
    kind: &'static str,
}

struct SignJob {
    message: Vec<u8>,
    deadline: Instant,
    reply: Arc<ReplySlot>,
}

/// Where the result goes. The signing thread and the timeout compete for it; the first to take the
/// sender replies.
struct ReplySlot(Mutex<Option<oneshot::Sender<Result<Signature, SignerError>>>>);

/// Requests that wait for a signature, in the order of their deadlines.
#[derive(Default)]
struct Timeouts {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    replies: VecDeque<(Instant, Arc<ReplySlot>)>,
    closed: bool,
}

impl PooledKey {
    /// Opens the device, signs once, and starts the threads. A key that was never seen to sign
    /// would be found out by the first token. The signature also shows which public key is that of
    /// the key: one that the device has, or else one of `known`.
    ///
    /// # Errors
    /// [`SignerError`] if the device is unreachable, does not sign, or holds another kind of key.
    pub fn start(
        device: &Arc<dyn Device>,
        known: &[Vec<u8>],
        settings: PoolSettings,
    ) -> Result<Self, SignerError> {
        let mut session = device.open()?;
        let (public_key_der, verifying) = key_that_signs(&mut *session, known)?;
        let mut session = Some(session);
        let (queue, jobs) = sync_channel(settings.queue.max(1));
        let jobs = Arc::new(Mutex::new(jobs));
        for number in 0..settings.sessions.max(1) {
            let mut worker = SigningThread {
                device: Arc::clone(device),
                verifying: verifying.clone(),
                session: session.take(),
            };
            let jobs = Arc::clone(&jobs);
            start_thread(&format!("hsm-{number}"), move || worker.serve(&jobs))?;
        }
        let timeouts = Arc::new(Timeouts::default());
        let served = Arc::clone(&timeouts);
        start_thread("hsm-watch", move || served.serve())?;
        Ok(Self {
            public_key_der,
            queue,
            timeouts,
            timeout: settings.timeout,
            kind: device.kind(),
        })
    }
}

impl SigningKey for PooledKey {
    fn sign(&self, message: &[u8]) -> Signing {
        let (sender, answer) = oneshot::channel();
        let reply = Arc::new(ReplySlot(Mutex::new(Some(sender))));
        let job = SignJob {
            message: message.to_vec(),
            deadline: Instant::now() + self.timeout,
            reply: Arc::clone(&reply),
        };
        let deadline = job.deadline;
        match self.queue.try_send(job) {
            Ok(()) => {
                self.timeouts.add(deadline, reply);
                Signing::Later(answer)
            }
            Err(TrySendError::Full(_)) => Signing::Done(Err(HsmError::Busy.into())),
            Err(TrySendError::Disconnected(_)) => Signing::Done(Err(SignerError::KeyGone)),
        }
    }

    fn public_key_der(&self) -> &[u8] {
        &self.public_key_der
    }

    fn kind(&self) -> &'static str {
        self.kind
    }
}

impl fmt::Debug for PooledKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledKey").finish_non_exhaustive()
    }
}

/// Does not join the threads: one that hangs in the device cannot be interrupted. Each ends when
/// its call returns.
impl Drop for PooledKey {
    fn drop(&mut self) {
        self.timeouts.waiting.lock().closed = true;
        self.timeouts.changed.notify_all();
    }
}

/// One thread and its session.
struct SigningThread {
    device: Arc<dyn Device>,
    verifying: EcKey<Public>,
    session: Option<Box<dyn KeySession>>,
}

impl SigningThread {
    fn serve(&mut self, jobs: &Mutex<Receiver<SignJob>>) {
        loop {
            // The lock is held during `recv`: idle threads wait either for a job or for the lock,
            // which makes no difference.
            let job = jobs.lock().recv();
            let Ok(job) = job else { return };
            // The caller has timed out or disconnected.
            if job.deadline <= Instant::now() || job.reply.is_answered() {
                continue;
            }
            let outcome = self.sign_or_report(&job.message);
            if let Err(error) = &outcome {
                log::warn!("the HSM did not sign: {error}");
            }
            job.reply.answer(outcome.map_err(SignerError::from));
        }
    }

    /// Signs. A panic below is the failure of one signature, and does not end the thread.
    fn sign_or_report(&mut self, message: &[u8]) -> Result<Signature, HsmError> {
        let signed = catch_unwind(AssertUnwindSafe(|| self.sign(message)));
        signed.unwrap_or_else(|_| {
            self.session = None;
            Err(HsmError::Device("it panicked".to_owned()))
        })
    }

    fn sign(&mut self, message: &[u8]) -> Result<Signature, HsmError> {
        let digest = sha256(message);
        let was_open = self.session.is_some();
        let signature = match self.try_sign(&digest) {
            // An idle session may have been lost in the meantime, so retry with a new one.
            Err(_) if was_open => self.try_sign(&digest)?,
            outcome => outcome?,
        };
        if verifies(&self.verifying, &digest, &signature) {
            return Ok(signature);
        }
        // A session that has returned a wrong signature is not used again.
        self.session = None;
        Err(HsmError::WrongSignature)
    }

    fn try_sign(&mut self, digest: &[u8; 32]) -> Result<Signature, HsmError> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => self.device.open()?,
        };
        let signature = session.sign(digest)?;
        self.session = Some(session);
        Ok(signature)
    }
}

impl ReplySlot {
    fn is_answered(&self) -> bool {
        // The sender is closed if the caller has disconnected.
        self.0
            .lock()
            .as_ref()
            .is_none_or(oneshot::Sender::is_closed)
    }

    fn answer(&self, outcome: Result<Signature, SignerError>) {
        if let Some(sender) = self.0.lock().take() {
            let _ = sender.send(outcome);
        }
    }
}

impl Timeouts {
    fn add(&self, deadline: Instant, reply: Arc<ReplySlot>) {
        self.waiting.lock().replies.push_back((deadline, reply));
        self.changed.notify_one();
    }

    /// Answers the requests that have reached their deadline, until the key is dropped.
    fn serve(&self) {
        let mut waiting = self.waiting.lock();
        loop {
            let now = Instant::now();
            while let Some((deadline, reply)) = waiting.replies.front() {
                if !reply.is_answered() {
                    if *deadline > now {
                        break;
                    }
                    reply.answer(Err(HsmError::Timeout.into()));
                }
                waiting.replies.pop_front();
            }
            if waiting.closed && waiting.replies.is_empty() {
                return;
            }
            let next = waiting
                .replies
                .front()
                .map_or(Duration::from_secs(60), |(deadline, _)| {
                    deadline.saturating_duration_since(now)
                });
            self.changed.wait_for(&mut waiting, next);
        }
    }
}

/// Signs once, and finds the public key that verifies the signature.
fn key_that_signs(
    session: &mut dyn KeySession,
    known: &[Vec<u8>],
) -> Result<(Vec<u8>, EcKey<Public>), SignerError> {
    let digest = sha256(TRIAL_MESSAGE);
    let signature = session.sign(&digest)?;
    let own = session.public_keys();
    for der in own.iter().chain(known) {
        // A chain can be for a key of another kind.
        let Ok(key) = PKey::public_key_from_der(der).and_then(|key| key.ec_key()) else {
            continue;
        };
        if verifies(&key, &digest, &signature) {
            return Ok((der.clone(), key));
        }
    }
    Err(match own.len() {
        0 => HsmError::Key(
            "the token has neither a public key nor a certificate for it, and it is the key of no certificate chain \
             that is here; put its chain into `signer.dir`"
                .to_owned(),
        ),
        _ => HsmError::WrongSignature,
    }
    .into())
}

fn verifies(key: &EcKey<Public>, digest: &[u8; 32], signature: &Signature) -> bool {
    let (r, s) = signature.split_at(SIGNATURE_LENGTH / 2);
    let verified = BigNum::from_slice(r)
        .and_then(|r| EcdsaSig::from_private_components(r, BigNum::from_slice(s)?))
        .and_then(|signature| signature.verify(digest, key));
    verified.unwrap_or(false)
}

fn start_thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), SignerError> {
    let started = thread::Builder::new().name(name.to_owned()).spawn(work);
    started
        .map(drop)
        .map_err(|e| HsmError::Device(format!("cannot start a thread: {e}")).into())
}
