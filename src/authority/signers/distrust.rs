//! Distrust of a signing key, such as a stolen one: nothing is signed with it from then on, on any
//! replica, and all its grants are withdrawn. There is no way back.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use super::rotation::RotationStep;
use crate::authority::audited::event_by;
use crate::authority::scope::Visibility;
use crate::authority::withdraw::{MAX_AT_ONCE, Outstanding, Withdrawing};
use crate::authority::{Action, Authority, ChangeError, ChangeRequester, EndedDelegations};
use crate::domain::clock::rfc3339;
use crate::domain::inventory::withdrawal::{AuthorityEnd, EndingRow, KEY_DISTRUSTED};
use crate::domain::signing::certificate::Certificate;
use crate::domain::signing::chain_choice::{ChainState, SigningChain};
use crate::domain::signing::distrust::Distrust;
use crate::domain::{AuditAction, Caller, Event, Role, Time, new_id};
use crate::signer::published_chain::public_key_sha256;
use crate::signer::{Chain, RefusedFile, ScanResult, Signer};
use crate::store::{Page, StoreError, Tx};

/// A distrusted key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DistrustedKey {
    /// The distrust of the chain that was named.
    pub distrust: Distrust,
    /// All chains of the key, in the order of their publication.
    pub chains: Vec<String>,
}

impl Authority {
    /// Distrusts the key of a chain, permanently. From the answer on, no replica records a grant
    /// for any chain of the key, and all its grants are withdrawn: those that exceed one
    /// transaction by a sweep. Repeating it changes nothing, and answers the same.
    ///
    /// # Errors
    /// If the caller is not an administrator, or no replica has ever published this chain.
    pub async fn distrust_chain(
        &self,
        by: impl Into<ChangeRequester<'_, Withdrawing<DistrustedKey>>>,
        chain: String,
        reason: String,
    ) -> Result<Withdrawing<DistrustedKey>, ChangeError> {
        let by = by.into();
        let caller = by.caller().clone();
        self.require_admin(&caller)?;
        let now = self.clock.now();
        let (event, subject) = (
            event_by(&caller, now, AuditAction::DistrustChain),
            chain.clone(),
        );
        let (recorded, caller_id) = (event.clone(), caller.id.clone());
        let work = move |tx: &mut Tx<'_>| {
            let all = tx.signing_chains()?;
            let named = all.iter().find(|one| one.name == chain);
            let named = named.ok_or(ChangeError::NotFound("certificate chain"))?;
            let known = named.distrust.is_some();
            let distrusts = match &named.distrust {
                Some(known) => of_the_same_key(&all, known),
                None => end_trust(tx, &all, named, (&reason, now), &caller_id)?,
            };
            let distrust = distrusts.iter().find(|one| one.chain == chain).cloned();
            let distrust = distrust.ok_or_else(|| without_key(&chain))?;
            let chains: Vec<String> = distrusts.iter().map(|one| one.chain.clone()).collect();
            if !known {
                withdraw(tx, &distrust, &chains, now)?;
            }
            let outstanding_grants = outstanding(tx, &distrust, &chains)?;
            if !known {
                record(tx, &event, &distrusts, outstanding_grants.exposure.tokens)?;
            }
            Ok(Withdrawing {
                row: DistrustedKey { distrust, chains },
                outstanding_grants,
                ended_delegations: EndedDelegations::default(),
            })
        };
        let done = self.change_by(by, recorded, subject, work).await?;
        self.stop_using_distrusted(&caller).await;
        Ok(done)
    }

    /// Removes distrusted keys from the memory of this replica, and lets the next chain sign. The
    /// other replicas do this when they next poll; until then, the transaction of a decision keeps
    /// them from signing.
    async fn stop_using_distrusted(&self, caller: &Caller) {
        let Some(signers) = &self.signers else { return };
        let found = ScanResult {
            refused: signers.snapshot().refused.clone(),
            ..ScanResult::default()
        };
        if let Err(error) = self.agree_on_signers(caller, found).await {
            log::warn!("a key is distrusted, and stays in memory until the next poll: {error}");
        }
    }

    /// All chains that the replicas have published, and their states; also without signers of its
    /// own, as at the command line. Blocks.
    ///
    /// # Errors
    /// If the caller may not read them, or the store fails.
    pub fn recorded_chains(
        &self,
        caller: &Caller,
    ) -> Result<Vec<(SigningChain, ChainState)>, ChangeError> {
        self.require(caller, Action::Read)?;
        if Visibility::of(caller) != Visibility::Everything {
            return Err(ChangeError::Forbidden);
        }
        let read = |tx: &mut Tx<'_>| tx.signing_chains();
        let (now, chains) = (self.clock.now(), self.store.read(read)?);
        let states: Vec<ChainState> = chains.iter().map(|one| one.state(&chains, now)).collect();
        Ok(chains.into_iter().zip(states).collect())
    }

    fn require_admin(&self, caller: &Caller) -> Result<(), ChangeError> {
        self.require(caller, Action::Provision)?;
        match caller.role {
            Role::Admin => Ok(()),
            Role::Provisioner | Role::Portal | Role::Account | Role::Auditor | Role::Renewer => {
                Err(ChangeError::Forbidden)
            }
        }
    }
}

