//! Keys that take their time: a bounded queue, a few threads with a session each, and an answer that comes in time or not
//! at all. No thread that serves HTTP ever waits for a device.
//!
//! A signature is checked with the public key before anybody gets it. One that comes too late, or that is not the key's,
//! is thrown away.

use std::collections::VecDeque;
use std::fmt;
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

/// A device that holds a key.
pub trait Device: fmt::Debug + Send + Sync + 'static {
    /// Opens a session that can sign. Called by each thread, and again when a session is lost.
    ///
    /// # Errors
    /// [`HsmError`] if the device is out of reach or the key is not in it.
    fn open(&self) -> Result<Box<dyn KeySession>, HsmError>;

    /// The word for this kind of key.
    fn kind(&self) -> &'static str {
        "pkcs11"
    }
}

/// A way to the key that one thread has for itself.
pub trait KeySession: Send {
    /// Signs a SHA-256 digest: R, then S.
    ///
    /// # Errors
    /// [`HsmError`] if the session is lost; another one may do.
    fn sign(&mut self, digest: &[u8; 32]) -> Result<Signature, HsmError>;

    /// The public key as DER of a `SubjectPublicKeyInfo`.
    fn public_key_der(&self) -> &[u8];
}

/// How much waits for a device, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSettings {
    /// Threads, and sessions: signatures at one time.
    pub sessions: usize,
    /// Signatures that may wait for a thread.
    pub queue: usize,
    /// How long whoever asked is kept waiting.
    pub timeout: Duration,
}

/// A key behind a pool of sessions.
pub struct PooledKey {
    public_key_der: Vec<u8>,
    queue: SyncSender<SignJob>,
    watch: Arc<Watch>,
    timeout: Duration,
    kind: &'static str,
}

struct SignJob {
    message: Vec<u8>,
    deadline: Instant,
    reply: Arc<ReplySlot>,
}

/// Where the answer goes; whoever takes it answers, and nobody does twice.
struct ReplySlot(Mutex<Option<oneshot::Sender<Result<Signature, SignerError>>>>);

/// Those who wait, in the order of their deadlines.
#[derive(Default)]
struct Watch {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    replies: VecDeque<(Instant, Arc<ReplySlot>)>,
    closed: bool,
}

impl PooledKey {
    /// Opens the device once, to learn its public key and whether it answers at all, and starts the threads.
    ///
    /// # Errors
    /// [`SignerError`] if the device is out of reach, or holds another kind of key.
    pub fn start(device: &Arc<dyn Device>, settings: PoolSettings) -> Result<Self, SignerError> {
        let public_key_der = device.open()?.public_key_der().to_vec();
        let verifying = PKey::public_key_from_der(&public_key_der)?.ec_key()?;
        let (queue, jobs) = sync_channel(settings.queue.max(1));
        let jobs = Arc::new(Mutex::new(jobs));
        for number in 0..settings.sessions.max(1) {
            let mut worker = SigningThread {
                device: Arc::clone(device),
                verifying: verifying.clone(),
                session: None,
            };
            let jobs = Arc::clone(&jobs);
            start_thread(&format!("hsm-{number}"), move || worker.serve(&jobs))?;
        }
        let watch = Arc::new(Watch::default());
        let watching = Arc::clone(&watch);
        start_thread("hsm-watch", move || watching.serve())?;
        Ok(Self {
            public_key_der,
            queue,
            watch,
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
                self.watch.add(deadline, reply);
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

/// Neither jobs nor threads.
impl fmt::Debug for PooledKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledKey").finish_non_exhaustive()
    }
}

/// The threads end by themselves, when the device lets go of them: one that hangs in it cannot be called back.
impl Drop for PooledKey {
    fn drop(&mut self) {
        self.watch.waiting.lock().closed = true;
        self.watch.changed.notify_all();
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
            // The lock is held while waiting: another thread that waits for a job may as well wait for the lock.
            let job = jobs.lock().recv();
            let Ok(job) = job else { return };
            // Nobody waits for it any more.
            if job.deadline <= Instant::now() || job.reply.is_answered() {
                continue;
            }
            let outcome = self.sign(&job.message);
            if let Err(error) = &outcome {
                log::warn!("the HSM gave no signature: {error}");
            }
            job.reply.answer(outcome.map_err(SignerError::from));
        }
    }

    fn sign(&mut self, message: &[u8]) -> Result<Signature, HsmError> {
        let digest = sha256(message);
        let was_open = self.session.is_some();
        let signature = match self.try_sign(&digest) {
            // A session that was left open may have been lost long ago; a fresh one tells.
            Err(_) if was_open => self.try_sign(&digest)?,
            outcome => outcome?,
        };
        if self.is_the_keys(&digest, &signature) {
            return Ok(signature);
        }
        // Whatever is wrong with it, this session is not trusted again.
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

    fn is_the_keys(&self, digest: &[u8; 32], signature: &Signature) -> bool {
        let (r, s) = signature.split_at(SIGNATURE_LENGTH / 2);
        let verified = BigNum::from_slice(r)
            .and_then(|r| EcdsaSig::from_private_components(r, BigNum::from_slice(s)?))
            .and_then(|signature| signature.verify(digest, &self.verifying));
        verified.unwrap_or(false)
    }
}

impl ReplySlot {
    fn is_answered(&self) -> bool {
        // Whoever asked may also have gone away.
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

impl Watch {
    fn add(&self, deadline: Instant, reply: Arc<ReplySlot>) {
        self.waiting.lock().replies.push_back((deadline, reply));
        self.changed.notify_one();
    }

    /// Answers those whose time is over, until the key is dropped.
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

fn start_thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), SignerError> {
    let started = thread::Builder::new().name(name.to_owned()).spawn(work);
    started
        .map(drop)
        .map_err(|e| HsmError::Device(format!("no thread for it: {e}")).into())
}
