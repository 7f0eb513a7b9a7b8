//! Confirms proofs of control: what a number was sent comes back. Wrong codes are counted in the
//! same transaction, so no number of callers and replicas gets more tries than one would.

use std::sync::Arc;

use serde_json::json;
use uuid::Uuid;

use super::ControlSettings;
use super::guesses::must_have_guesses;
use super::list::visible;
use super::settled::{end_as_planned, settle};
use super::start::unprotected;
use crate::authority::audited::event_by;
use crate::authority::scope::Visibility;
use crate::authority::{Authority, ChangeError, ChangeRequester, StoreError};
use crate::domain::clock::Time;
use crate::domain::control::channel::SignedAnswer;
use crate::domain::control::codes::{Codes, ControlCode};
use crate::domain::control::proof::{Confirmed, ControlProof, Method, ProofEnd, ProofState};
use crate::domain::decision::denial::RefusalCause;
use crate::domain::decision::{AccountStanding, holding_delegations};
use crate::domain::issuance::RuledRequest;
use crate::domain::{AuditAction, AuditEvent, Caller, Event, Fingerprint};
use crate::store::Tx;
use crate::telemetry::{ProofOutcome, ReproofOutcome};

/// What became of a code that came back. A refusal is a result and not an error, since it is
/// recorded and counted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one for a request, which is rendered at once"
)]
pub enum Confirmation {
    Confirmed(ControlProof),
    Refused(RefusedCode),
}

/// A code that was not accepted. Wrong, late and used-up codes get the same answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusedCode {
    /// How many more codes can be tried; 0 if another proof has to be started.
    pub tries_left: u32,
}

impl RefusedCode {
    /// The stable code of the API.
    pub const CODE: &str = "code-not-accepted";
    /// No further code can be accepted.
    const FINAL: Self = Self { tries_left: 0 };
}

impl std::fmt::Display for RefusedCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.tries_left {
            0 => f.write_str("the code is not accepted; start another proof"),
            1 => f.write_str("the code is not accepted; one more try is left"),
            left => write!(f, "the code is not accepted; {left} more tries are left"),
        }
    }
}

/// An answer to be compared with its proof.
struct AnswerToProof {
    code: ControlCode,
    ruled: RuledRequest,
    codes: Arc<dyn Codes>,
    settings: ControlSettings,
    /// Whether it may be a guess: a person entered it, and not for the carrier.
    may_be_guessed: bool,
    event: Event,
}

/// What a transaction did with an answer.
struct Answered {
    confirmation: Confirmation,
    proof: ControlProof,
    outcome: Option<ProofOutcome>,
    /// What is recorded after COMMIT: of a proof that is over, guesses could fill the audit trail.
    summed: Option<AuditEvent>,
}

impl Authority {
    /// The proof that a caller wants to confirm. Blocks.
    ///
    /// # Errors
    /// If the caller may not confirm proofs, or has no such proof.
    pub fn proof_to_confirm(&self, caller: &Caller, id: Uuid) -> Result<ControlProof, ChangeError> {
        self.may_prove(caller)?;
        let scope = Visibility::of(caller);
        self.store.read(|tx| {
            self.check_clock(tx)?;
            visible(tx, &scope, id)
        })
    }

    /// Takes the code that a person got, for what [`Self::proof_to_confirm`] has returned.
    ///
    /// # Errors
    /// If the caller has no such proof, or a signed answer is needed. A code that is not accepted
    /// is no error: see [`Confirmation`].
    pub async fn confirm_control(
        &self,
        by: impl Into<ChangeRequester<'_, Confirmation>>,
        proof: &ControlProof,
        code: ControlCode,
    ) -> Result<Confirmation, ChangeError> {
        let by = by.into();
        let caller = by.caller().clone();
        self.may_prove(&caller)?;
        if proof.method == Method::Sip {
            return Err(ChangeError::SignedAnswerNeeded);
        }
        // Proofs that are over stay so. Nothing is recorded, or guesses would fill the audit trail.
        if !by.is_keyed() && is_over(proof, self.clock.now()) {
            self.count(proof, ProofOutcome::WrongCode);
            return Ok(Confirmation::Refused(RefusedCode::FINAL));
        }
        let is_pending = proof.state(self.clock.now()) == ProofState::Pending;
        if is_pending && Visibility::of(&caller) != Visibility::Everything {
            let checked = self.must_have_guesses(&caller, proof).await;
            checked.inspect_err(|_| self.count(proof, ProofOutcome::WrongCode))?;
        }
        self.answer(by, &caller, proof, code).await
    }

    /// The proof that a signed answer is for; `None` if there is none that this key answers.
    /// Blocks.
    pub fn proof_to_answer(
        &self,
        id: Uuid,
        answer: &SignedAnswer,
    ) -> Result<Option<ControlProof>, StoreError> {
        let found = self.store.read(|tx| {
            self.check_clock(tx)?;
            tx.control_proof(id)
        })?;
        let proof = found.map(|(proof, _)| proof);
        Ok(proof.filter(|proof| is_signed_by(proof, answer.key)))
    }

