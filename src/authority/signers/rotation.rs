//! One step of the rotation, on the rows that the replicas share: new chains are published,
//! superseded ones are retired. Pure, except for one query of the ledger.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;

use crate::domain::signing::chain_choice::{Candidate, ChainState, SigningChain, active, choose};
use crate::domain::{Spc, Time};
use crate::signer::{Chain, Signer};
use crate::store::StoreError;

/// The input of a step.
#[derive(Debug, Clone)]
pub(super) struct RotationStep {
    /// The signers of this replica, by the name of the chain.
    pub own_signers: BTreeMap<String, Arc<Signer>>,
    /// The carrier's service provider codes.
    pub spcs: Vec<Spc>,
    pub now: Time,
    /// Seconds between publication and first use.
    pub delay: u32,
}

impl RotationStep {
    /// Publishes and retires chains. `last_expiry` returns when the last token of a chain expires.
    pub(super) fn apply(
        &self,
        chains: &mut Vec<SigningChain>,
        last_expiry: impl FnMut(&str) -> Result<Option<Time>, StoreError>,
    ) -> Result<(), StoreError> {
        self.publish(chains);
        self.retire(chains, last_expiry)
    }

    /// The chains that this replica can choose from.
    pub(super) fn candidates(&self, chains: &[SigningChain]) -> Vec<Candidate> {
        let usable = |chain: &&SigningChain| {
            chain.retired_at.is_none() && self.own_signers.contains_key(&chain.name)
        };
        let all = chains.iter().filter(usable).flat_map(Candidate::of);
        all.filter(|one| self.spcs.contains(&one.spc)).collect()
    }

    fn publish(&self, chains: &mut Vec<SigningChain>) {
        let mut own_chains: Vec<&Chain> = self
            .own_signers
            .values()
            .map(|signer| signer.chain())
            .collect();
        // Oldest first: a chain is delayed if one published before it can sign already.
        own_chains.sort_by_key(|chain| (chain.not_before(), chain.name().to_owned()));
        for chain in own_chains {
            if chain.usable_at(self.now).is_err() {
                continue;
            }
            let spcs = spcs_of(chain);
            let own: Vec<&Spc> = spcs.iter().filter(|spc| self.spcs.contains(spc)).collect();
            let active_from = self.first_use(chains, &own);
            // If nothing else can sign, a retired chain is published again.
            let candidates = self.candidates(chains);
            let nothing_else = own
                .iter()
                .any(|spc| choose(&candidates, spc, self.now).is_none());
            match chains.iter_mut().find(|known| known.name == chain.name()) {
                None => chains.push(SigningChain {
                    name: chain.name().to_owned(),
                    spcs,
                    pem: String::from_utf8_lossy(&chain.pem()).into_owned(),
                    not_before: chain.not_before(),
                    not_after: chain.not_after(),
                    published_at: self.now,
                    active_from,
                    retired_at: None,
                    noted: ChainState::Published,
                    distrust: None,
                }),
                Some(known) if known.retired_at.is_some() && nothing_else => {
                    known.published_at = self.now;
                    known.active_from = active_from;
                    known.retired_at = None;
                    known.noted = ChainState::Published;
                }
                // The chain that it was to follow is distrusted, so it need not wait.
                Some(known) if known.retired_at.is_none() && known.active_from > active_from => {
                    known.active_from = active_from;
                }
                Some(_) => {}
            }
        }
    }

    /// When a new chain is first used: after the delay; earlier if the current chain ends before
    /// that, and at once if there is none.
    fn first_use(&self, chains: &[SigningChain], own: &[&Spc]) -> Time {
        let after_delay = self.now + TimeDelta::seconds(self.delay.into());
        own.iter()
            .map(|spc| active(chains, spc, self.now).map_or(self.now, |chain| chain.not_after))
            .fold(after_delay, Time::min)
    }

    /// Retires chains in two steps, since another replica can sign with one until it learns of the
    /// change. First no replica uses it; a delay later, once its last token has expired, it is no
    /// longer published.
    fn retire(
        &self,
        chains: &mut [SigningChain],
        mut last_expiry: impl FnMut(&str) -> Result<Option<Time>, StoreError>,
    ) -> Result<(), StoreError> {
        let candidates = self.candidates(chains);
        let in_use_here = |name: &str| {
            let chosen = |spc| choose(&candidates, spc, self.now);
            let mut chosen = self.spcs.iter().filter_map(chosen);
            chosen.any(|one| one.chain == name)
        };
        for at in 0..chains.len() {
            let chain = &chains[at];
            if chain.state(chains, self.now) != ChainState::Retiring || in_use_here(&chain.name) {
                continue;
            }
            let outstanding = last_expiry(&chain.name)?.is_some_and(|last| last > self.now);
            let retired_at = match chain.retired_at {
                _ if outstanding => None,
                None => Some(self.now + TimeDelta::seconds(self.delay.into())),
                known => known,
            };
            chains[at].retired_at = retired_at;
        }
        Ok(())
    }
}

/// The service provider codes of a chain's certificate. A chain that can sign has at least one.
fn spcs_of(chain: &Chain) -> Vec<Spc> {
    let list = chain.leaf().tn_auth_list();
    list.map(|list| list.spcs().cloned().collect())
        .unwrap_or_default()
}
