//! Which certificate chain signs what is granted: that of the service provider code that the
//! numbers belong to, unless its key is distrusted.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::denial::Denial;
use super::{Facts, Question};
use crate::domain::clock::Time;
use crate::domain::inventory::Allocation;
use crate::domain::numbers::number::NumberRange;
use crate::domain::numbers::spc::Spc;
use crate::domain::signing::chain_choice::{Candidate, choose, choose_any};
use crate::domain::tokens::tkvalue::TkType;

/// The codes whose certificate could sign: those in the list, and those of the allocations that
/// hold its numbers now.
pub(super) fn needed_spcs(question: &Question<'_>, facts: &Facts) -> BTreeSet<Spc> {
    let requested = question.request.numbers();
    let is_relevant = |row: &&Allocation| {
        let overlaps = |numbers: &NumberRange| row.numbers.intersection(*numbers).is_some();
        row.window.contains(question.now) && requested.iter().any(overlaps)
    };
    let allocations = facts.allocations.iter().filter(is_relevant);
    let allocated = allocations.map(|row| &row.spc);
    question
        .request
        .tkvalue()
        .spcs()
        .chain(allocated)
        .cloned()
        .collect()
}

/// The name of the chain that signs, and the last second at which it is valid. A token has one
/// signature, so all of its numbers must belong to one code, and there must be a certificate for
/// that code. Claim constraints concern no number and no code, so any of the carrier's certificates
/// can sign them.
///
/// # Errors
/// [`Denial::SeveralSpcs`], [`Denial::NoCertificate`] or [`Denial::KeyDistrusted`].
pub(super) fn signing_chain(
    question: &Question<'_>,
    facts: &Facts,
    needed: &BTreeSet<Spc>,
) -> Result<(String, Time), Denial> {
    let chains = trusted(question.chains, facts);
    let is_distrusted = |spc: &Spc| facts.distrusted.iter().any(|one| one.spcs.contains(spc));
    let (chosen, distrusted) = match question.request.tkvalue().tktype() {
        TkType::TnAuthList => (
            of_one_code(&chains, needed, question.now),
            needed.iter().any(is_distrusted),
        ),
        TkType::JwtClaimConstraints => (
            choose_any(&chains, &facts.spcs, question.now),
            facts.spcs.iter().any(is_distrusted),
        ),
    };
    match chosen {
        Ok(chain) => Ok((chain.chain.clone(), chain.ends)),
        Err(Denial::NoCertificate(spc)) if distrusted => Err(Denial::KeyDistrusted(spc)),
        Err(denial) => Err(denial),
    }
}

/// The candidates whose key is not distrusted. They come from the memory of this replica; what is
/// distrusted was read in the transaction that records the decision.
fn trusted<'a>(chains: &'a [Candidate], facts: &Facts) -> Cow<'a, [Candidate]> {
    if facts.distrusted.is_empty() {
        return Cow::Borrowed(chains);
    }
    let trusted = chains.iter().filter(|one| !facts.distrusts(&one.chain));
    Cow::Owned(trusted.cloned().collect())
}

fn of_one_code<'a>(
    chains: &'a [Candidate],
    needed: &BTreeSet<Spc>,
    now: Time,
) -> Result<&'a Candidate, Denial> {
    let mut spcs = needed.iter();
    match (spcs.next(), spcs.next()) {
        (Some(one), None) => {
            choose(chains, one, now).ok_or_else(|| Denial::NoCertificate(one.clone()))
        }
        (None | Some(_), _) => Err(Denial::SeveralSpcs(needed.iter().cloned().collect())),
    }
}