    /// Takes the nonce that an agent returned, signed with the ACME account key, for what
    /// [`Self::proof_to_answer`] has returned. The signature is the credential. Only a nonce that
    /// the right key has signed counts as a try, so that no one else can use up the tries of an
    /// agent.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn confirm_control_signed(
        &self,
        request_id: Uuid,
        proof: Option<&ControlProof>,
        answer: SignedAnswer,
    ) -> Result<Confirmation, ChangeError> {
        let Some(proof) = proof.filter(|proof| is_signed_by(proof, answer.key)) else {
            return Ok(Confirmation::Refused(RefusedCode::FINAL));
        };
        if is_over(proof, self.clock.now()) {
            self.count(proof, ProofOutcome::WrongCode);
            return Ok(Confirmation::Refused(RefusedCode::FINAL));
        }
        let caller = Caller::of_account_key(answer.key, proof.account.clone(), request_id);
        self.answer((&caller).into(), &caller, proof, answer.nonce)
            .await
    }

    async fn answer(
        &self,
        by: ChangeRequester<'_, Confirmation>,
        caller: &Caller,
        proof: &ControlProof,
        code: ControlCode,
    ) -> Result<Confirmation, ChangeError> {
        let (now, id, scope) = (self.clock.now(), proof.id, Visibility::of(caller));
        let event = event_by(caller, now, AuditAction::ConfirmControlProof);
        let answer = AnswerToProof {
            code,
            ruled: self.ruled_for_numbers(caller, &proof.account, &[proof.number], now)?,
            codes: Arc::clone(&self.control.codes),
            settings: self.control.settings.clone(),
            may_be_guessed: proof.method != Method::Sip && scope != Visibility::Everything,
            event: event.clone(),
        };
        let counted = Arc::new(parking_lot::Mutex::new(None));
        let slot = Arc::clone(&counted);
        let work = move |tx: &mut Tx<'_>| {
            // Read again, under the lock that orders all changes.
            visible(tx, &scope, id)?;
            if scope.reaches_below() {
                scope.must_be_in_good_standing(tx)?;
            }
            let found = tx.control_proof(id)?;
            let (proof, hash) = found.ok_or(ChangeError::NotFound("control proof"))?;
            let answered = answer.compare(tx, proof, &hash)?;
            *slot.lock() = answered
                .outcome
                .map(|outcome| (answered.proof, outcome, answered.summed));
            let mut confirmation = answered.confirmation;
            if let Confirmation::Confirmed(proof) = &mut confirmation {
                scope.redact_proofs(tx, std::slice::from_mut(proof))?;
            }
            Ok(confirmation)
        };
        let done = self.change_by(by, event, id, work).await?;
        let counted = counted.lock().take();
        if let Some((proof, outcome, summed)) = counted {
            self.count(&proof, outcome);
            if let Some(event) = summed {
                self.store.record_refusal(event).await?;
            }
        }
        Ok(done)
    }

    fn count(&self, proof: &ControlProof, outcome: ProofOutcome) {
        let metrics = &self.metrics.control;
        metrics.proof(proof.method.as_str(), outcome);
        if outcome == ProofOutcome::Confirmed && proof.renewal.is_some() {
            metrics.reproofs(ReproofOutcome::Confirmed, 1);
        }
        if let (ProofOutcome::Confirmed, Some(confirmed)) = (outcome, &proof.confirmed) {
            let taken = (confirmed.at - proof.started_at).num_seconds();
            let seconds = u32::try_from(taken).unwrap_or_default();
            metrics.confirmed_after(proof.method.as_str(), seconds.into());
        }
    }
}

/// Whether an answer that this key has signed can confirm the proof.
fn is_signed_by(proof: &ControlProof, key: Fingerprint) -> bool {
    proof.method == Method::Sip && proof.fingerprint == Some(key)
}

/// Whether no code can be accepted any more, not even the right one again.
fn is_over(proof: &ControlProof, now: Time) -> bool {
    match proof.state(now) {
        ProofState::Pending | ProofState::Confirmed => false,
        ProofState::Expired | ProofState::Failed | ProofState::Ended => true,
    }
}

