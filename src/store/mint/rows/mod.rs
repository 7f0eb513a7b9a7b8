//! Loads what policies ask of rows, once the facts of the inventory are there: one query a table
//! for a whole batch, and none for what no policy refers to.

mod early_proofs;
mod needed_samples;

use super::memory::{KnownKeys, StagedKeys};
use crate::domain::clock::Time;
use crate::domain::control::facts::{
    ControlFacts, MAX_NUMBERS, RequiredNumbers, coarse_down, seconds_since,
};
use crate::domain::control::proof::ConfirmedProof;
use crate::domain::control::sample::{ControlSample, ProvenParts};
use crate::domain::decision::Facts;
use crate::domain::decision::live_delegations::{LiveDelegation, covered_since, live_delegations};
use crate::domain::issuance::{DeferredRuling, MintOrder, RowFacts, RowInputs, RuledRequest};
use crate::domain::numbers::range_set::merged;
use crate::domain::tokens::grant::Grant;
use crate::domain::{AccountId, Fingerprint, NumberRange};
use crate::store::error::StoreError;
use crate::store::tables::control_confirmed::ProofProbes;
use crate::store::tables::earlier_tokens::EarlierToken;
use crate::store::tx::Tx;
pub(super) use early_proofs::EarlyProofs;
use early_proofs::of_no_request;
use needed_samples::{read_samples, redraw};

/// The most numbers whose proofs one transaction looks up.
const MAX_BATCH_NUMBERS: u64 = 50_000;

/// A request whose policies ask for rows.
#[derive(Debug)]
pub(super) struct RowQuestion<'a> {
    /// The index of its facts.
    pub(super) at: usize,
    pub(super) ruled: &'a RuledRequest,
    /// The grant that was recorded for its idempotency key earlier, which does not count as an
    /// earlier token.
    pub(super) recorded: Option<&'a Grant>,
}

/// How many of these orders one transaction can look up the numbers of; at least one.
pub(super) fn fitting(orders: &[&MintOrder]) -> usize {
    let mut numbers = 0_u64;
    let fitting = orders.iter().take_while(|order| {
        let fits = numbers < MAX_BATCH_NUMBERS;
        if let Some(deferred) = &order.ruled.deferred
            && deferred.policies.inputs().control
        {
            let asked = order.ruled.request.numbers().iter();
            let asked = asked
                .map(|range| range.count())
                .fold(0, u64::saturating_add);
            numbers += asked.min(MAX_NUMBERS);
        }
        fits
    });
    fitting.count().max(1)
}

/// Fills in the rows of the facts. `known` are the keys that need no query; without it, all are
/// read. Draws samples where they are needed, if the order has the bits for it.
pub(super) fn load(
    tx: &mut Tx<'_>,
    questions: &[RowQuestion<'_>],
    mut early: EarlyProofs,
    facts: &mut [Facts],
    known: Option<&KnownKeys>,
    staged: &mut StagedKeys,
) -> Result<(), StoreError> {
    let open = questions.iter();
    let mut open: Vec<Loading<'_>> = open
        .filter_map(|question| Loading::of(question, facts.get(question.at)?, known.is_none()))
        .collect();
    if open.is_empty() {
        return Ok(());
    }
    read_key_ages(tx, &mut open, known, staged)?;
    read_samples(tx, &mut open)?;
    let all: Vec<usize> = (0..open.len()).collect();
    read_proofs(tx, &mut open, &all, &mut early)?;
    read_earlier_tokens(tx, &mut open, &all)?;
    let redrawn = redraw(tx, &mut open)?;
    read_proofs(tx, &mut open, &redrawn, &mut early)?;
    read_earlier_tokens(tx, &mut open, &redrawn)?;
    for loading in open {
        if let Some(facts) = facts.get_mut(loading.at) {
            facts.rows = loading.rows;
        }
    }
    Ok(())
}

/// A request with what has been loaded for it.
struct Loading<'a> {
    at: usize,
    ruled: &'a RuledRequest,
    deferred: &'a DeferredRuling,
    inputs: RowInputs,
    recorded: Option<&'a Grant>,
    /// Whether nothing is decided, but explained.
    is_question: bool,
    live: Vec<LiveDelegation>,
    /// The numbers, in order and without overlap.
    list: Vec<NumberRange>,
    /// How they are proven, with the sample of each delegation.
    parts: ProvenParts,
    samples: Vec<Option<ControlSample>>,
    rows: RowFacts,
}

impl<'a> Loading<'a> {
    fn of(question: &RowQuestion<'a>, facts: &Facts, is_question: bool) -> Option<Self> {
        let ruled = question.ruled;
        let deferred = ruled.deferred.as_ref()?;
        let inputs = deferred.policies.inputs();
        let mut loading = Self {
            at: question.at,
            ruled,
            deferred,
            inputs,
            recorded: question.recorded,
            is_question,
            live: Vec::new(),
            list: merged(ruled.request.numbers().to_vec()),
            parts: ProvenParts::default(),
            samples: Vec::new(),
            rows: RowFacts::default(),
        };
        if inputs.control || inputs.first || inputs.delegation_age {
            loading.live = live_delegations(&ruled.question(facts.lifetime), facts);
        }
        if inputs.control {
            // A right to renew is for one delegation.
            let right = facts.renewal.as_ref().filter(|_| ruled.renewal.is_some());
            let live = loading.live.iter();
            let used = live.filter(|one| right.is_none_or(|right| right.delegation == one.id));
            let blocks = used.map(|delegation| delegation.block);
            loading.parts = ProvenParts::of(&loading.list, blocks, deferred.sample);
        }
        if inputs.delegation_age {
            let since = loading.delegated_since();
            let age = since.map_or(0, |since| seconds_since(since, ruled.now));
            loading.rows.delegation_age = coarse_down(age);
        }
        Some(loading)
    }

