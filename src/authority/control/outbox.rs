//! The outbox of codes: which code is sent next, and what became of each attempt. The module
//! `gateways` does the sending.
//!
//! These transactions run beside mints, which read nothing that is written here.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::json;
use uuid::Uuid;

use crate::authority::Authority;
use crate::authority::audited::event_by;
use crate::domain::accounts::account::Account;
use crate::domain::clock::Time;
use crate::domain::control::message::CodeMessage;
use crate::domain::control::proof::{ControlProof, ProofState};
use crate::domain::control::sending::{SendFailure, SendOutcome};
use crate::domain::text::links::{has_link, has_number, without_link_and_number};
use crate::domain::{AuditAction, Caller};
use crate::store::{StoreError, Tx};

/// How long a process owns a code before another one can send it; longer than any attempt.
const LEASE: TimeDelta = TimeDelta::seconds(90);
/// The most codes that one transaction gives up.
const MAX_OVERDUE: u16 = 100;

/// A code for this process to send.
#[derive(Debug, Clone)]
pub struct AssignedCode {
    pub message: CodeMessage,
    pub proof: ControlProof,
    /// The name of the account for people; its id if it has none, or one that has a link.
    pub account_name: String,
    /// Until when this process may send it.
    pub leased_until: Time,
}

/// What became of a code after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptResult {
    Sent,
    RetriedAt(Time),
    GivenUp,
    /// Another process has it, or it is no longer needed.
    NotOurs,
}

/// Whether a code that is given up may have arrived. Its proof is then left to its end: the code
/// can still come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MayHaveArrived {
    Yes,
    No,
}

impl Authority {
    /// Leases codes to this process: for each gateway, at most as many as it has room for. Codes
    /// that are no longer worth sending are given up.
    pub async fn take_codes(
        &self,
        process: Uuid,
        room: &BTreeMap<String, u16>,
    ) -> Result<Vec<AssignedCode>, StoreError> {
        let now = self.clock.now();
        let mut room = room.clone();
        room.retain(|_, most| *most > 0);
        let gateways: Vec<&str> = room.keys().map(String::as_str).collect();
        // Usually there is nothing to do: find out by a read, without occupying the writer.
        let has_due = |tx: &mut Tx<'_>| {
            let is_due = tx.has_due_control_message(&gateways, now)?;
            if is_due {
                self.check_clock(tx)?;
            }
            Ok::<_, StoreError>(is_due)
        };
        if !self.store.read(has_due)? {
            return Ok(Vec::new());
        }
        let until = now + LEASE;
        let work = move |tx: &mut Tx<'_>| {
            for overdue in tx.overdue_control_messages(now, MAX_OVERDUE)? {
                tx.remove_control_message(overdue.proof)?;
                let failure = match overdue.attempts {
                    0 => Some(SendFailure::NotAttempted),
                    // Its process ended during an attempt, each time.
                    _ if overdue.give_up_at > now => Some(SendFailure::Interrupted),
                    _ => None,
                };
                let arrived = match overdue.unclear {
                    0 => MayHaveArrived::No,
                    _ => MayHaveArrived::Yes,
                };
                give_up(tx, &overdue, failure, now, arrived)?;
            }
            let mut taken = Vec::new();
            for (gateway, most) in &room {
                let leased = tx.lease_control_messages(gateway, *most, now, (process, until))?;
                for message in leased {
                    taken.extend(assign(tx, message, until, now)?);
                }
            }
            Ok(taken)
        };
        self.store.write_alongside("take-codes", work).await
    }

    /// Records what became of an attempt, unless another process has taken the code over.
    ///
    /// # Errors
    /// If the store fails; the code is then sent once more when the lease is over.
    pub async fn code_attempted(
        &self,
        process: Uuid,
        code: &AssignedCode,
        outcome: SendOutcome,
    ) -> Result<AttemptResult, StoreError> {
        let now = self.clock.now();
        let (message, proof) = (code.message.clone(), code.proof.clone());
        let work = move |tx: &mut Tx<'_>| {
            let id = message.proof;
            if let Some(failure) = outcome.failure() {
                if let Some(at) = message.retry_at(outcome, now) {
                    let unclear = match outcome {
                        SendOutcome::Unclear(..) => message.unclear,
                        SendOutcome::Accepted
                        | SendOutcome::Later(..)
                        | SendOutcome::Refused(_) => message.unclear.saturating_sub(1),
                    };
                    if !tx.retry_control_message(id, process, (at, unclear))? {
                        return Ok(AttemptResult::NotOurs);
                    }
                    tx.control_proof_not_sent(id, failure)?;
                    return Ok(AttemptResult::RetriedAt(at));
                }
                if !tx.remove_leased_control_message(id, process)? {
                    return Ok(AttemptResult::NotOurs);
                }
                let arrived = match outcome {
                    SendOutcome::Unclear(..) => MayHaveArrived::Yes,
                    // This attempt did not send it, but an earlier one may have.
                    SendOutcome::Accepted | SendOutcome::Later(..) | SendOutcome::Refused(_)
                        if message.unclear > 1 =>
                    {
                        MayHaveArrived::Yes
                    }
                    SendOutcome::Accepted | SendOutcome::Later(..) | SendOutcome::Refused(_) => {
                        MayHaveArrived::No
                    }
                };
                give_up(tx, &message, Some(failure), now, arrived)?;
                return Ok(AttemptResult::GivenUp);
            }
            // Without the lease the row is another process's, which records its own attempt; that
            // this one was sent is true all the same.
            let was_ours = tx.remove_leased_control_message(id, process)?;
            tx.control_proof_sent(id, now)?;
            let detail = json!({
                "method": proof.method, "gateway": proof.gateway, "attempts": message.attempts,
            });
            tx.record(&event(&proof, now).done(&id, detail))?;
            Ok(if was_ours {
                AttemptResult::Sent
            } else {
                AttemptResult::NotOurs
            })
        };
        let result = self.store.write_alongside("code-attempt", work).await;
        if let Some(failure) = outcome.failure() {
            let gateway = &code.message.gateway;
            self.metrics.gateways.failed(gateway, failure.as_str());
        }
        result
    }

    /// Sets the metric of codes that are still to be sent. Blocks.
    pub fn measure_outbox(&self) -> Result<(), StoreError> {
        let waiting = |tx: &mut Tx<'_>| tx.count_control_messages();
        let count = self.store.read(waiting)?;
        self.metrics.gateways.pending(count);
        Ok(())
    }
}

