//! The rule of authority, as one pure function over the facts that the store has read.
//!
//! An account may have a token for a number at an instant when the number is in the account's delegations and in those that
//! they are cut from, the account has not delegated it further without keeping its own right, the carrier's allocations
//! hold it and no exclusion overlaps it; all of it for the whole of `[now, exp)`. A known end shortens `exp`.

mod cover;
mod delegation_chain;
pub mod denial;
pub mod explanation;
pub mod policy_trace;
mod work_bound;

use std::collections::BTreeSet;

use super::accounts::account::{AccountId, LifetimeMode};
use super::accounts::dialect::Dialect;
use super::clock::Time;
use super::inventory::{Allocation, Delegation, Exclusion, InventoryRow};
use super::numbers::number::{NumberRange, Tn};
use super::numbers::spc::Spc;
use super::signing::chain::{self, Candidate};
use super::tokens::claims::TokenRequest;
use super::tokens::grant::Justification;
use super::tokens::renewal::Renewal;
use super::tokens::tkvalue::TkType;
use cover::{Cover, covered_until, refused, unblocked_until};
use delegation_chain::DelegationChain;
use denial::{Denial, RefusalCause, RefusedPart, Subject};
use work_bound::is_too_much;

/// How many rows of one kind one decision may evaluate; more is refused, so that no list costs without bound.
pub const MAX_ROWS: usize = 2_000;

/// What is asked, and when.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    pub account: &'a AccountId,
    pub request: &'a TokenRequest,
    pub now: Time,
    /// The expiry that the request allows.
    pub until: Time,
    /// The shortest lifetime of a token, in seconds.
    pub minimum: u32,
    /// The certificate chains that this process could sign with.
    pub chains: &'a [Candidate],
}

/// What the store knows, read in the transaction that will record the answer: every row of these kinds that overlaps the
/// numbers of the request and holds at some instant of `[now, until)`.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub standing: AccountStanding,
    /// The resellers above the account that are suspended: nothing that is cut from their delegations holds.
    pub suspended_above: Vec<AccountId>,
    /// How long the account's tokens live.
    pub lifetime: LifetimeMode,
    /// How strictly its requests are read.
    pub dialect: Dialect,
    /// Service provider codes of the carrier.
    pub spcs: Vec<Spc>,
    /// What was delegated to the account, and to the resellers above it, so that each delegation can be followed to the
    /// carrier.
    pub delegations: Vec<Delegation>,
    /// What the account itself has delegated further without keeping its own right.
    pub lent_on: Vec<Delegation>,
    pub allocations: Vec<Allocation>,
    pub exclusions: Vec<Exclusion>,
    /// The right that the token is asked by, if there is one.
    pub renewal: Option<Renewal>,
}

/// Whether the account may ask at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccountStanding {
    #[default]
    Unknown,
    Suspended,
    Good,
}

/// A yes: until when, and because of which rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub expires_at: Time,
    pub justified_by: Vec<Justification>,
    /// The certificate chain that signs, by its name.
    pub chain: String,
}

