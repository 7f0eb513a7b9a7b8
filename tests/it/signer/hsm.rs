//! A module of hardware that fails: 503 and no token while it lasts, a grant for each attempt, and no thread that waits.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use tempfile::TempDir;
use tn_authority::authority::{IssueError, Issued};
use tn_authority::signer::development::SpcCertificate;
use tn_authority::signer::key_pool::{Device, KeySession, PoolSettings, PooledKey};
use tn_authority::signer::{FileKey, HsmError, Signature, SignerError, SigningKey as _};

use crate::support::{Db, Kind, Setup, World, at_once};

both! {
    a_key_in_hardware_signs,
    a_slow_device_keeps_nobody_waiting,
    a_wrong_signature_never_leaves,
    a_lost_session_is_opened_again,
    a_device_that_is_unplugged_comes_back,
    a_panic_in_the_module_ends_no_thread,
}

/// What the device does to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Good,
    /// Answers after half a minute.
    Slow,
    /// Signs something else.
    Wrong,
    /// Open sessions are gone, new ones are good.
    Lost,
    /// Has a fault of its own.
    Panics,
    /// Neither opens nor signs.
    Unplugged,
}

/// A device with a real key.
#[derive(Debug)]
struct Fake {
    key: EcKey<Private>,
    mood: Mutex<(Mood, u64)>,
    changed: Condvar,
    opened: AtomicUsize,
    signed: AtomicUsize,
}

impl Fake {
    fn new(key: EcKey<Private>) -> Arc<Self> {
        Arc::new(Self {
            key,
            mood: Mutex::new((Mood::Good, 0)),
            changed: Condvar::new(),
            opened: AtomicUsize::new(0),
            signed: AtomicUsize::new(0),
        })
    }

    fn is(&self, mood: Mood) {
        let mut now = self.mood.lock().expect("a mood");
        *now = (mood, now.1 + 1);
        self.changed.notify_all();
    }
}

/// The device, as the pool holds it.
#[derive(Debug, Clone)]
struct Plugged(Arc<Fake>);

struct Opened {
    fake: Arc<Fake>,
    /// The change of mood that it was opened after.
    since: u64,
    public_keys: Vec<Vec<u8>>,
}

impl Device for Plugged {
    fn open(&self) -> Result<Box<dyn KeySession>, HsmError> {
        let (mood, since) = *self.0.mood.lock().expect("a mood");
        if mood == Mood::Unplugged {
            return Err(HsmError::Device("CKR_TOKEN_NOT_PRESENT".to_owned()));
        }
        self.0.opened.fetch_add(1, Ordering::SeqCst);
        let key = PKey::from_ec_key(self.0.key.clone()).expect("a key");
        Ok(Box::new(Opened {
            fake: Arc::clone(&self.0),
            since,
            public_keys: vec![key.public_key_to_der().expect("DER")],
        }))
    }
}

impl KeySession for Opened {
    fn sign(&mut self, digest: &[u8; 32]) -> Result<Signature, HsmError> {
        let mut digest = *digest;
        let mood = self.fake.mood.lock().expect("a mood");
        match mood.0 {
            Mood::Good => {}
            Mood::Wrong => digest[0] ^= 1,
            Mood::Slow => {
                let half_a_minute = Duration::from_secs(30);
                let slow = |now: &mut (Mood, u64)| now.0 == Mood::Slow;
                let woken = self
                    .fake
                    .changed
                    .wait_timeout_while(mood, half_a_minute, slow);
                drop(woken.expect("a mood"));
            }
            Mood::Panics => {
                drop(mood);
                panic!("a fault of the module");
            }
            Mood::Lost if self.since == mood.1 => {}
            Mood::Lost | Mood::Unplugged => {
                return Err(HsmError::Device("CKR_SESSION_HANDLE_INVALID".to_owned()));
            }
        }
        self.fake.signed.fetch_add(1, Ordering::SeqCst);
        let signature = EcdsaSig::sign(&digest, &self.fake.key).expect("a signature");
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&signature.r().to_vec_padded(32).expect("R"));
        bytes[32..].copy_from_slice(&signature.s().to_vec_padded(32).expect("S"));
        Ok(bytes)
    }

    fn public_keys(&self) -> &[Vec<u8>] {
        &self.public_keys
    }
}

