//! Minting as data: a batch of orders takes three steps. Load the facts of all orders, one query a
//! table; decide each order, which is pure; write the grants and all audit events, one statement a
//! table.

mod facts;
mod memory;
mod overlapping;
mod parties;
mod replay;
mod rows;
mod samples;

use std::collections::HashMap;

use super::actor::{api_keys_of, ends_of};
use super::error::StoreError;
use super::tables::grant_inserts::NewGrant;
use super::tx::Tx;
use crate::domain::credentials::api_key::CredentialEnd;
use crate::domain::decision::{Decision, Facts};
use crate::domain::issuance::replay::decide_recorded;
use crate::domain::issuance::{
    Decided, GrantEvent, KeyStatus, MintOrder, RefusalKind, RuledRequest,
};
use crate::domain::tokens::grant::{Grant, Jti};
use crate::domain::{Actor, Denial};
use memory::StagedKeys;
pub(super) use memory::{MintMemory, StagedMemory};
use parties::Parties;
use rows::{EarlyProofs, RowQuestion};
pub use samples::SampleTask;

/// An order, with everything that its decision depends on.
struct Case<'a> {
    order: &'a MintOrder,
    facts: &'a Facts,
    key_status: &'a KeyStatus,
    /// Why the caller's credential is no longer valid; `None` if it is valid.
    ended: Option<CredentialEnd>,
    /// The decision of the rule of authority, if it was asked before the policies and permits.
    permitted: Option<Decision>,
}

/// Decides and records a batch of orders. Returns one decision for each, in their order. If the
/// orders need very many rows, the last ones get no decision, and are left to another transaction;
/// the first order always gets one. Refusals that are not recorded one by one are staged instead.
pub(super) fn decide_and_record(
    tx: &mut Tx<'_>,
    orders: &[&MintOrder],
    memory: &MintMemory,
    staged: &mut StagedMemory,
) -> Result<Vec<Decided>, StoreError> {
    // 1. Load.
    let orders = &orders[..rows::fitting(orders).min(orders.len())];
    let requests: Vec<&RuledRequest> = orders.iter().map(|order| &order.ruled).collect();
    let actors: Vec<&Actor> = orders.iter().map(|order| &order.ruled.actor).collect();
    let mut early = EarlyProofs::of(&requests);
    let api_keys = api_keys_of(&actors);
    let parties = Parties::load(tx, unsettled(&requests), &api_keys, &mut early)?;
    let mut facts = facts::load(tx, &requests, &parties)?;
    // The rest is decided in another transaction.
    let orders = &orders[..facts.len().min(orders.len())];
    let ended = ends_of(&actors[..orders.len()], parties.keys());
    let keyed: Vec<_> = orders.iter().map(|order| order.keyed.as_ref()).collect();
    let keys = tx.key_statuses(&keyed)?;
    let recorded = replay::recorded_before(tx, &keys)?;
    let permitted = permitted_before_policies(orders, &facts, &keys, &ended);
    let asking = orders.iter().zip(&permitted).zip(&keys).enumerate();
    let asking: Vec<RowQuestion<'_>> = asking
        .filter(|(_, ((_, permitted), _))| permitted.is_some())
        .map(|(at, ((order, _), key))| RowQuestion {
            at,
            ruled: &order.ruled,
            recorded: key.recorded().and_then(|jti| recorded.get(jti)),
        })
        .collect();
    rows::load(
        tx,
        &asking,
        early,
        &mut facts,
        Some(&memory.keys),
        &mut staged.keys,
    )?;
    let mut cases = cases(orders, &facts, &keys, ended)?;
    for (case, permitted) in cases.iter_mut().zip(permitted) {
        case.permitted = permitted;
    }

    // 2. Decide.
    let mut decided: Vec<Decided> = cases
        .iter_mut()
        .map(|case| case.decide(&recorded))
        .collect();

    // 3. Write: the keys first, since an order whose key another replica has claimed is not
    // granted.
    replay::claim_keys(tx, &cases, &mut decided)?;
    let sums = memory.refusals.lock();
    let (mut granted, mut events) = (Vec::new(), Vec::new());
    for (case, decided) in cases.iter().zip(&decided) {
        let event = case.order.event(case.key_status, decided, &case.facts.rows);
        let is_new = case.key_status.recorded().is_none();
        let grant = decided.granted().filter(|_| is_new);
        // The event of a new grant is part of its row.
        let of_grant = grant
            .zip(event.as_ref())
            .and_then(|(grant, event)| GrantEvent::of(grant, event));
        if let Some(event) = event.filter(|_| of_grant.is_none()) {
            events.extend(match RefusalKind::of(&event, decided) {
                Some(kind) => sums.stage(kind, event, &mut staged.refusals),
                None => Some(event),
            });
        }
        granted.extend(grant.map(|grant| NewGrant {
            grant,
            event: of_grant,
            has_new_key: memory.keys.is_new(grant, &mut staged.keys),
        }));
    }
    drop(sums);
    if !granted.is_empty() {
        tx.insert_grants(&granted)?;
    }
    if !events.is_empty() {
        tx.insert_audit_events(&events)?;
    }
    Ok(decided)
}

