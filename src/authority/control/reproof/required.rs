//! Which numbers a right to renew has to prove.

use super::ReproofTask;
use super::store_errors::{store_error, unreadable};
use crate::authority::StoreError;
use crate::domain::control::sample::{self, ProvenParts};
use crate::domain::decision::live_delegations::live_delegations;
use crate::domain::issuance::RuledRequest;
use crate::domain::numbers::range_set::merged;
use crate::domain::tokens::renewal::Renewal;
use crate::domain::{NumberRange, Tn};
use crate::store::{SampleTask, Tx};

impl ReproofTask {
    /// The numbers that a mint for this right would need to be proven: all, or the samples of its
    /// delegation. Draws what is missing. None if there are too many.
    pub(super) fn required(&self, tx: &mut Tx<'_>, right: &Renewal) -> Result<Vec<Tn>, StoreError> {
        let list = right.list.numbers().map_err(|error| unreadable(&error))?;
        let list: Vec<NumberRange> = merged(list);
        let size = self.settings.sample;
        let is_long = |range: &NumberRange| range.count() >= sample::SAMPLED_FROM;
        if size == 0 || !list.iter().any(is_long) {
            return Ok(ProvenParts::of(&list, [], 0).required(&[]).numbers);
        }
        let by = (self.actor.clone(), self.spcs.as_slice());
        let ruled = RuledRequest::for_list(by, &right.account, right.list.clone(), self.now);
        let ruled = ruled.map_err(|error| unreadable(&error))?;
        let facts = tx.facts(&ruled)?;
        let live = live_delegations(&ruled.question(facts.lifetime), &facts);
        let own = live.iter().filter(|one| one.id == right.delegation);
        let parts = ProvenParts::of(&list, own.map(|one| one.block), size);
        if parts.are_too_many() {
            return Ok(Vec::new());
        }
        let blocks: Vec<_> = parts.blocks.iter().map(|b| (&right.account, *b)).collect();
        let found = tx.control_samples(&blocks)?;
        let bits = self
            .codes
            .sample_bits(&right.account, sample::day_of(self.now));
        let bits = bits.map_err(|error| store_error(&error))?;
        let tasks = blocks
            .iter()
            .zip(&found)
            .map(|((account, block), found)| SampleTask {
                account,
                block: *block,
                size,
                bits: &bits,
                now: self.now,
                by: (&self.actor, &self.spcs),
                found: found.as_ref(),
                proven_of_old: None,
            });
        let samples = tx.renew_control_samples(&tasks.collect::<Vec<_>>())?;
        Ok(parts.required(&samples).numbers)
    }
}
