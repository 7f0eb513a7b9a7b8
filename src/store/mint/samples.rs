//! Draws the samples of delegations: of the numbers that rank first, those that the account can be
//! asked for. One that has left would never be proven.

use std::fmt;

use crate::domain::clock::Time;
use crate::domain::control::facts::MAX_NUMBERS;
use crate::domain::control::sample::{ControlSample, ranked};
use crate::domain::decision::denial::RefusalCause;
use crate::domain::decision::holding_delegations;
use crate::domain::issuance::RuledRequest;
use crate::domain::{AccountId, Actor, NumberRange, Spc, Tn};
use crate::store::error::StoreError;
use crate::store::tx::Tx;

/// How many more numbers than twice the sample are tried at first.
const SPARE: u64 = 10;

/// A sample that is needed.
pub struct SampleTask<'a> {
    pub account: &'a AccountId,
    /// All numbers of the delegation.
    pub block: NumberRange,
    pub size: u32,
    /// Those of the account and the day.
    pub bits: &'a [u8; 32],
    pub now: Time,
    /// Who asks, and the carrier's codes.
    pub by: (&'a Actor, &'a [Spc]),
    /// The one that there is. Its numbers stay, unless the account has lost them; those that it has
    /// lent on itself are lost with the next draw.
    pub found: Option<&'a ControlSample>,
    /// Of one that is old: which of its numbers are proven. Unless these are all that the account
    /// still has of it, others are drawn in place of all: if the proven ones stayed, an account
    /// would have a try for each of the others every day.
    pub proven_of_old: Option<Vec<Tn>>,
}

impl fmt::Debug for SampleTask<'_> {
    /// Omits the bits, which nobody must know.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SampleTask")
            .field("account", self.account)
            .field("block", &self.block)
            .finish_non_exhaustive()
    }
}

impl SampleTask<'_> {
    /// The numbers to choose from, in their order: those that stay, and those that rank first.
    fn candidates(&self, most: u64) -> Vec<Tn> {
        let mut numbers = self
            .found
            .map(|one| one.numbers.clone())
            .unwrap_or_default();
        let ranked = ranked(self.block, self.bits, most).into_iter();
        let new: Vec<Tn> = ranked.filter(|number| !numbers.contains(number)).collect();
        numbers.extend(new);
        numbers
    }

    /// The sample of these candidates, and whether it is drawn anew.
    fn chosen(&self, candidates: &[SampleCandidate], most: u64) -> (Vec<Tn>, bool) {
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        let found = self.found.map(|one| one.numbers.as_slice());
        let is_found =
            |one: &&SampleCandidate| found.is_some_and(|found| found.contains(&one.number));
        let is_redrawn = self.proven_of_old.as_ref().is_some_and(|proven| {
            let mut kept = candidates.iter().filter(is_found);
            kept.any(|one| !proven.contains(&one.number))
        });
        let is_held = |one: &&SampleCandidate| one.standing == Standing::Held;
        let mut numbers: Vec<Tn> = if is_redrawn {
            let ranked = ranked(self.block, self.bits, most).into_iter();
            let held: Vec<Tn> = candidates
                .iter()
                .filter(is_held)
                .map(|one| one.number)
                .collect();
            ranked.filter(|number| held.contains(number)).collect()
        } else {
            // Until the sample is old, one that was lent on stays.
            let stays = |one: &&SampleCandidate| {
                is_held(one) || (self.proven_of_old.is_none() && is_found(one))
            };
            candidates
                .iter()
                .filter(stays)
                .map(|one| one.number)
                .collect()
        };
        numbers.truncate(size);
        (numbers, is_redrawn)
    }
}

/// A number that can be part of a sample.
struct SampleCandidate {
    number: Tn,
    standing: Standing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// The account has authority over it.
    Held,
    /// The account itself has lent it on. If such a number were replaced at once, an account that
    /// lends each foreign one, and takes them all back in the end, would draw as often as it likes.
    LentOn,
}

