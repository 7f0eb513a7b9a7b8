//! What signs: the certificate chains that all replicas publish, and those that this one has a key for.
//!
//! Everything that a request needs is in memory, and is replaced as a whole. `agree` makes it, together with the other
//! replicas, from the files here and the rows of the database.

mod agreement;
mod rotation;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use super::scope::Visibility;
use super::{Action, Authority, ChangeError};
use crate::domain::signing::certificate::Certificate;
use crate::domain::signing::chain::{Candidate, ChainState, SigningChain, choose};
use crate::domain::{Caller, Spc, Time};
use crate::signer::chain::Published;
use crate::signer::{
    Keyring, PublishedChains, RefusedFile, ScanMode, ScanResult, Signer, SignerError, Sources,
};
use crate::store::Tx;

/// How certificates follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// Seconds between the publication of a chain and its first signature. Every replica has to learn of it in this
    /// time, so one that did not get to agree for as long signs nothing. 0 is for a process without others.
    pub publication_delay: u32,
}

/// All that can sign.
#[derive(Debug)]
pub struct Signers {
    keyring: Keyring,
    rotation: Rotation,
    standing: RwLock<Arc<SignerSnapshot>>,
    turns: AtomicU64,
    /// When the database was last asked for a chain that is not in memory.
    asked: Mutex<Option<Instant>>,
}

/// What there is at one time.
#[derive(Debug, Default)]
struct SignerSnapshot {
    /// What the replicas have agreed on.
    chains: Vec<SigningChain>,
    /// What this one has a key for, by the name of its chain.
    signers: BTreeMap<String, Arc<Signer>>,
    candidates: Arc<[Candidate]>,
    published: PublishedChains,
    refused: Vec<RefusedFile>,
    agreed: Option<Instant>,
    turn: u64,
}

/// A chain or a file as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    Chain(Box<ListedChain>),
    /// A file of this replica that cannot be used.
    Refused(RefusedFile),
}

/// A chain and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedChain {
    pub chain: SigningChain,
    pub state: ChainState,
    /// The signing certificate.
    pub certificate: Option<Certificate>,
    /// Where it is published.
    pub x5u: String,
    /// Where this replica has the key: `file` or `pkcs11`; `None` if it has none.
    pub key: Option<&'static str>,
}

impl Signers {
    /// Signers that have not been looked for yet.
    #[must_use]
    pub fn new(sources: Sources, rotation: Rotation) -> Self {
        Self {
            keyring: Keyring::new(sources),
            rotation,
            standing: RwLock::default(),
            turns: AtomicU64::new(0),
            asked: Mutex::default(),
        }
    }

    /// Looks at all files and modules. Blocks.
    #[must_use]
    pub fn look(&self, at: Time, patience: ScanMode) -> ScanResult {
        self.keyring.scan(at, patience)
    }

    /// The chains to choose from.
    pub(super) fn candidates(&self) -> Arc<[Candidate]> {
        Arc::clone(&self.standing().candidates)
    }

    /// What signs with the chain of this name.
    ///
    /// # Errors
    /// [`SignerError`] if this process has no key for it.
    pub(super) fn signer(&self, chain: &str) -> Result<Arc<Signer>, SignerError> {
        let standing = self.standing();
        let signer = standing.signers.get(chain).map(Arc::clone);
        signer.ok_or_else(|| SignerError::UnknownChain(chain.to_owned()))
    }

    /// Refuses to sign by what may be out of date.
    ///
    /// # Errors
    /// [`SignerError::NotAgreed`].
    pub(super) fn fresh(&self) -> Result<(), SignerError> {
        let delay = u64::from(self.rotation.publication_delay);
        let elapsed = self.standing().agreed.map(|at| at.elapsed());
        match elapsed {
            Some(elapsed) if delay == 0 || elapsed <= Duration::from_secs(delay) => Ok(()),
            Some(elapsed) => Err(SignerError::NotAgreed(elapsed.as_secs())),
            None => Err(SignerError::NothingSigns(vec![
                "the certificates are not agreed on yet".to_owned(),
            ])),
        }
    }