/// Decides (RFC 9448 §5.6: every entry is within what the account may represent, or there is no token).
///
/// # Errors
/// A [`Denial`] that names each refused part of the list.
pub fn decide(question: &Question<'_>, facts: &Facts) -> Result<Decision, Denial> {
    match facts.standing {
        AccountStanding::Good => {}
        AccountStanding::Unknown | AccountStanding::Suspended => return Err(Denial::NotTheCallers),
    }
    let in_dialect = question.request.is_in(facts.dialect);
    in_dialect.map_err(Denial::NotStrict)?;
    if is_too_much(question, facts) {
        return Err(Denial::TooFragmented { limit: MAX_ROWS });
    }
    let evaluator = RangeEvaluator::new(question, facts);
    let mut expires_at = question.until;
    let mut justified_by = BTreeSet::new();
    let mut refusals: Vec<RefusedPart> = question
        .request
        .tkvalue()
        .spcs()
        .filter(|spc| !facts.spcs.contains(spc))
        .map(|spc| RefusedPart {
            subject: Subject::Spc(spc.clone()),
            cause: RefusalCause::SpcNotHeld,
        })
        .collect();
    for numbers in question.request.numbers() {
        match evaluator.evaluate(*numbers) {
            Ok((until, rows)) => {
                expires_at = expires_at.min(until);
                justified_by.extend(rows);
            }
            Err(refused) => refusals.extend(refused),
        }
    }
    if !refusals.is_empty() {
        return Err(Denial::NotAuthorized(refusals));
    }
    let chain = match question.request.tkvalue().tktype() {
        TkType::TnAuthList => signing_chain(question, evaluator.needed)?,
        // They are about no number and no code, so each of the carrier's certificates vouches for them.
        TkType::JwtClaimConstraints => {
            chain::choose_any(question.chains, &facts.spcs, question.now)?
        }
    };
    expires_at = expires_at.min(chain.ends);
    if (expires_at - question.now).num_seconds() < i64::from(question.minimum) {
        return Err(Denial::EndsTooSoon {
            until: expires_at,
            minimum: question.minimum,
        });
    }
    Ok(Decision {
        expires_at,
        justified_by: justified_by.into_iter().collect(),
        chain: chain.chain.clone(),
    })
}

/// The codes whose certificate could sign: those of the list, and those of the allocations that hold its numbers now.
fn needed_spcs(question: &Question<'_>, facts: &Facts) -> BTreeSet<Spc> {
    let asked = question.request.numbers();
    let holds = |row: &&Allocation| {
        let touches = |numbers: &NumberRange| row.numbers.intersection(*numbers).is_some();
        row.window.contains(question.now) && asked.iter().any(touches)
    };
    let held = facts.allocations.iter().filter(holds).map(|row| &row.spc);
    question
        .request
        .tkvalue()
        .spcs()
        .chain(held)
        .cloned()
        .collect()
}

/// A token has one signature, so its numbers must be those of one code, and there must be a certificate for it.
fn signing_chain<'a>(
    question: &Question<'a>,
    needed: BTreeSet<Spc>,
) -> Result<&'a Candidate, Denial> {
    let mut spcs = needed.into_iter();
    match (spcs.next(), spcs.next()) {
        (Some(one), None) => {
            let chosen = chain::choose(question.chains, &one, question.now);
            chosen.ok_or(Denial::NoCertificate(one))
        }
        (one, another) => {
            let all = one.into_iter().chain(another).chain(spcs);
            Err(Denial::SeveralSpcs(all.collect()))
        }
    }
}

/// The accounts that may have a token for a number at an instant, as far as these rows say; in the order of their ids.
/// `delegations` are those of everybody.
#[must_use]
pub fn holders(number: Tn, at: Time, facts: &Facts) -> Vec<AccountId> {
    fn at_once<R: InventoryRow>(row: &R, number: Tn, at: Time) -> bool {
        row.numbers().contains(number) && row.window().contains(at)
    }
    let mut held = facts.allocations.iter();
    let mut excluded = facts.exclusions.iter();
    if !held.any(|row| at_once(row, number, at)) || excluded.any(|row| at_once(row, number, at)) {
        return Vec::new();
    }
    let delegated_on = |account: &AccountId| {
        facts.delegations.iter().any(|row| {
            let from = row.cut_from.as_ref();
            from.is_some_and(|from| from.lender == *account && !from.lender_keeps)
                && at_once(row, number, at)
        })
    };
    let accounts: BTreeSet<&AccountId> = facts.delegations.iter().map(|row| &row.account).collect();
    let holders = accounts.into_iter().filter(|account| {
        let mut chains = DelegationChain::all_of(account, facts).into_iter();
        chains.any(|chain| !chain.lender_suspended && at_once(&chain, number, at))
            && !delegated_on(account)
    });
    holders.cloned().collect()
}

/// Evaluates the ranges of one request, with what is put together once for all of them.
pub(super) struct RangeEvaluator<'a> {
    question: &'a Question<'a>,
    facts: &'a Facts,
    chains: Vec<DelegationChain>,
    /// The codes whose certificate could sign.
    needed: BTreeSet<Spc>,
}

