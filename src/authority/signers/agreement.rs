//! Agreeing: what this replica has found is put together with what all of them know, in one transaction; the changes are
//! audit events.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::json;

use super::rotation::RotationStep;
use super::{Listed, SignerSnapshot, Signers};
use crate::authority::audited::event_by;
use crate::authority::{Action, Authority, ChangeError};
use crate::domain::signing::chain::{ChainState, SigningChain};
use crate::domain::{AuditEvent, Caller, Time, new_id};
use crate::signer::{PublishedChains, RefusedFile, ScanResult};
use crate::store::{StoreError, Tx};

impl Authority {
    /// Takes what was found into use: by order of somebody, who may change what the carrier keeps. Answers with all.
    ///
    /// # Errors
    /// [`Refused`] if the caller may not, or the store cannot answer; then everything stays as it was.
    pub async fn reload_signers(
        &self,
        caller: &Caller,
        found: ScanResult,
    ) -> Result<Vec<Listed>, ChangeError> {
        self.require(caller, Action::Provision)?;
        self.agree_on_signers(caller, found).await?;
        self.list_signers(caller)
    }

    /// The same by the service itself, which looks again and again.
    ///
    /// # Errors
    /// [`Refused`] if the store cannot answer; then everything stays as it was.
    pub async fn agree_on_signers(
        &self,
        caller: &Caller,
        found: ScanResult,
    ) -> Result<(), ChangeError> {
        let signers = self
            .signers
            .as_ref()
            .ok_or(ChangeError::NotFound("signer"))?;
        let (now, turn) = (self.clock.now(), signers.next_turn());
        let asked_at = Instant::now();
        let before = signers.standing();
        // A key that was at hand stays so, whatever became of its file.
        let mut mine = before.signers.clone();
        mine.extend(
            found
                .signers
                .into_iter()
                .map(|signer| (signer.chain().name().to_owned(), signer)),
        );
        let step = RotationStep {
            mine,
            spcs: signers.keyring.spcs().to_vec(),
            now,
            delay: signers.rotation.publication_delay,
        };
        let (refused, known) = (found.refused, before.refused.clone());
        let actor = self.actor(caller);
        let (work_step, caller) = (step.clone(), caller.clone());
        let work = move |tx: &mut Tx<'_>| {
            let chains = agree(tx, &work_step, &caller)?;
            let refused = still_refused(&refused, &chains);
            let news = refused.iter().filter(|one| !known.contains(one));
            let events: Vec<AuditEvent> = news.map(|one| refusal(&caller, now, one)).collect();
            if !events.is_empty() {
                tx.insert_audit_events(&events)?;
            }
            Ok::<_, StoreError>((chains, refused))
        };
        let (chains, refused) = self.store.change(actor, "agree-on-signers", work).await?;

        for one in refused.iter().filter(|one| !before.refused.contains(one)) {
            log::warn!(file = one.file.as_str(); "refused for signing: {}", one.reason);
        }
        let standing = standing(&before, step, chains, refused, asked_at, turn);
        signers.replace(standing);
        self.measure_signers(signers, now);
        Ok(())
    }

    fn measure_signers(&self, signers: &Signers, now: Time) {
        let ends = signers.authority_ends(now);
        let first = ends.iter().map(|(_, ends)| ends.timestamp()).min();
        let standing = signers.standing();
        let metrics = &self.metrics;
        metrics
            .signing_certificate_not_after_seconds
            .set(first.unwrap_or_default());
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        metrics
            .signer_refused_files
            .set(count(standing.refused.len()));
        metrics
            .spcs_without_certificate
            .set(count(self.carrier.spcs.len().saturating_sub(ends.len())));
        for state in ChainState::ALL {
            let in_state = |chain: &&SigningChain| chain.state(&standing.chains, now) == state;
            let number = standing.chains.iter().filter(in_state).count();
            metrics.signing_chains(state.as_str(), count(number));
        }
    }
}

/// What this replica knows from now on.
fn standing(
    before: &SignerSnapshot,
    step: RotationStep,
    chains: Vec<SigningChain>,
    refused: Vec<RefusedFile>,
    asked_at: Instant,
    turn: u64,
) -> SignerSnapshot {
    let mut published = PublishedChains::default();
    let is_gone = |chain: &&SigningChain| chain.retired_at.is_some_and(|at| at <= step.now);
    for chain in chains.iter().filter(|chain| !is_gone(chain)) {
        if published.keep(&chain.name, &before.published) {
            continue;
        }
        if let Err(error) = published.add_recorded(&chain.name, &chain.pem) {
            log::error!(chain = chain.name.as_str(); "a recorded chain cannot be published: {error}");
        }
    }
    let candidates = step.candidates(&chains);
    let mut signers = step.mine;
    signers.retain(|name, _| published.get(name).is_some());
    SignerSnapshot {
        candidates: candidates.into(),
        chains,
        signers,
        published,
        refused,
        agreed: Some(asked_at),
        turn,
    }
}

/// Reads the rows, takes the step, and writes what has changed. May run more than once.
fn agree(
    tx: &mut Tx<'_>,
    step: &RotationStep,
    caller: &Caller,
) -> Result<Vec<SigningChain>, StoreError> {
    let mut chains = tx.signing_chains()?;
    let known: BTreeMap<String, SigningChain> = chains
        .iter()
        .map(|chain| (chain.name.clone(), chain.clone()))
        .collect();
    step.take(&mut chains, |name| tx.last_expiry_of(name))?;

    let states: Vec<ChainState> = chains
        .iter()
        .map(|chain| chain.state(&chains, step.now))
        .collect();
    for (chain, state) in chains.iter_mut().zip(states) {
        let before = known.get(&chain.name);
        let republished = before.is_none_or(|before| before.published_at != chain.published_at);
        if republished {
            event(tx, caller, step.now, chain, ChainState::Published)?;
        }
        if state != chain.noted {
            event(tx, caller, step.now, chain, state)?;
            chain.noted = state;
        }
        match before {
            None => tx.insert_signing_chain(chain)?,
            Some(before) if before != chain => tx.update_signing_chain(chain)?,
            Some(_) => {}
        }
    }
    Ok(chains)
}

fn event(
    tx: &mut Tx<'_>,
    caller: &Caller,
    now: Time,
    chain: &SigningChain,
    state: ChainState,
) -> Result<(), StoreError> {
    let action = match state {
        ChainState::Published => "publish-chain",
        ChainState::Active => "activate-chain",
        ChainState::Retiring => "supersede-chain",
        ChainState::Retired => "retire-chain",
    };
    log::info!(chain = chain.name.as_str(), state = state.as_str(); "a certificate chain changes");
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
        action: "refuse-signer".to_owned(),
        subject: refused.file.clone(),
        outcome: "refused".to_owned(),
        detail: json!({ "reason": refused.reason, "chain": refused.chain }),
        request_id: caller.request_id,
        account: None,
        caller_account: None,
    }
}

/// A file whose chain has been in use and is over is no news: somebody will take it away.
fn still_refused(refused: &[RefusedFile], chains: &[SigningChain]) -> Vec<RefusedFile> {
    let was_used = |name: &String| {
        chains.iter().any(|chain| {
            chain.name == *name && matches!(chain.noted, ChainState::Retiring | ChainState::Retired)
        })
    };
    let all = refused.iter();
    all.filter(|one| !one.chain.as_ref().is_some_and(was_used))
        .cloned()
        .collect()
}