    /// Whether a token could be signed for any of the carrier's codes.
    ///
    /// # Errors
    /// [`SignerError`] says what is missing.
    pub(super) fn ready(&self, at: Time) -> Result<(), SignerError> {
        self.fresh()?;
        let standing = self.standing();
        let own = self.keyring.spcs();
        if own
            .iter()
            .any(|spc| choose(&standing.candidates, spc, at).is_some())
        {
            return Ok(());
        }
        let why = |refused: &RefusedFile| format!("`{}`: {}", refused.file, refused.reason);
        let mut reasons = vec!["no certificate is in force and in use yet".to_owned()];
        reasons.extend(standing.refused.iter().map(why));
        Err(SignerError::NothingSigns(reasons))
    }

    /// The latest `exp` of a token that is signed now, for each code of the carrier that has a certificate.
    #[must_use]
    pub fn authority_ends(&self, at: Time) -> Vec<(Spc, Time)> {
        let candidates = self.candidates();
        let own = self.keyring.spcs().iter();
        own.filter_map(|spc| Some((spc.clone(), choose(&candidates, spc, at)?.ends)))
            .collect()
    }

    fn may_ask(&self) -> bool {
        let mut asked = self.asked.lock();
        let recently = asked.is_some_and(|at| at.elapsed() < Duration::from_secs(1));
        if !recently {
            *asked = Some(Instant::now());
        }
        !recently
    }

    fn published(&self, name: &str) -> Option<Published> {
        self.standing().published.get(name)
    }

    fn standing(&self) -> Arc<SignerSnapshot> {
        let standing = self.standing.read();
        Arc::clone(&standing)
    }

    /// Puts a new standing in the place of an older one.
    fn replace(&self, new: SignerSnapshot) {
        let mut standing = self.standing.write();
        if standing.turn <= new.turn {
            *standing = Arc::new(new);
        }
    }

    fn next_turn(&self) -> u64 {
        self.turns.fetch_add(1, Ordering::SeqCst) + 1
    }
}

impl Authority {
    /// Looks at all files and modules. Blocks.
    ///
    /// # Errors
    /// [`Refused`] if nothing signs here.
    pub fn look_for_signers(&self, patience: ScanMode) -> Result<ScanResult, ChangeError> {
        let signers = self
            .signers
            .as_ref()
            .ok_or(ChangeError::NotFound("signer"))?;
        Ok(signers.look(self.clock.now(), patience))
    }

    /// The certificate chain of this name, as `x5u` publishes it (RFC 7515 §4.1.5).
    #[must_use]
    pub fn published_chain(&self, name: &str) -> Option<Published> {
        self.signers.as_ref()?.published(name)
    }

    /// The same, of a chain that this replica has not heard of yet: another one may have published it just now. Blocks.
    /// Asks the database at most once a second, since anybody can make up names.
    #[must_use]
    pub fn chain_published_elsewhere(&self, name: &str) -> Option<Published> {
        let signers = self.signers.as_ref()?;
        if !signers.may_ask() {
            return None;
        }
        let read = |tx: &mut Tx<'_>| tx.signing_chains();
        let chains = self.store.read(read).ok()?;
        let now = self.clock.now();
        let chain = chains.into_iter().find(|chain| {
            chain.name == name && chain.retired_at.is_none_or(|retired| retired > now)
        })?;
        let mut published = PublishedChains::default();
        published.add_recorded(name, &chain.pem).ok()?;
        published.get(name)
    }

    /// All chains in the order in which they were published, and the files of this replica that are refused. They are the
    /// carrier's, so a reseller is not told.
    ///
    /// # Errors
    /// [`Refused`] if the caller may not read.
    pub fn list_signers(&self, caller: &Caller) -> Result<Vec<Listed>, ChangeError> {
        self.require(caller, Action::Read)?;
        if Visibility::of(caller) != Visibility::Everything {
            return Err(ChangeError::Forbidden);
        }
        let signers = self
            .signers
            .as_ref()
            .ok_or(ChangeError::NotFound("signer"))?;
        let (standing, now) = (signers.standing(), self.clock.now());
        let url = signers.keyring.public_url();
        let chains = standing.chains.iter().map(|chain| {
            let certificates = Certificate::chain_from_pem(&chain.pem).ok();
            Listed::Chain(Box::new(ListedChain {
                state: chain.state(&standing.chains, now),
                certificate: certificates.and_then(|chain| chain.into_iter().next()),
                x5u: format!("{url}/certs/{}.pem", chain.name),
                key: standing.signers.get(&chain.name).map(|s| s.key_kind()),
                chain: chain.clone(),
            }))
        });
        let refused = standing.refused.iter().cloned().map(Listed::Refused);
        Ok(chains.chain(refused).collect())
    }
}
