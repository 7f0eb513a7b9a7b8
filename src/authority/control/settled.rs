//! Writes proofs whose codes are of no more use, and what is known to end them later.

use crate::authority::{ChangeError, StoreError};
use crate::domain::clock::Time;
use crate::domain::control::proof::{ControlProof, ProofEnd};
use crate::domain::inventory::CutFrom;
use crate::store::{Tx, Versions};

/// The most planned rows of one kind that are read for one number.
const MAX_PLANNED: usize = 1_000;

/// What is known to take the number away later ends the proof then. Whatever is recorded from now
/// on ends it in its own transaction.
pub(super) fn end_as_planned(
    tx: &mut Tx<'_>,
    proof: &mut ControlProof,
    now: Time,
) -> Result<(), ChangeError> {
    let (numbers, later) = (
        [proof.number.into()],
        Versions::HoldingIn {
            from: now,
            until: None,
        },
    );
    let delegation = tx.delegation(proof.delegation)?;
    if let Some(until) = delegation.and_then(|row| row.window.until()) {
        proof.end_at(until.max(now), ProofEnd::DelegationEnded);
    }
    let exclusions = tx.exclusions_touching(&numbers, later, MAX_PLANNED + 1)?;
    let departures = tx.departures_touching(&numbers, later, MAX_PLANNED + 1)?;
    let delegations = tx.delegations_touching(&numbers, later, MAX_PLANNED + 1)?;
    let most = exclusions.len().max(departures.len());
    if most.max(delegations.len()) > MAX_PLANNED {
        return Err(ChangeError::TooFragmented { limit: MAX_PLANNED });
    }
    for delegation in delegations {
        let lends_on = |from: &CutFrom| from.lender == proof.account && !from.lender_keeps;
        if delegation.cut_from.as_ref().is_some_and(lends_on) {
            let from = delegation.window.from();
            proof.end_at(from.max(now), ProofEnd::DelegationEnded);
        }
    }
    for exclusion in exclusions {
        let from = exclusion.window.from();
        proof.end_at(from.max(now), ProofEnd::NumberExcluded);
    }
    for departure in departures.iter().filter(|departure| departure.at > now) {
        proof.end_at(departure.at, ProofEnd::NumberLeft);
    }
    Ok(())
}

/// Writes a proof whose code is of no more use, unless its end has changed since it was `read`.
/// Returns whether it did.
pub(super) fn settle(
    tx: &mut Tx<'_>,
    read: &ControlProof,
    proof: &ControlProof,
) -> Result<bool, StoreError> {
    tx.remove_control_message(proof.id)?;
    tx.update_control_proof(read, proof)
}