/// Distrusts all chains that have the key of `named`.
fn end_trust(
    tx: &mut Tx<'_>,
    all: &[SigningChain],
    named: &SigningChain,
    (reason, now): (&str, Time),
    by: &str,
) -> Result<Vec<Distrust>, StoreError> {
    let id = new_id(now);
    let parsed = Chain::from_pem(&named.pem).map_err(|_| without_key(&named.name))?;
    let key = public_key_sha256(parsed.leaf_key_der());
    let mut distrusts = Vec::new();
    for chain in all {
        // A chain that cannot be parsed cannot be published, and signs nothing.
        let Ok(parsed) = Chain::from_pem(&chain.pem) else {
            continue;
        };
        if public_key_sha256(parsed.leaf_key_der()) != key {
            continue;
        }
        distrusts.push(Distrust {
            id,
            chain: chain.name.clone(),
            public_key: key.clone(),
            certificate: parsed.leaf_sha256(),
            at: now,
            reason: reason.to_owned(),
            by: by.to_owned(),
        });
        // No longer published: a CA that asks for the chain must not find the key.
        tx.update_signing_chain(&SigningChain {
            retired_at: Some(chain.retired_at.map_or(now, |known| known.min(now))),
            noted: ChainState::Distrusted,
            ..chain.clone()
        })?;
    }
    tx.insert_distrusts(&distrusts)?;
    Ok(distrusts)
}

fn of_the_same_key(all: &[SigningChain], known: &Distrust) -> Vec<Distrust> {
    let distrusts = all.iter().filter_map(|one| one.distrust.clone());
    distrusts.filter(|one| one.id == known.id).collect()
}

/// Withdraws the grants that the key signs. A sweep withdraws those that exceed one transaction;
/// they count as withdrawn until then.
fn withdraw(
    tx: &mut Tx<'_>,
    distrust: &Distrust,
    chains: &[String],
    now: Time,
) -> Result<(), StoreError> {
    let ended = AuthorityEnd {
        at: distrust.at,
        reason: KEY_DISTRUSTED.to_owned(),
        cause: Some(EndingRow::Distrust(distrust.id)),
    };
    let mut left = MAX_AT_ONCE;
    for chain in chains {
        let swept = tx.withdraw_chain(chain, &ended, "", left, now)?;
        left -= swept.count.min(left);
        if let Some(after) = swept.more_after {
            tx.insert_chain_sweep((new_id(now), chain), &ended, &after, now)?;
        }
    }
    Ok(())
}