/// A carrier whose only key is in the device.
fn carrier(kind: Kind) -> (World, Arc<Fake>, TempDir) {
    // Longer than a busy machine takes, also to print the backtrace of a panic.
    carrier_with(kind, 16, Duration::from_secs(60))
}

/// The same, with a queue of this length before the device, and a timeout.
fn carrier_with(kind: Kind, queue: usize, timeout: Duration) -> (World, Arc<Fake>, TempDir) {
    let db: Arc<Db> = Arc::new(kind.into());
    let made = World::over(Arc::clone(&db), Setup::default());
    let folder = made.dir.path().join("hsm");
    std::fs::create_dir(&folder).expect("a folder");
    let in_force = made.in_seconds(-60)..=made.in_seconds(86_400);
    let wanted = SpcCertificate::new("1234".parse().expect("a code"), in_force);
    let issued = made
        .ca
        .issue_spc_certificate(&wanted.expect("a certificate"));
    let issued = issued.expect("a certificate");
    std::fs::write(folder.join("chain.pem"), &issued.chain_pem).expect("a file");
    let key = EcKey::private_key_from_pem(issued.key_pem.as_bytes()).expect("a key");
    let fake = Fake::new(key);
    let device: Arc<dyn Device> = Arc::new(Plugged(Arc::clone(&fake)));
    let settings = PoolSettings {
        sessions: 2,
        queue,
        timeout,
    };
    let key = PooledKey::start(&device, &[], settings).expect("a key");
    // It has signed once, to show that it can.
    assert_eq!(fake.signed.swap(0, Ordering::SeqCst), 1);
    let world = World::over(
        db,
        Setup {
            signers: Some(folder),
            keys: vec![Arc::new(key)],
            ..Setup::default()
        },
    );
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.1XXX");
    // The folder with the chain is the first world's.
    (world, fake, made.dir)
}

fn mint(world: &World) -> Result<Issued, IssueError> {
    world.mints("acme", &["one:12125551001"])
}

#[track_caller]
fn failed(outcome: Result<Issued, IssueError>) -> HsmError {
    match outcome {
        Err(IssueError::Signer(SignerError::Hsm(error))) => error,
        other => panic!("expected a failure of the HSM, got {other:?}"),
    }
}

fn a_key_in_hardware_signs(kind: Kind) {
    let (world, fake, _dir) = carrier(kind);
    let tokens = at_once(8, |_| mint(&world).expect("a token").token);
    let distinct: std::collections::BTreeSet<&String> = tokens.iter().collect();
    assert_eq!(distinct.len(), 8);
    assert_eq!(
        fake.signed.load(Ordering::SeqCst),
        8,
        "no signature is used twice"
    );
    assert!(
        fake.opened.load(Ordering::SeqCst) <= 3,
        "one to look, and one a thread"
    );
    assert_eq!(world.grants().len(), 8);
}

