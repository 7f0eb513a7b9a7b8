//! The signers: the certificate chains that all replicas publish, and the keys that this replica
//! has for them.
//!
//! Requests read an in-memory snapshot, which is replaced as a whole. `agreement` builds it from
//! the key files of this replica and the rows that the replicas share.

mod agreement;
mod distrust;
mod rotation;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use super::scope::Visibility;
use super::{Action, Authority, ChangeError};
use crate::domain::signing::certificate::Certificate;
use crate::domain::signing::chain_choice::{Candidate, ChainState, SigningChain, choose};
use crate::domain::signing::distrust::Distrust;
use crate::domain::{Caller, Spc, Time};
use crate::signer::published_chain::Published;
use crate::signer::{
    Keyring, PublishedChains, RefusedFile, ScanMode, ScanResult, Signer, SignerError, Sources,
};
use crate::store::{StoreError, Tx};

pub use distrust::{DistrustedKey, of_certificate, of_key, refusal};

/// How one chain replaces another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// Seconds between the publication of a chain and its first signature. Every replica has to
    /// learn of a chain within this time, so one that has not reached the database for longer signs
    /// nothing. 0 is for a process without other replicas.
    pub publication_delay: u32,
}

/// All chains, and the keys to sign with.
#[derive(Debug)]
pub struct Signers {
    keyring: Keyring,
    /// The `iss` of all tokens.
    issuer: Arc<str>,
    rotation: Rotation,
    snapshot: RwLock<Arc<SignerSnapshot>>,
    agreements: AtomicU64,
    /// When the database was last queried for a chain that is not in memory.
    last_query: Mutex<Option<Instant>>,
}

/// The state between two agreements.
#[derive(Debug, Default)]
struct SignerSnapshot {
    /// The chains that the replicas have agreed on.
    chains: Vec<SigningChain>,
    /// The signers that this replica has keys for, by the name of the chain.
    signers: BTreeMap<String, Arc<Signer>>,
    candidates: Arc<[Candidate]>,
    published: PublishedChains,
    refused: Vec<RefusedFile>,
    agreed: Option<Instant>,
    /// A slow agreement must not replace the result of a newer one.
    sequence: u64,
}

/// A chain or a file, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    Chain(Box<ListedChain>),
    /// A file of this replica that cannot be used.
    Refused(RefusedFile),
}

/// A chain and its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedChain {
    pub chain: SigningChain,
    pub state: ChainState,
    /// The signing certificate.
    pub certificate: Option<Certificate>,
    /// The URL at which it is published.
    pub x5u: String,
    /// Where this replica has the key: `file` or `pkcs11`; `None` if it has none.
    pub key: Option<&'static str>,
}

impl Signers {
    /// Signers without any key: the first scan is still to come.
    #[must_use]
    pub fn new(sources: Sources, rotation: Rotation) -> Self {
        Self {
            issuer: sources.public_url.as_str().into(),
            keyring: Keyring::new(sources),
            rotation,
            snapshot: RwLock::default(),
            agreements: AtomicU64::new(0),
            last_query: Mutex::default(),
        }
    }

    /// Scans all files and modules for keys and chains. Blocks.
    #[must_use]
    pub fn look(&self, at: Time, mode: ScanMode) -> ScanResult {
        self.keyring.scan(at, mode)
    }

    /// The `iss` of the tokens (RFC 9448 §5.1).
    pub(super) fn issuer(&self) -> Arc<str> {
        Arc::clone(&self.issuer)
    }

    /// The chains that can be chosen for signing.
    pub(super) fn candidates(&self) -> Arc<[Candidate]> {
        Arc::clone(&self.snapshot().candidates)
    }

    /// Publishes the chains of a scan, before the replicas have agreed on any. Nothing can be
    /// signed before that.
    pub fn publish_found(&self, found: &ScanResult) {
        self.replace(SignerSnapshot {
            published: found.signers.iter().map(|signer| signer.chain()).collect(),
            ..SignerSnapshot::default()
        });
    }

    /// The certificate chain of this name, if it is published.
    #[must_use]
    pub fn published_chain(&self, name: &str) -> Option<Published> {
        self.published(name)
    }

    /// The signer for the chain of this name.
    ///
    /// # Errors
    /// If this process has no key for it.
    pub(super) fn signer(&self, chain: &str) -> Result<Arc<Signer>, SignerError> {
        let snapshot = self.snapshot();
        let signer = snapshot.signers.get(chain).map(Arc::clone);
        signer.ok_or_else(|| SignerError::UnknownChain(chain.to_owned()))
    }

    /// Refuses to sign with a snapshot that may be out of date.
    ///
    /// # Errors
    /// [`SignerError::NotAgreed`], or [`SignerError::NothingSigns`] before the first agreement.
    pub(super) fn fresh(&self) -> Result<(), SignerError> {
        let delay = u64::from(self.rotation.publication_delay);
        let elapsed = self.snapshot().agreed.map(|at| at.elapsed());
        match elapsed {
            Some(elapsed) if delay == 0 || elapsed <= Duration::from_secs(delay) => Ok(()),
            Some(elapsed) => Err(SignerError::NotAgreed(elapsed.as_secs())),
            None => Err(SignerError::NothingSigns(vec![
                "the replicas have not agreed on the certificates yet".to_owned(),
            ])),
        }
    }