/// The tokens that can be redeemed although the key is distrusted.
fn outstanding(
    tx: &mut Tx<'_>,
    distrust: &Distrust,
    chains: &[String],
) -> Result<Outstanding, StoreError> {
    let (grants, more) = tx.outstanding_of_chains(chains, distrust.at, Page::MAX_LIMIT)?;
    Ok(Outstanding {
        grants,
        more,
        exposure: tx.exposure_of_chains(chains, distrust.at)?,
    })
}

/// Cannot happen: a chain is parsed before it is recorded.
fn without_key(chain: &str) -> StoreError {
    StoreError::Corrupt(format!("chain `{chain}` has no readable key"))
}

fn record(
    tx: &mut Tx<'_>,
    event: &Event,
    distrusts: &[Distrust],
    withdrawn: u64,
) -> Result<(), StoreError> {
    for one in distrusts {
        log::info!(chain = one.chain.as_str(); "certificate chain is distrusted: it signs no more");
        let detail = json!({
            "reason": one.reason, "distrust": one.id, "public_key": one.public_key,
            "certificate": one.certificate, "withdrawn": withdrawn,
        });
        tx.record(&event.done(&one.chain, detail))?;
    }
    Ok(())
}

impl RotationStep {
    /// The step without the signers of distrusted keys.
    pub(super) fn trusting(&self, distrusts: &[Distrust]) -> Self {
        let mut step = self.clone();
        let is_trusted = |signer: &Signer| of_key(distrusts, signer.chain()).is_none();
        step.own_signers.retain(|_, signer| is_trusted(signer));
        step
    }
}

/// The files with a new certificate for a distrusted key, as refused.
pub(super) fn refused_files(
    own_signers: &BTreeMap<String, Arc<Signer>>,
    files: &BTreeMap<String, String>,
    chains: &[SigningChain],
    distrusts: &[Distrust],
) -> Vec<RefusedFile> {
    let is_recorded = |name: &str| chains.iter().any(|one| one.name == name);
    let refused = own_signers.iter().filter_map(|(name, signer)| {
        let distrust = of_key(distrusts, signer.chain())?;
        let file = files.get(name)?;
        (!is_recorded(name)).then(|| RefusedFile {
            file: file.clone(),
            reason: refusal(distrust),
            chain: Some(name.clone()),
        })
    });
    refused.collect()
}

/// The distrust of the key of a chain, if it is distrusted.
#[must_use]
pub fn of_key<'a>(distrusts: &'a [Distrust], chain: &Chain) -> Option<&'a Distrust> {
    of_public_key(distrusts, chain.leaf_key_der())
}

/// The distrust of the key of a certificate, if it is distrusted.
#[must_use]
pub fn of_certificate<'a>(
    distrusts: &'a [Distrust],
    certificate: &Certificate,
) -> Option<&'a Distrust> {
    of_public_key(distrusts, &certificate.public_key_der().ok()?)
}

fn of_public_key<'a>(distrusts: &'a [Distrust], der: &[u8]) -> Option<&'a Distrust> {
    if distrusts.is_empty() {
        return None;
    }
    let key = public_key_sha256(der);
    distrusts.iter().find(|one| one.public_key == key)
}

/// Says that a key is distrusted, and since when.
#[must_use]
pub fn refusal(distrust: &Distrust) -> String {
    format!(
        "the key is distrusted since {} ({}); make a new key and certificate",
        rfc3339(&distrust.at),
        distrust.reason
    )
}

/// When a key was distrusted and why, for each chain that could sign otherwise.
pub(super) fn reasons(chains: &[SigningChain], distrusts: &[Distrust], at: Time) -> Vec<String> {
    let in_force = chains.iter().filter(|chain| chain.in_force(at));
    let distrust = |chain: &SigningChain| {
        let of_this = distrusts.iter().find(|one| one.chain == chain.name)?;
        Some(format!("chain `{}`: {}", chain.name, refusal(of_this)))
    };
    in_force.filter_map(distrust).collect()
}