fn a_slow_device_keeps_nobody_waiting(kind: Kind) {
    let (world, fake, _dir) = carrier_with(kind, 2, Duration::from_millis(400));
    fake.is(Mood::Slow);
    let start = Instant::now();
    let errors = at_once(6, |_| failed(mint(&world)));
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    let busy = errors
        .iter()
        .filter(|error| **error == HsmError::Busy)
        .count();
    let late = errors
        .iter()
        .filter(|error| **error == HsmError::Timeout)
        .count();
    assert_eq!(busy + late, 6, "{errors:?}");
    // Two sign, two wait; whoever comes then is turned away at once.
    assert!(late >= 2 && busy >= 1, "{errors:?}");
    assert_eq!(world.grants().len(), 6, "a row for each attempt");
    let counted = |kind: &str| world.count(&format!("signature_failures_total{{kind=\"{kind}\"}}"));
    assert_eq!(counted("busy") + counted("timeout"), 6);

    fake.is(Mood::Good);
    let patience = Instant::now() + Duration::from_secs(10);
    while mint(&world).is_err() {
        assert!(Instant::now() < patience, "it did not come back");
        std::thread::sleep(Duration::from_millis(20));
    }
    // What nobody waited for any more was not signed when the device came back, except what it had begun.
    let grants = world.grants().len();
    assert!(fake.signed.load(Ordering::SeqCst) <= 2 + grants - 6);
}

fn a_wrong_signature_never_leaves(kind: Kind) {
    let (world, fake, _dir) = carrier(kind);
    fake.is(Mood::Wrong);
    for attempt in 1..=3 {
        assert_eq!(failed(mint(&world)), HsmError::WrongSignature);
        assert_eq!(world.grants().len(), attempt);
    }
    assert_eq!(
        world.count("signature_failures_total{kind=\"wrong-signature\"}"),
        3
    );
    assert_eq!(world.count("tokens_total{outcome=\"error\"}"), 3);
    fake.is(Mood::Good);
    assert!(mint(&world).is_ok());
}

fn a_lost_session_is_opened_again(kind: Kind) {
    let (world, fake, _dir) = carrier(kind);
    for _ in 0..3 {
        mint(&world).expect("a token");
        fake.is(Mood::Lost);
        mint(&world).expect("a token all the same");
    }
    assert!(fake.opened.load(Ordering::SeqCst) >= 3);
    assert_eq!(world.grants().len(), fake.signed.load(Ordering::SeqCst));
}

fn a_device_that_is_unplugged_comes_back(kind: Kind) {
    let (world, fake, _dir) = carrier(kind);
    mint(&world).expect("a token");
    fake.is(Mood::Unplugged);
    for _ in 0..3 {
        assert!(matches!(failed(mint(&world)), HsmError::Device(_)));
    }
    assert_eq!(world.grants().len(), 4, "a row for each attempt");
    assert_eq!(fake.signed.load(Ordering::SeqCst), 1);
    fake.is(Mood::Good);
    mint(&world).expect("a token");
}

#[test]
fn a_device_that_cannot_be_opened_is_no_key() {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("P-256");
    let fake = Fake::new(EcKey::generate(&group).expect("a key"));
    fake.is(Mood::Unplugged);
    let device: Arc<dyn Device> = Arc::new(Plugged(Arc::clone(&fake)));
    let settings = PoolSettings {
        sessions: 1,
        queue: 1,
        timeout: Duration::from_secs(1),
    };
    let error = PooledKey::start(&device, &[], settings)
        .expect_err("unplugged")
        .to_string();
    assert_eq!(error, "the HSM cannot be used: CKR_TOKEN_NOT_PRESENT");
    fake.is(Mood::Good);
    let key = PooledKey::start(&device, &[], settings).expect("a key");
    let signature = key.sign(b"message").wait().expect("a signature");
    assert_ne!(signature, [0; 64]);
    assert_eq!(
        (key.kind(), format!("{key:?}")),
        ("pkcs11", "PooledKey { .. }".to_owned())
    );
    let file = FileKey::generate().expect("a key").0;
    assert_eq!(file.kind(), "file");
}

fn a_panic_in_the_module_ends_no_thread(kind: Kind) {
    let (world, fake, _dir) = carrier(kind);
    fake.is(Mood::Panics);
    // More often than there are threads.
    for _ in 0..5 {
        assert!(matches!(failed(mint(&world)), HsmError::Device(_)));
    }
    fake.is(Mood::Good);
    assert!(mint(&world).is_ok());
}