    /// Checks that a token could be signed for at least one of the carrier's codes.
    ///
    /// # Errors
    /// Says what is missing.
    pub(super) fn ready(&self, at: Time, distrusts: &[Distrust]) -> Result<(), SignerError> {
        self.fresh()?;
        let snapshot = self.snapshot();
        let own = self.keyring.spcs();
        let is_trusted = |one: &&Candidate| distrusts.iter().all(|d| d.chain != one.chain);
        let candidates = snapshot.candidates.iter().filter(is_trusted);
        let candidates: Vec<Candidate> = candidates.cloned().collect();
        if own.iter().any(|spc| choose(&candidates, spc, at).is_some()) {
            return Ok(());
        }
        let why = |refused: &RefusedFile| format!("`{}`: {}", refused.file, refused.reason);
        let mut reasons = vec!["no certificate is both valid and active yet".to_owned()];
        reasons.extend(distrust::reasons(&snapshot.chains, distrusts, at));
        reasons.extend(snapshot.refused.iter().map(why));
        Err(SignerError::NothingSigns(reasons))
    }

    /// The distrusts that this replica has learned of with its chains.
    pub(super) fn known_distrusts(&self) -> Vec<Distrust> {
        let snapshot = self.snapshot();
        let distrusts = snapshot
            .chains
            .iter()
            .filter_map(|one| one.distrust.clone());
        distrusts.collect()
    }

    /// For each code of the carrier that has a certificate, the latest `exp` of a token signed now.
    #[must_use]
    pub fn authority_ends(&self, at: Time) -> Vec<(Spc, Time)> {
        let candidates = self.candidates();
        let own = self.keyring.spcs().iter();
        own.filter_map(|spc| Some((spc.clone(), choose(&candidates, spc, at)?.ends)))
            .collect()
    }

    fn may_query(&self) -> bool {
        let mut last_query = self.last_query.lock();
        let recently = last_query.is_some_and(|at| at.elapsed() < Duration::from_secs(1));
        if !recently {
            *last_query = Some(Instant::now());
        }
        !recently
    }

    fn published(&self, name: &str) -> Option<Published> {
        self.snapshot().published.get(name)
    }

    fn snapshot(&self) -> Arc<SignerSnapshot> {
        let snapshot = self.snapshot.read();
        Arc::clone(&snapshot)
    }

    /// Installs a snapshot, unless a newer one was installed first.
    fn replace(&self, new: SignerSnapshot) {
        let mut snapshot = self.snapshot.write();
        if snapshot.sequence <= new.sequence {
            *snapshot = Arc::new(new);
        }
    }

    fn next_sequence(&self) -> u64 {
        self.agreements.fetch_add(1, Ordering::SeqCst) + 1
    }
}

impl Authority {
    /// Scans all files and modules for keys and chains. Blocks.
    ///
    /// # Errors
    /// If this process has no signers.
    pub fn look_for_signers(&self, mode: ScanMode) -> Result<ScanResult, ChangeError> {
        let signers = self
            .signers
            .as_ref()
            .ok_or(ChangeError::NotFound("signer"))?;
        Ok(signers.look(self.clock.now(), mode))
    }

    /// Whether the key of this chain is known to be distrusted, so that the chain is not served any
    /// more.
    #[must_use]
    pub fn is_distrusted_chain(&self, name: &str) -> bool {
        let snapshot = self.signers.as_ref().map(|signers| signers.snapshot());
        let chains = snapshot.iter().flat_map(|snapshot| &snapshot.chains);
        chains
            .filter(|chain| chain.distrust.is_some())
            .any(|chain| chain.name == name)
    }

    /// The certificate chain of this name, as served at its `x5u` (RFC 7515 §4.1.5).
    #[must_use]
    pub fn published_chain(&self, name: &str) -> Option<Published> {
        self.signers.as_ref()?.published(name)
    }

    /// A chain that this replica does not know yet, because another one has just published it.
    /// Blocks. Queries the database at most once a second, since a client can invent names.
    ///
    /// # Errors
    /// If the database cannot be read, or was queried within this second: then it is not known
    /// whether there is such a chain.
    pub fn chain_published_elsewhere(&self, name: &str) -> Result<Option<Published>, StoreError> {
        let Some(signers) = self.signers.as_ref() else {
            return Ok(None);
        };
        if !signers.may_query() {
            return Err(StoreError::Busy);
        }
        let read = |tx: &mut Tx<'_>| tx.signing_chains();
        let chains: Vec<SigningChain> = self.store.read(read)?;
        let now = self.clock.now();
        let chain = chains.into_iter().find(|chain| {
            chain.name == name
                && chain.distrust.is_none()
                && chain.retired_at.is_none_or(|retired| retired > now)
        });
        let Some(chain) = chain else { return Ok(None) };
        let mut published = PublishedChains::default();
        let added = published.add_recorded(name, &chain.pem);
        added.map_err(|e| StoreError::Corrupt(e.to_string()))?;
        Ok(published.get(name))
    }

    /// All chains in the order of their publication, and the refused files of this replica. Only
    /// the carrier's staff may see them.
    pub fn list_signers(&self, caller: &Caller) -> Result<Vec<Listed>, ChangeError> {
        self.require(caller, Action::Read)?;
        if Visibility::of(caller) != Visibility::Everything {
            return Err(ChangeError::Forbidden);
        }
        let signers = self
            .signers
            .as_ref()
            .ok_or(ChangeError::NotFound("signer"))?;
        let (snapshot, now) = (signers.snapshot(), self.clock.now());
        let url = signers.keyring.public_url();
        let chains = snapshot.chains.iter().map(|chain| {
            let certificates = Certificate::chain_from_pem(&chain.pem).ok();
            Listed::Chain(Box::new(ListedChain {
                state: chain.state(&snapshot.chains, now),
                certificate: certificates.and_then(|chain| chain.into_iter().next()),
                x5u: format!("{url}/certs/{}.pem", chain.name),
                key: snapshot.signers.get(&chain.name).map(|s| s.key_kind()),
                chain: chain.clone(),
            }))
        });
        let refused = snapshot.refused.iter().cloned().map(Listed::Refused);
        Ok(chains.chain(refused).collect())
    }
}
