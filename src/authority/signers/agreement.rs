//! Agreement among replicas: the certificate chains that this replica found are merged with those
//! in the database, in one transaction. Each change of state is an audit event.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::json;

use super::distrust;
use super::rotation::RotationStep;
use super::{Listed, SignerSnapshot, Signers};
use crate::authority::audited::event_by;
use crate::authority::{Action, Authority, ChangeError};
use crate::domain::signing::chain_choice::{ChainState, SigningChain};
use crate::domain::{AuditAction, AuditEvent, Caller, Time, new_id};
use crate::signer::{PublishedChains, RefusedFile, ScanResult};
use crate::store::{StoreError, Tx};

impl Authority {
    /// Puts newly found signers into use on an operator's request. Returns all chains.
    ///
    /// # Errors
    /// If the caller's role does not allow it, or the store fails; nothing changes then.
    pub async fn reload_signers(
        &self,
        caller: &Caller,
        found: ScanResult,
    ) -> Result<Vec<Listed>, ChangeError> {
        self.require(caller, Action::Provision)?;
        self.agree_on_signers(caller, found).await?;
        self.list_signers(caller)
    }

    /// Like [`Self::reload_signers`], but on the service's own initiative, periodically.
    ///
    /// # Errors
    /// If the store fails; nothing changes then.
    pub async fn agree_on_signers(
        &self,
        caller: &Caller,
        found: ScanResult,
    ) -> Result<(), ChangeError> {
        let signers = self
            .signers
            .as_ref()
            .ok_or(ChangeError::NotFound("signer"))?;
        // With other codes, it would end what the others publish.
        self.must_agree_with_replicas()?;
        let (now, sequence) = (self.clock.now(), signers.next_sequence());
        let started_at = Instant::now();
        let previous = signers.snapshot();
        // Keys stay in memory even if their files are gone, unless they are distrusted.
        let mut own_signers = previous.signers.clone();
        own_signers.extend(
            found
                .signers
                .into_iter()
                .map(|signer| (signer.chain().name().to_owned(), signer)),
        );
        let step = RotationStep {
            own_signers,
            spcs: signers.keyring.spcs().to_vec(),
            now,
            delay: signers.rotation.publication_delay,
        };
        let (refused, files, known) = (found.refused, found.files, previous.refused.clone());
        let actor = self.actor(caller);
        let work_step = step;
        let look = {
            let caller = caller.clone();
            move |tx: &mut Tx<'_>| {
                let distrusts = tx.distrusts()?;
                let step = work_step.trusting(&distrusts);
                let plan = plan(tx, &step)?;
                let mut refused = still_refused(&refused, &plan.chains);
                let own_signers = &work_step.own_signers;
                refused.extend(distrust::refused_files(
                    own_signers,
                    &files,
                    &plan.chains,
                    &distrusts,
                ));
                let new = refused.iter().filter(|one| !known.contains(one));
                let events: Vec<AuditEvent> = new.map(|one| refusal(&caller, now, one)).collect();
                Ok::<_, StoreError>(Looked {
                    step,
                    plan,
                    refused,
                    events,
                })
            }
        };
        // Usually there is nothing to change. Then no lock is needed either, which would keep all
        // replicas from minting while it waits for another one.
        let looked = self.store.read(&look)?;
        let looked = if looked.changes_nothing() {
            looked
        } else {
            let caller = caller.clone();
            let work = move |tx: &mut Tx<'_>| {
                let looked = look(tx)?;
                write(tx, &looked, &caller)?;
                Ok::<_, StoreError>(looked)
            };
            let name = AuditAction::AgreeOnSigners.as_str();
            self.store.change(actor, name, work).await?
        };
        let Looked {
            step,
            plan: SigningPlan { chains, .. },
            refused,
            ..
        } = looked;

        for one in refused.iter().filter(|one| !previous.refused.contains(one)) {
            log::warn!(file = one.file.as_str(); "file refused for signing: {}", one.reason);
        }
        let snapshot = new_snapshot(&previous, step, chains, refused, started_at, sequence);
        signers.replace(snapshot);
        self.measure_signers(signers, now);
        Ok(())
    }

    fn measure_signers(&self, signers: &Signers, now: Time) {
        let ends = signers.authority_ends(now);
        let first = ends.iter().map(|(_, ends)| ends.timestamp()).min();
        let snapshot = signers.snapshot();
        let metrics = &self.metrics;
        metrics
            .signing_certificate_not_after_seconds
            .set(first.unwrap_or_default());
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        metrics
            .signer_refused_files
            .set(count(snapshot.refused.len()));
        metrics
            .spcs_without_certificate
            .set(count(self.carrier.spcs.len().saturating_sub(ends.len())));
        for state in ChainState::ALL {
            let in_state = |chain: &&SigningChain| chain.state(&snapshot.chains, now) == state;
            let number = snapshot.chains.iter().filter(in_state).count();
            metrics.signing_chains(state.as_str(), count(number));
        }
    }
}

