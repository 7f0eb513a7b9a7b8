//! The samples that requests need: finds them, draws those that are missing, and replaces those
//! that can no longer be proven.

use std::collections::HashSet;

use super::super::samples::SampleTask;
use super::Loading;
use crate::domain::control::sample::{self, ControlSample};
use crate::domain::{NumberRange, Tn};
use crate::store::error::StoreError;
use crate::store::tables::control_confirmed::ProofProbes;
use crate::store::tx::Tx;

impl Loading<'_> {
    /// The delegations whose samples are needed.
    fn sampled(&self) -> &[NumberRange] {
        if self.parts.are_too_many() {
            return &[];
        }
        &self.parts.blocks
    }

    /// What draws these samples; nothing if this order cannot draw.
    fn tasks<'b>(
        &'b self,
        which: impl Fn(usize) -> Option<Option<Vec<Tn>>> + 'b,
    ) -> Vec<(usize, SampleTask<'b>)> {
        let Some(bits) = &self.deferred.bits else {
            return Vec::new();
        };
        let samples = self.samples.iter().zip(self.sampled()).enumerate();
        let tasks = samples.filter_map(|(n, (sample, block))| {
            let task = SampleTask {
                account: &self.ruled.account,
                block: *block,
                size: self.deferred.sample,
                bits,
                now: self.ruled.now,
                by: (&self.ruled.actor, &self.ruled.spcs),
                found: sample.as_ref(),
                proven_of_old: which(n)?,
            };
            Some((n, task))
        });
        tasks.collect()
    }

    fn is_accepted(&self) -> bool {
        let ruling = self.deferred.rule(&self.ruled.account, &self.rows);
        ruling.verdict.is_ok()
    }
}

/// Finds the samples of each list, or draws them. One of another size than the configuration now
/// says is not used.
pub(super) fn read_samples(tx: &mut Tx<'_>, open: &mut [Loading<'_>]) -> Result<(), StoreError> {
    let blocks = open.iter().flat_map(|loading| {
        let blocks = loading.sampled().iter();
        blocks.map(|block| (&loading.ruled.account, *block))
    });
    let mut found = tx.control_samples(&blocks.collect::<Vec<_>>())?.into_iter();
    for loading in open.iter_mut() {
        let samples = found.by_ref().take(loading.sampled().len());
        loading.samples = samples.collect();
    }
    let is_usable = |loading: &Loading<'_>, n: usize| {
        let sample = loading.samples.get(n).and_then(Option::as_ref);
        sample.is_some_and(|sample| sample.size == loading.deferred.sample)
    };
    let tasks = open.iter().enumerate().flat_map(|(at, loading)| {
        let tasks = loading.tasks(|n| (!is_usable(loading, n)).then_some(None));
        tasks.into_iter().map(move |task| (at, task))
    });
    renew(tx, tasks.collect())?.apply_to(open);
    for loading in open {
        let size = loading.deferred.sample;
        for sample in &mut loading.samples {
            *sample = sample.take().filter(|sample| sample.size == size);
        }
    }
    Ok(())
}

/// Samples that were drawn, each with the indices of its request and of its delegation.
struct RenewedSamples(Vec<(usize, usize, Option<ControlSample>)>);

impl RenewedSamples {
    /// Returns the requests whose samples have changed.
    fn apply_to(self, open: &mut [Loading<'_>]) -> Vec<usize> {
        let mut changed = Vec::new();
        for (at, n, new) in self.0 {
            let sample = open.get_mut(at).and_then(|one| one.samples.get_mut(n));
            if let Some(sample) = sample.filter(|sample| **sample != new) {
                *sample = new;
                changed.push(at);
            }
        }
        changed.dedup();
        changed
    }
}

fn renew(
    tx: &mut Tx<'_>,
    tasks: Vec<(usize, (usize, SampleTask<'_>))>,
) -> Result<RenewedSamples, StoreError> {
    let (at, tasks): (Vec<_>, Vec<_>) = tasks
        .into_iter()
        .map(|(at, (n, task))| ((at, n), task))
        .unzip();
    if tasks.is_empty() {
        return Ok(RenewedSamples(Vec::new()));
    }
    let samples = tx.renew_control_samples(&tasks)?;
    let samples = at.into_iter().zip(samples);
    Ok(RenewedSamples(
        samples.map(|((at, n), sample)| (at, n, sample)).collect(),
    ))
}

/// Where policies refuse, replaces the numbers of samples that the account has lost, and draws
/// others in place of old samples. Not if all numbers of the sample are proven, for whichever key:
/// otherwise a request for another key, which is refused, would take it from those who have proven
/// it. Returns for which requests.
pub(super) fn redraw(tx: &mut Tx<'_>, open: &mut [Loading<'_>]) -> Result<Vec<usize>, StoreError> {
    let refused = open.iter().enumerate();
    let refused = refused.filter(|(_, one)| one.deferred.bits.is_some() && !one.samples.is_empty());
    let refused: Vec<usize> = refused
        .filter(|(_, loading)| !loading.is_accepted())
        .map(|(at, _)| at)
        .collect();
    let mut probes = ProofProbes::default();
    for at in &refused {
        let Loading { ruled, samples, .. } = &open[*at];
        for number in samples.iter().flatten().flat_map(|sample| &sample.numbers) {
            probes.add_for_any_key(*at, &ruled.account, *number, ruled.now);
        }
    }
    let mut proven: HashSet<(usize, Tn)> = HashSet::new();
    for (at, proof) in tx.confirmed_control_proofs(&probes)? {
        let loading = open.get(at);
        let counts = loading.is_some_and(|one| {
            proof.at > one.ruled.now - sample::PROVEN_FOR && proof.counts_under(&one.live)
        });
        if counts {
            proven.insert((at, proof.number));
        }
    }
    let tasks = refused.iter().flat_map(|at| {
        let (loading, proven) = (&open[*at], &proven);
        let tasks = loading.tasks(move |n| {
            let sample = loading.samples.get(n)?.as_ref()?;
            let is_proven = |number: &Tn| proven.contains(&(*at, *number));
            let all = sample.numbers.iter().copied();
            let proven: Vec<Tn> = all.filter(is_proven).collect();
            let is_old = sample.is_old(loading.ruled.now);
            (proven.len() < sample.numbers.len()).then(|| is_old.then_some(proven))
        });
        tasks.into_iter().map(move |task| (*at, task))
    });
    let renewed = renew(tx, tasks.collect())?;
    Ok(renewed.apply_to(open))
}