impl AnswerToProof {
    /// Compares, and records what comes of it.
    fn compare(
        &self,
        tx: &mut Tx<'_>,
        read: ControlProof,
        hash: &[u8],
    ) -> Result<Answered, ChangeError> {
        let now = self.ruled.now;
        let matches = self.codes.matches(read.id, &self.code, hash);
        let matches = matches.map_err(|error| unprotected(&error))?;
        match read.state(now) {
            ProofState::Confirmed if matches => {
                return Ok(Answered {
                    confirmation: Confirmation::Confirmed(read.clone()),
                    proof: read,
                    outcome: None,
                    summed: None,
                });
            }
            ProofState::Confirmed
            | ProofState::Expired
            | ProofState::Failed
            | ProofState::Ended => {
                return Ok(Answered {
                    confirmation: Confirmation::Refused(RefusedCode::FINAL),
                    summed: Some(self.refusal(&read, RefusedCode::FINAL)),
                    outcome: Some(ProofOutcome::WrongCode),
                    proof: read,
                });
            }
            ProofState::Pending => {}
        }
        // Its clock or this one is wrong, so it cannot be said whether the code is still valid.
        if ControlProof::is_ahead(read.started_at, now) {
            return self.refuse(tx, read, RefusedCode::FINAL, ProofOutcome::WrongCode);
        }
        if self.may_be_guessed {
            must_have_guesses(tx, &self.settings, &read.account, now)?;
        }
        let mut proof = read.clone();
        if let Some(reason) = self.lost_authority(tx, &proof)? {
            proof.end_at(now, reason);
            settle(tx, &read, &proof)?;
            return self.refuse(tx, proof, RefusedCode::FINAL, ProofOutcome::Failed);
        }
        if matches {
            return self.confirm(tx, read);
        }
        proof.tries = proof.tries.saturating_add(1);
        let tries_left = proof.tries_left(self.settings.tries);
        if tries_left > 0 && tx.update_control_proof(&read, &proof)? {
            return self.refuse(
                tx,
                proof,
                RefusedCode { tries_left },
                ProofOutcome::WrongCode,
            );
        }
        proof.end_at(now, ProofEnd::WrongCodes);
        settle(tx, &read, &proof)?;
        self.refuse(tx, proof, RefusedCode::FINAL, ProofOutcome::Failed)
    }

    fn confirm(&self, tx: &mut Tx<'_>, read: ControlProof) -> Result<Answered, ChangeError> {
        let now = self.ruled.now;
        let by = self.event.caller().id.clone();
        let mut proof = read.clone();
        proof.confirmed = Some(Confirmed { at: now, by });
        end_as_planned(tx, &mut proof, now)?;
        if !settle(tx, &read, &proof)? {
            return self.refuse(tx, read, RefusedCode::FINAL, ProofOutcome::WrongCode);
        }
        let detail = json!({
            "account": proof.account, "number": proof.number, "method": proof.method, "gateway": proof.gateway,
            "tries": proof.tries, "ends": proof.end.map(|(at, _)| at),
        });
        tx.record(&self.event.about(&proof.account).done(&proof.id, detail))?;
        Ok(Answered {
            confirmation: Confirmation::Confirmed(proof.clone()),
            proof,
            outcome: Some(ProofOutcome::Confirmed),
            summed: None,
        })
    }

    fn refuse(
        &self,
        tx: &mut Tx<'_>,
        proof: ControlProof,
        refused: RefusedCode,
        outcome: ProofOutcome,
    ) -> Result<Answered, ChangeError> {
        tx.record(&self.refusal(&proof, refused))?;
        Ok(Answered {
            confirmation: Confirmation::Refused(refused),
            proof,
            outcome: Some(outcome),
            summed: None,
        })
    }

    /// The audit event of a refusal.
    fn refusal(&self, proof: &ControlProof, refused: RefusedCode) -> AuditEvent {
        let mut event = AuditEvent {
            account: Some(proof.account.clone()),
            ..self.event.refused(&proof.id, RefusedCode::CODE, &refused)
        };
        if let Some(members) = event.detail.as_object_mut() {
            members.insert("tries".to_owned(), json!(proof.tries));
            members.insert("end".to_owned(), json!(proof.end.map(|(_, why)| why)));
        }
        event
    }

    /// Why the account has no authority over the number any more, by the delegation under which the
    /// proof was started; `None` if it has.
    fn lost_authority(
        &self,
        tx: &mut Tx<'_>,
        proof: &ControlProof,
    ) -> Result<Option<ProofEnd>, ChangeError> {
        let facts = tx.facts(&self.ruled)?;
        match facts.standing {
            AccountStanding::Good => {}
            AccountStanding::Unknown | AccountStanding::Suspended => {
                return Ok(Some(ProofEnd::AccountSuspended));
            }
        }
        let question = self.ruled.question(facts.lifetime);
        let held = holding_delegations(&question, &facts, &[proof.number]);
        let held = held.ok().and_then(|mut held| held.pop());
        Ok(match held {
            Some(Ok(delegations)) if delegations.contains(&proof.delegation) => None,
            Some(Ok(_)) | None => Some(ProofEnd::DelegationEnded),
            Some(Err(cause)) => Some(match cause {
                RefusalCause::LenderSuspended => ProofEnd::AccountSuspended,
                RefusalCause::Excluded(_) => ProofEnd::NumberExcluded,
                RefusalCause::DelegationEnded { .. } => ProofEnd::NumberLeft,
                RefusalCause::NotDelegated
                | RefusalCause::LentOn
                | RefusalCause::NotAllocated
                | RefusalCause::CaNotDelegated
                | RefusalCause::ControlNotProven { .. }
                | RefusalCause::SpcNotHeld => ProofEnd::DelegationEnded,
            }),
        })
    }
}