impl Tx<'_> {
    /// Draws these samples, or replaces the numbers of them that the account has lost, and keeps
    /// them. `None` if the account can be asked for no number. Where one is replaced, the rights to
    /// renew of the account are due: they may have to prove others now.
    pub fn renew_control_samples(
        &mut self,
        tasks: &[SampleTask<'_>],
    ) -> Result<Vec<Option<ControlSample>>, StoreError> {
        let most = |task: &SampleTask<'_>| 2 * u64::from(task.size) + SPARE;
        let few: Vec<Vec<Tn>> = tasks.iter().map(|one| one.candidates(most(one))).collect();
        let held = self.held(tasks, &few)?;
        let mut samples = Vec::with_capacity(tasks.len());
        for ((task, few), held) in tasks.iter().zip(few).zip(held) {
            let (mut numbers, mut is_redrawn) = task.chosen(&held, most(task));
            let wanted = usize::try_from(task.size).unwrap_or(usize::MAX);
            if numbers.len() < wanted && (few.len() as u64) < task.block.count() {
                // Many numbers of this delegation have left.
                let many = task.candidates(MAX_NUMBERS);
                let held = self.held(std::slice::from_ref(task), &[many])?;
                let held = held.into_iter().next().unwrap_or_default();
                (numbers, is_redrawn) = task.chosen(&held, MAX_NUMBERS);
            }
            samples.push(self.keep_renewed(task, numbers, is_redrawn)?);
        }
        Ok(samples)
    }

    fn keep_renewed(
        &mut self,
        task: &SampleTask<'_>,
        mut numbers: Vec<Tn>,
        is_redrawn: bool,
    ) -> Result<Option<ControlSample>, StoreError> {
        if numbers.is_empty() {
            return Ok(None);
        }
        numbers.sort_unstable();
        let found = task.found;
        let is_same = |found: &&ControlSample| {
            !is_redrawn && found.size == task.size && found.numbers == numbers
        };
        if let Some(same) = found.filter(is_same) {
            return Ok(Some(same.clone()));
        }
        let sample = ControlSample {
            account: task.account.clone(),
            block: task.block,
            size: task.size,
            numbers,
            drawn_at: task.now,
        };
        let counts = self.keep_control_sample(sample, found)?;
        if found.is_some() {
            self.set_reproofs_of_account_due(task.account, task.now)?;
        }
        Ok(Some(counts))
    }

    /// Those of the numbers of each task that the account has not lost, in their order.
    fn held(
        &mut self,
        tasks: &[SampleTask<'_>],
        numbers: &[Vec<Tn>],
    ) -> Result<Vec<Vec<SampleCandidate>>, StoreError> {
        let asked = tasks.iter().zip(numbers).map(|(task, numbers)| {
            let (actor, spcs) = task.by;
            let by = (actor.clone(), spcs);
            RuledRequest::for_numbers(by, task.account, numbers, task.now)
        });
        let asked = asked.collect::<Result<Vec<RuledRequest>, _>>();
        let asked = asked.map_err(StoreError::corrupt)?;
        let mut all = Vec::with_capacity(asked.len());
        while let Some(rest) = asked.get(all.len()..).filter(|rest| !rest.is_empty()) {
            // Those of the first ones, if they need very many rows.
            let facts = self.facts_of_several(&rest.iter().collect::<Vec<_>>())?;
            if facts.is_empty() {
                return Err(StoreError::corrupt("no facts of any request"));
            }
            for (ruled, facts) in rest.iter().zip(&facts) {
                let numbers = numbers.get(all.len()).map(Vec::as_slice);
                let numbers = numbers.unwrap_or_default();
                let question = ruled.question(facts.lifetime);
                // Over no number, if there are too many rows to be sure.
                let held = holding_delegations(&question, facts, numbers).unwrap_or_default();
                let candidates = numbers.iter().zip(held).filter_map(|(number, held)| {
                    let standing = match held {
                        Ok(_) => Standing::Held,
                        Err(RefusalCause::LentOn) => Standing::LentOn,
                        Err(_) => return None,
                    };
                    Some(SampleCandidate {
                        number: *number,
                        standing,
                    })
                });
                all.push(candidates.collect());
            }
        }
        Ok(all)
    }
}
