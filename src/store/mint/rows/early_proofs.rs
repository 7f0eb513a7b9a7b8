//! Proofs of control that are read before the facts, with other rows: those for lists whose numbers
//! all have to be proven, whatever delegations they are from. Most lists are such.

use std::collections::HashMap;

use crate::domain::control::proof::ConfirmedProof;
use crate::domain::control::sample::{ProvenParts, SAMPLED_FROM};
use crate::domain::issuance::RuledRequest;
use crate::domain::numbers::range_set::merged;
use crate::store::error::StoreError;
use crate::store::tables::control_confirmed::{FoundProof, ProofProbes, confirmed};

/// The numbers that are asked for, and the proofs that were found.
#[derive(Debug, Default)]
pub(in crate::store::mint) struct EarlyProofs {
    probes: ProofProbes,
    /// By the index of the request, for each that is asked for.
    found: HashMap<usize, Vec<ConfirmedProof>>,
}

impl EarlyProofs {
    /// Asks for these requests where that is possible.
    pub(in crate::store::mint) fn of(requests: &[&RuledRequest]) -> Self {
        let mut early = Self::default();
        for (at, ruled) in requests.iter().enumerate() {
            let deferred = ruled.deferred.as_ref().filter(|_| ruled.policy.is_ok());
            if !deferred.is_some_and(|deferred| deferred.policies.inputs().control) {
                continue;
            }
            let list = merged(ruled.request.numbers().to_vec());
            // Of a longer range a sample can be asked for, which depends on the delegations.
            if list.iter().all(|range| range.count() < SAMPLED_FROM) {
                let required = ProvenParts::of(&list, [], 0).required(&[]);
                early.probes.add_all(at, ruled, &required);
                early.found.insert(at, Vec::new());
            }
        }
        early
    }

    pub(in crate::store::mint) const fn probes(&self) -> &ProofProbes {
        &self.probes
    }

    pub(in crate::store::mint) fn add(&mut self, rows: Vec<FoundProof>) -> Result<(), StoreError> {
        for row in rows {
            let (at, proof) = confirmed(row)?;
            let of_request = self.found.get_mut(&at);
            of_request.ok_or_else(of_no_request)?.push(proof);
        }
        Ok(())
    }

    /// The proofs for a request that was asked for; `None`: it was not.
    pub(super) fn take(&mut self, at: usize) -> Option<Vec<ConfirmedProof>> {
        self.found.remove(&at)
    }
}

/// A proof could count for the wrong request.
pub(super) fn of_no_request() -> StoreError {
    StoreError::corrupt("a proof for a request that is not in the batch")
}