/// What this replica signs with and publishes from now on.
fn new_snapshot(
    previous: &SignerSnapshot,
    step: RotationStep,
    chains: Vec<SigningChain>,
    refused: Vec<RefusedFile>,
    started_at: Instant,
    sequence: u64,
) -> SignerSnapshot {
    let mut published = PublishedChains::default();
    let is_gone = |chain: &&SigningChain| {
        chain.distrust.is_some() || chain.retired_at.is_some_and(|at| at <= step.now)
    };
    for chain in chains.iter().filter(|chain| !is_gone(chain)) {
        if published.keep(&chain.name, &previous.published) {
            continue;
        }
        if let Err(error) = published.add_recorded(&chain.name, &chain.pem) {
            log::error!(chain = chain.name.as_str(); "the chain in the database cannot be published: {error}");
        }
    }
    let candidates = step.candidates(&chains);
    let mut signers = step.own_signers;
    signers.retain(|name, _| published.get(name).is_some());
    SignerSnapshot {
        candidates: candidates.into(),
        chains,
        signers,
        published,
        refused,
        // Not the end: rows recorded since the start may be missing.
        agreed: Some(started_at),
        sequence,
    }
}

/// What the database says, and what has to be written because of it.
struct Looked {
    step: RotationStep,
    plan: SigningPlan,
    refused: Vec<RefusedFile>,
    /// Of files that were not refused before.
    events: Vec<AuditEvent>,
}

impl Looked {
    fn changes_nothing(&self) -> bool {
        self.plan.changes.is_empty() && self.events.is_empty()
    }
}

/// All chains as they should be, and those that differ from their rows.
struct SigningPlan {
    chains: Vec<SigningChain>,
    changes: Vec<ChainChange>,
}

struct ChainChange {
    chain: SigningChain,
    /// The states that the audit trail has to note.
    noted: Vec<ChainState>,
    is_new: bool,
}

/// Reads the rows and applies the step.
fn plan(tx: &mut Tx<'_>, step: &RotationStep) -> Result<SigningPlan, StoreError> {
    let mut chains = tx.signing_chains()?;
    let known: BTreeMap<String, SigningChain> = chains
        .iter()
        .map(|chain| (chain.name.clone(), chain.clone()))
        .collect();
    step.apply(&mut chains, |name| tx.last_expiry_of(name))?;

    let states: Vec<ChainState> = chains
        .iter()
        .map(|chain| chain.state(&chains, step.now))
        .collect();
    let mut changes = Vec::new();
    for (chain, state) in chains.iter_mut().zip(states) {
        let previous = known.get(&chain.name);
        let mut noted = Vec::new();
        if previous.is_none_or(|previous| previous.published_at != chain.published_at) {
            noted.push(ChainState::Published);
        }
        if state != chain.noted {
            noted.push(state);
            chain.noted = state;
        }
        if previous != Some(&*chain) || !noted.is_empty() {
            changes.push(ChainChange {
                chain: chain.clone(),
                noted,
                is_new: previous.is_none(),
            });
        }
    }
    Ok(SigningPlan { chains, changes })
}

/// Writes the changes, and an audit event for each. Can run more than once.
fn write(tx: &mut Tx<'_>, looked: &Looked, caller: &Caller) -> Result<(), StoreError> {
    for change in &looked.plan.changes {
        for state in &change.noted {
            event(tx, caller, looked.step.now, &change.chain, *state)?;
        }
        if change.is_new {
            tx.insert_signing_chain(&change.chain)?;
        } else {
            tx.update_signing_chain(&change.chain)?;
        }
    }
    if !looked.events.is_empty() {
        tx.insert_audit_events(&looked.events)?;
    }
    Ok(())
}

fn event(
    tx: &mut Tx<'_>,
    caller: &Caller,
    now: Time,
    chain: &SigningChain,
    state: ChainState,
) -> Result<(), StoreError> {
    let action = match state {
        ChainState::Published => AuditAction::PublishChain,
        ChainState::Active => AuditAction::ActivateChain,
        ChainState::Retiring => AuditAction::SupersedeChain,
        ChainState::Retired => AuditAction::RetireChain,
        ChainState::Distrusted => AuditAction::DistrustChain,
    };
    log::info!(chain = chain.name.as_str(), state = state.as_str(); "certificate chain changed its state");
    let detail = json!({
        "spcs": chain.spcs, "not_before": chain.not_before, "not_after": chain.not_after,
        "active_from": chain.active_from,
    });
    tx.record(&event_by(caller, now, action).done(&chain.name, detail))
}

fn refusal(caller: &Caller, now: Time, refused: &RefusedFile) -> AuditEvent {
    AuditEvent {
        id: new_id(now),
        at: now,
        caller: caller.id.clone(),
        action: AuditAction::RefuseSigner.as_str().to_owned(),
        subject: refused.file.clone(),
        outcome: "refused".to_owned(),
        detail: json!({ "reason": refused.reason, "chain": refused.chain }),
        request_id: caller.request_id,
        account: None,
        caller_account: None,
    }
}

/// Ignores files of chains that have been in use and have ended: a leftover file is no news.
fn still_refused(refused: &[RefusedFile], chains: &[SigningChain]) -> Vec<RefusedFile> {
    let was_used = |name: &String| {
        chains.iter().any(|chain| {
            chain.name == *name
                && matches!(
                    chain.noted,
                    ChainState::Retiring | ChainState::Retired | ChainState::Distrusted
                )
        })
    };
    let all = refused.iter();
    all.filter(|one| !one.chain.as_ref().is_some_and(was_used))
        .cloned()
        .collect()
}