/// The requests that policy has not refused, whose decision needs facts.
fn unsettled<'a>(
    requests: &'a [&'a RuledRequest],
) -> impl Iterator<Item = &'a RuledRequest> + Clone {
    let requests = requests.iter().copied();
    requests.filter(|request| !request.is_settled())
}

/// What the rule of authority says of orders whose policies ask for rows, where it permits them:
/// only for those are rows read.
fn permitted_before_policies(
    orders: &[&MintOrder],
    facts: &[Facts],
    keys: &[KeyStatus],
    ended: &[Option<CredentialEnd>],
) -> Vec<Option<Decision>> {
    let known = orders.iter().zip(facts).zip(keys.iter().zip(ended));
    let permitted = known.map(|((order, facts), (key, ended))| {
        let ruled = &order.ruled;
        let is_open = ruled.deferred.is_some()
            && ended.is_none()
            && !matches!(key, KeyStatus::Used(_))
            && ruled.policy.is_ok();
        is_open.then(|| ruled.authority(facts).ok()).flatten()
    });
    permitted.collect()
}

fn cases<'a>(
    orders: &[&'a MintOrder],
    facts: &'a [Facts],
    keys: &'a [KeyStatus],
    ended: Vec<Option<CredentialEnd>>,
) -> Result<Vec<Case<'a>>, StoreError> {
    if [facts.len(), keys.len(), ended.len()] != [orders.len(); 3] {
        // Otherwise an order could be decided on the facts of another.
        return Err(StoreError::corrupt("a batch was not loaded completely"));
    }
    let known = orders.iter().zip(facts).zip(keys.iter().zip(ended));
    let cases = known.map(|((order, facts), (key_status, ended))| Case {
        order,
        facts,
        key_status,
        ended,
        permitted: None,
    });
    Ok(cases.collect())
}

impl Case<'_> {
    fn decide(&mut self, recorded: &HashMap<Jti, Grant>) -> Decided {
        if let Some(ended) = self.ended {
            // Checked first, so that the caller learns nothing else.
            return Decided::Denied(Denial::ProofEnded(ended));
        }
        let permitted = self.permitted.take();
        let decide_now = || self.order.decide(self.facts, permitted);
        match self.key_status {
            KeyStatus::New | KeyStatus::Abandoned { jti: None, .. } => decide_now().into(),
            KeyStatus::Abandoned { jti: Some(jti), .. } => {
                let distrusts = |chain: &str| self.facts.distrusts(chain);
                let now = self.order.ruled.now;
                decide_recorded(recorded.get(jti), now, distrusts, decide_now)
            }
            KeyStatus::Used(replay) => Decided::Replayed(replay.clone()),
        }
    }
}

impl Tx<'_> {
    /// The facts about several requests, one query a table; only those of the first ones if they
    /// need very many rows, but at least one. Records nothing.
    pub fn facts_of_several(
        &mut self,
        requests: &[&RuledRequest],
    ) -> Result<Vec<Facts>, StoreError> {
        let no_proofs = &mut EarlyProofs::default();
        let parties = Parties::load(self, unsettled(requests), &[], no_proofs)?;
        facts::load(self, requests, &parties)
    }

    /// The facts that a request would be decided on, even if policy has settled it, or the rule of
    /// authority refuses it. Records nothing.
    pub fn facts(&mut self, request: &RuledRequest) -> Result<Facts, StoreError> {
        let mut early = EarlyProofs::of(&[request]);
        let parties = Parties::load(self, std::iter::once(request), &[], &mut early)?;
        let mut facts = [facts::load_one(self, request, &parties)?];
        let question = RowQuestion {
            at: 0,
            ruled: request,
            recorded: None,
        };
        let mut staged = StagedKeys::default();
        rows::load(self, &[question], early, &mut facts, None, &mut staged)?;
        let [facts] = facts;
        Ok(facts)
    }
}
