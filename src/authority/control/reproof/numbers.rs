//! What is known of the numbers of rights whose control is proven again.

use std::collections::HashMap;

use chrono::TimeDelta;

use super::super::limits::{DAY, ProofStarter, cause_for};
use super::super::refusal::StartCause;
use super::{OpenRight, ReproofTask};
use crate::authority::StoreError;
use crate::domain::clock::Time;
use crate::domain::control::proof::ConfirmedProof;
use crate::domain::control::reproofing::{Blocked, NumberToProve};
use crate::domain::{AccountId, Tn};
use crate::store::{ProofProbes, StartedProof, Tx};

impl ReproofTask {
    /// For each right, what is known of its numbers, given the customer of each account.
    pub(super) fn numbers_to_prove(
        &self,
        tx: &mut Tx<'_>,
        open: &[OpenRight],
        customers: &HashMap<AccountId, AccountId>,
    ) -> Result<Vec<Vec<NumberToProve>>, StoreError> {
        let mut probes = ProofProbes::default();
        for (n, one) in open.iter().enumerate() {
            for number in &one.numbers {
                let key = (&one.right.account, one.right.fingerprint);
                probes.add(n, key, *number, self.now);
            }
        }
        let mut confirmed: Vec<HashMap<Tn, Time>> = vec![HashMap::new(); open.len()];
        for (n, proof) in tx.confirmed_control_proofs(&probes)? {
            let (Some(found), Some(one)) = (confirmed.get_mut(n), open.get(n)) else {
                let why = "a proof of a right that was not asked for".to_owned();
                return Err(StoreError::Corrupt(why));
            };
            if counts(&proof, one) {
                let newest = found.entry(proof.number).or_insert(proof.at);
                *newest = proof.at.max(*newest);
            }
        }
        let is_old = |one: &OpenRight, at: Option<&Time>| {
            at.is_none_or(|at| one.control.due_after(*at, u16::MIN) <= self.now)
        };
        let old: Vec<Tn> = open
            .iter()
            .zip(&confirmed)
            .flat_map(|(one, confirmed)| {
                let old = one.numbers.iter();
                old.filter(|number| is_old(one, confirmed.get(number)))
            })
            .copied()
            .collect();
        let mut starts: HashMap<Tn, Vec<StartedProof>> = HashMap::new();
        if !old.is_empty() {
            for start in tx.control_starts(&old, self.now - DAY)? {
                starts.entry(start.number).or_default().push(start);
            }
        }
        let states = open.iter().zip(&confirmed).map(|(one, confirmed)| {
            let account = &one.right.account;
            let who = (account, customers.get(account).unwrap_or(account));
            let of = |number: &Tn| NumberToProve {
                number: *number,
                confirmed_at: confirmed.get(number).copied(),
                is_reported: starts.get(number).is_some_and(|starts| {
                    let mut starts = starts.iter();
                    starts.any(|start| start.is_unsent && start.account == one.right.account)
                }),
                blocked: starts.get(number).and_then(|starts| {
                    self.blocked(one, who, starts, confirmed.get(number).copied())
                }),
            };
            one.numbers.iter().map(of).collect()
        });
        Ok(states.collect())
    }

    /// Why a number cannot be asked now, and until when, given all proofs of the last day, oldest
    /// first.
    fn blocked(
        &self,
        one: &OpenRight,
        who: (&AccountId, &AccountId),
        starts: &[StartedProof],
        confirmed_at: Option<Time>,
    ) -> Option<(Blocked, Time)> {
        let own = starts.iter().filter(|start| {
            let is_newer = confirmed_at.is_none_or(|confirmed| start.at > confirmed);
            let is_back = start.pending_until.is_none();
            // What a caller starts and does not answer must not hold up the service.
            start.is_reproof && start.account == one.right.account && is_newer && !is_back
        });
        // What only reports that the number was not asked says nothing about it, if it can be now.
        let has_gateway = self.settings.gateway(one.control.method).is_some();
        let own = own.filter(|start| !(start.is_unsent && has_gateway));
        let rules = (self.settings.limits, self.now);
        let failed: Vec<Time> = own.map(|start| start.at).collect();
        let starts: Vec<&StartedProof> = starts.iter().collect();
        let asked = (one.control.method, ProofStarter::Right);
        match cause_for(&starts, who, asked, rules) {
            Some(StartCause::Pending { until }) => Some((Blocked::Pending, until)),
            Some(StartCause::TooMany { seconds, .. }) => {
                let until = self.now + TimeDelta::seconds(seconds.into());
                Some((Blocked::Limited, until))
            }
            // Authority was checked before.
            Some(StartCause::NoAuthority(_)) | None => {
                let count = u32::try_from(failed.len()).unwrap_or(u32::MAX);
                let retry_at = one.control.retry_at(count, *failed.last()?);
                (retry_at > self.now).then_some((Blocked::Failed, retry_at))
            }
        }
    }
}

/// Whether a proof counts for a right: for its key alone, by its method, under its delegation.
fn counts(proof: &ConfirmedProof, one: &OpenRight) -> bool {
    proof.is_for_key
        && proof.method == one.control.method
        && proof.delegation == one.right.delegation
}