impl<'a> RangeEvaluator<'a> {
    pub(super) fn new(question: &'a Question<'a>, facts: &'a Facts) -> Self {
        Self {
            question,
            facts,
            chains: DelegationChain::all_of(question.account, facts),
            needed: needed_spcs(question, facts),
        }
    }

    /// Until when one range of the list would be granted, and because of which rows; or what of it is refused. The first
    /// cause that applies is named, and what was never delegated to the account is refused before anything else is
    /// considered, so that no one learns of other tenants' numbers.
    pub(super) fn evaluate(
        &self,
        numbers: NumberRange,
    ) -> Result<(Time, Vec<Justification>), Vec<RefusedPart>> {
        let delegated = self.delegated(numbers)?;
        let kept_until = self.not_delegated_on(numbers)?;
        let allocated = self.allocated(numbers)?;
        let unexcluded_until = self.not_excluded(numbers)?;
        let ends = [
            delegated.until,
            kept_until,
            allocated.until,
            unexcluded_until,
        ];
        Ok((
            ends.into_iter().fold(self.question.until, Time::min),
            justified_by(&delegated, &allocated),
        ))
    }

    /// The delegations of the account cover the range, and those that they are cut from.
    fn delegated(
        &self,
        numbers: NumberRange,
    ) -> Result<Cover<'_, DelegationChain>, Vec<RefusedPart>> {
        let cover = |wanted: &dyn Fn(&DelegationChain) -> bool, cause| {
            let chains = self.chains.iter().filter(|chain| wanted(chain));
            self.covered(numbers, chains, cause)
        };
        let mut covered = cover(&|_| true, RefusalCause::NotDelegated)?;
        // Only where it can make a difference is it evaluated again.
        if self.chains.iter().any(|chain| chain.lender_suspended) {
            covered = cover(
                &|chain| !chain.lender_suspended,
                RefusalCause::LenderSuspended,
            )?;
        }
        if self.question.request.ca() {
            let with_ca = |chain: &DelegationChain| chain.ca && !chain.lender_suspended;
            covered = cover(&with_ca, RefusalCause::CaNotDelegated)?;
        }
        Ok(covered)
    }

    /// The account has not delegated any of it further without keeping its own right.
    fn not_delegated_on(&self, numbers: NumberRange) -> Result<Time, Vec<RefusedPart>> {
        let delegated_on = &self.facts.lent_on;
        unblocked_until(
            numbers,
            delegated_on,
            |_| RefusalCause::LentOn,
            self.question,
        )
    }

    /// The carrier holds the range. When the numbers pass to another code of the carrier, the certificate of this one
    /// vouches for them no longer.
    fn allocated(&self, numbers: NumberRange) -> Result<Cover<'_, Allocation>, Vec<RefusedPart>> {
        let allocations = self.facts.allocations.iter();
        let allocations = allocations.filter(|row| self.needed.contains(&row.spc));
        self.covered(numbers, allocations, RefusalCause::NotAllocated)
    }

    /// No exclusion overlaps the range.
    fn not_excluded(&self, numbers: NumberRange) -> Result<Time, Vec<RefusedPart>> {
        let cause = |exclusion: &Exclusion| RefusalCause::Excluded(exclusion.reason);
        unblocked_until(numbers, &self.facts.exclusions, cause, self.question)
    }

    fn covered<'r, R: InventoryRow>(
        &self,
        numbers: NumberRange,
        rows: impl Iterator<Item = &'r R>,
        cause: RefusalCause,
    ) -> Result<Cover<'r, R>, Vec<RefusedPart>> {
        covered_until(numbers, rows, self.question).map_err(|missing| refused(missing, cause))
    }
}

fn justified_by(
    delegated: &Cover<'_, DelegationChain>,
    allocated: &Cover<'_, Allocation>,
) -> Vec<Justification> {
    let delegations = delegated.rows.iter().flat_map(|chain| chain.rows());
    let delegations = delegations.map(|row| Justification::Delegation(*row));
    let allocations = allocated.rows.iter();
    delegations
        .chain(allocations.map(|row| Justification::Allocation(row.row())))
        .collect()
}