    /// Since when the account has had a delegation for each number.
    fn delegated_since(&self) -> Option<Time> {
        let ranges = self.list.iter();
        let since: Option<Vec<Time>> = ranges
            .map(|range| covered_since(*range, &self.live))
            .collect();
        since?.into_iter().max()
    }

    /// Whether it makes a difference for the policies if this is a first token. An explanation says
    /// it in any case.
    fn depends_on_first(&mut self) -> bool {
        if !self.inputs.first || self.is_question {
            return self.inputs.first;
        }
        let first = self.rows.first;
        let rulings = [true, false].map(|first| {
            self.rows.first = first;
            self.deferred.policies.rule(&self.rows)
        });
        self.rows.first = first;
        rulings[0] != rulings[1]
    }

    fn key(&self) -> (&'a AccountId, Fingerprint) {
        (&self.ruled.account, self.ruled.request.fingerprint())
    }
}

fn read_key_ages(
    tx: &mut Tx<'_>,
    open: &mut [Loading<'_>],
    known: Option<&KnownKeys>,
    staged: &mut StagedKeys,
) -> Result<(), StoreError> {
    let (mut asked, mut keys) = (Vec::new(), Vec::new());
    for (n, loading) in open.iter_mut().enumerate() {
        if !loading.inputs.key_age {
            continue;
        }
        let (account, key) = loading.key();
        if let Some(first_used) = known.and_then(|known| known.first_used(account, key)) {
            loading.add_key_age(first_used);
        } else {
            asked.push(n);
            keys.push((account, key));
        }
    }
    let found = tx.keys_first_used(&keys)?;
    for (n, ((account, key), first_used)) in asked.into_iter().zip(keys.into_iter().zip(found)) {
        if let Some(first_used) = first_used {
            open[n].add_key_age(first_used);
            staged.add_read(account, key, first_used);
        }
    }
    Ok(())
}

impl Loading<'_> {
    fn add_key_age(&mut self, first_used: Time) {
        // If the key was first used for the grant that is to be signed now, it is new.
        let is_of_recorded = |grant: &Grant| first_used >= grant.issued_at;
        if !self.recorded.is_some_and(is_of_recorded) {
            self.rows.key_age = coarse_down(seconds_since(first_used, self.ruled.now));
        }
    }
}

/// Finds out for these requests whether there were earlier tokens, once all other facts are there:
/// mostly, these settle the ruling.
fn read_earlier_tokens(
    tx: &mut Tx<'_>,
    open: &mut [Loading<'_>],
    these: &[usize],
) -> Result<(), StoreError> {
    let mut entries = Vec::new();
    for (n, loading) in open.iter_mut().enumerate() {
        let numbers = loading.ruled.request.numbers();
        if !these.contains(&n) || numbers.is_empty() || !loading.depends_on_first() {
            continue;
        }
        let since = numbers.iter();
        let since = since.map(|range| Some((*range, covered_since(*range, &loading.live)?)));
        let Some(since) = since.collect::<Option<Vec<(NumberRange, Time)>>>() else {
            // A number is not delegated, so there was no token for it.
            continue;
        };
        loading.rows.first = false;
        entries.extend(since.into_iter().map(|(numbers, since)| EarlierToken {
            request: n,
            account: &loading.ruled.account,
            numbers,
            since,
            except: loading.recorded.map(|grant| &grant.jti),
        }));
    }
    for n in tx.requests_without_token(&entries)? {
        let loading = open.get_mut(n);
        loading
            .ok_or_else(|| StoreError::corrupt("a request that is not in the batch"))?
            .rows
            .first = true;
    }
    Ok(())
}

/// Looks up the proofs of these requests, unless that was done before.
fn read_proofs(
    tx: &mut Tx<'_>,
    open: &mut [Loading<'_>],
    these: &[usize],
    early: &mut EarlyProofs,
) -> Result<(), StoreError> {
    let these = these.iter().filter(|n| open[**n].inputs.control);
    let required: Vec<(usize, RequiredNumbers)> = these
        .map(|n| (*n, open[*n].parts.required(&open[*n].samples)))
        .collect();
    let mut found: Vec<Vec<ConfirmedProof>> = vec![Vec::new(); open.len()];
    let mut probes = ProofProbes::default();
    for (n, required) in &required {
        match early.take(open[*n].at) {
            Some(proofs) => found[*n] = proofs,
            None => probes.add_all(*n, open[*n].ruled, required),
        }
    }
    for (n, proof) in tx.confirmed_control_proofs(&probes)? {
        found.get_mut(n).ok_or_else(of_no_request)?.push(proof);
    }
    for (n, required) in required {
        let loading = &mut open[n];
        let (live, now) = (&loading.live, loading.ruled.now);
        loading.rows.control = ControlFacts::of(required, &found[n], live, now);
    }
    Ok(())
}