/// The assignment of a code that was leased; `None` if it is no longer needed.
fn assign(
    tx: &mut Tx<'_>,
    message: CodeMessage,
    leased_until: Time,
    now: Time,
) -> Result<Option<AssignedCode>, StoreError> {
    let proof = tx.control_proof(message.proof)?.map(|(proof, _)| proof);
    let account = match &proof {
        // It ended meanwhile: nobody has to be called or written to any more.
        Some(proof) if proof.state(now) == ProofState::Pending => tx.account(&proof.account)?,
        _ => None,
    };
    let (Some(proof), Some(account)) = (proof, account) else {
        tx.remove_control_message(message.proof)?;
        return Ok(None);
    };
    let account_name = name_in_message(&account);
    Ok(Some(AssignedCode {
        message,
        proof,
        account_name,
        leased_until,
    }))
}

/// How a message names an account. Phones make a link of an address or a telephone number that they
/// find, and the message is the carrier's: a name with one in it would send people to a site of the
/// account's, or let them call it.
fn name_in_message(account: &Account) -> String {
    let id = account.id.as_str();
    match account.name.as_str() {
        name if !name.is_empty() && !is_misleading(name) => name.to_owned(),
        _ if is_misleading(id) => without_link_and_number(id),
        _ => id.to_owned(),
    }
}

fn is_misleading(name: &str) -> bool {
    has_link(name) || has_number(name)
}

/// Ends a proof whose code is no longer sent.
fn give_up(
    tx: &mut Tx<'_>,
    message: &CodeMessage,
    failure: Option<SendFailure>,
    now: Time,
    arrived: MayHaveArrived,
) -> Result<(), StoreError> {
    let Some((proof, _)) = tx.control_proof(message.proof)? else {
        return Ok(());
    };
    if let Some(failure) = failure {
        tx.control_proof_not_sent(proof.id, failure)?;
    }
    // Sent before by this process or another one: it is the caller's turn, not a failure.
    if proof.sent_at.is_some() {
        return Ok(());
    }
    if arrived == MayHaveArrived::No && !tx.give_up_control_proof(proof.id, now)? {
        return Ok(());
    }
    let last = failure.map(|failure| failure.to_string());
    let code = last.or_else(|| proof.failure.clone());
    let code = code.unwrap_or_else(|| SendFailure::NotAttempted.to_string());
    let reason = format!("given up after {} attempts", message.attempts);
    let event = event(&proof, now).refused(&proof.id, &code, &reason);
    tx.record(&about(event, &proof))
}

/// The event of the request that started the proof, so that the trail shows them together.
pub(super) fn event(proof: &ControlProof, now: Time) -> crate::domain::Event {
    let service = Caller::the_service(proof.request_id);
    event_by(&service, now, AuditAction::SendControlCode).about(&proof.account)
}

/// A refusal concerns the caller's own account, and the caller is the service: so name the account.
pub(super) fn about(
    event: crate::domain::AuditEvent,
    proof: &ControlProof,
) -> crate::domain::AuditEvent {
    crate::domain::AuditEvent {
        account: Some(proof.account.clone()),
        ..event
    }
}
