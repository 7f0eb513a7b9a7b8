//! The rule of authority: may this account have a token for this list (RFC 9448 §5.6)?
//!
//! [`decide`] is one pure function over facts that the store has read. It grants a number until
//! `exp` if all of this is true at every instant of `[now, exp)`:
//!
//! 1. A delegation to the account covers the number, and so does each delegation that it is cut
//!    from, up to the carrier's. No reseller in that chain is suspended. For a CA certificate, each
//!    delegation in the chain allows CA certificates.
//! 2. The account has not delegated the number further without keeping its own right.
//! 3. An allocation of the carrier covers the number.
//! 4. No exclusion covers the number.
//! 5. The number has not left since it was delegated: what left does not revive ([`departures`]).
//!
//! For each refused number, only the first unmet condition in this order is reported. If one of the
//! conditions is known to become false before the requested expiry, or the certificate chain that
//! signs expires before it, `exp` is shortened to that instant. A list is granted in full or
//! refused: there is no token for a part of it.
//!
//! Three more conditions concern the whole request: each service provider code in the list is one
//! of the carrier's; one certificate can sign for all of it, because its numbers belong to a single
//! code, and its key is not distrusted; and what is left until `exp` is not shorter than the
//! minimum lifetime of a token. Claim constraints name no numbers, so any of the carrier's
//! certificates can sign for them.

pub mod control_lack;
mod cover;
mod delegation_chain;
pub mod denial;
pub mod departures;
pub mod explanation;
mod held_by;
mod holders;
pub mod live_delegations;
mod live_parts;
pub mod policy_trace;
mod signing_chain;
mod work_bound;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::accounts::{account::AccountId, account::LifetimeMode, dialect::Dialect};
use super::clock::Time;
use super::inventory::{Allocation, Delegation, Exclusion, InventoryRow, departure::Departure};
use super::issuance::RowFacts;
use super::numbers::{number::NumberRange, spc::Spc};
use super::signing::{chain_choice::Candidate, distrust::DistrustedChain};
use super::tokens::{claims::TokenRequest, grant::Justification, renewal::Renewal};
pub use held_by::holding_delegations;
pub use holders::holders;

use cover::{Cover, covered_until, refused, unblocked_until};
use delegation_chain::DelegationChain;
use denial::{Denial, RefusalCause, RefusedPart, Subject};
use live_parts::{LivePart, LiveParts};
use signing_chain::{needed_spcs, signing_chain};
use work_bound::{is_too_much, takes_too_many_visits};

/// The most rows of one kind that one decision evaluates. A list that overlaps more is refused, so
/// that the cost of a request is bounded.
pub const MAX_ROWS: usize = 2_000;

/// A request for a token, as the rule sees it: which account, which list, and when.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    pub account: &'a AccountId,
    pub request: &'a TokenRequest,
    pub now: Time,
    /// The latest expiry that the request allows.
    pub until: Time,
    /// The shortest lifetime of a token, in seconds.
    pub minimum: u32,
    /// The certificate chains that this process can sign with.
    pub chains: &'a [Candidate],
}

/// What the store knows, read in the transaction that will record the decision: the account, and
/// every row of the inventory that overlaps the numbers of the request and is valid at some instant
/// of `[now, until)`.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub standing: AccountStanding,
    /// The suspended resellers above the account. Nothing cut from their delegations is valid.
    pub suspended_above: Vec<AccountId>,
    /// How long the account's tokens live if the request does not say.
    pub lifetime: LifetimeMode,
    /// How strictly its requests are parsed.
    pub dialect: Dialect,
    /// Service provider codes of the carrier.
    pub spcs: Vec<Spc>,
    /// The delegations of the account and of the resellers above it, so that each can be followed
    /// up to the carrier.
    pub delegations: Vec<Delegation>,
    /// What the account itself has delegated further without keeping its own right.
    pub lent_on: Vec<Delegation>,
    pub allocations: Vec<Allocation>,
    pub exclusions: Vec<Exclusion>,
    /// The departures of the numbers that can end one of these delegations.
    pub departures: Vec<Departure>,
    /// The standing right to renew that the request uses, if any.
    pub renewal: Option<Renewal>,
    /// What policies that depend on rows refer to; loaded only for these.
    pub rows: RowFacts,
    /// The chains whose certificate is still valid, but whose key must not sign.
    pub distrusted: Arc<[DistrustedChain]>,
}

impl Facts {
    /// Whether there are more rows of a kind than `most`.
    #[must_use]
    pub fn exceeds(&self, most: usize) -> bool {
        let rows = [
            self.delegations.len(),
            self.lent_on.len(),
            self.allocations.len(),
            self.exclusions.len(),
            self.departures.len(),
        ];
        rows.into_iter().any(|rows| rows > most)
    }

    /// Whether the chain of this name must not sign.
    #[must_use]
    pub fn distrusts(&self, chain: &str) -> bool {
        self.distrusted.iter().any(|one| one.name == chain)
    }
}

/// Whether the account exists and may request tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccountStanding {
    #[default]
    Unknown,
    Suspended,
    Good,
}

/// A positive decision: until when, based on which rows, signed with which chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub expires_at: Time,
    pub justified_by: Vec<Justification>,
    /// The name of the certificate chain that signs.
    pub chain: String,
}

/// Decides a request (RFC 9448 §5.6: each entry of the list is within what the account may
/// represent, or there is no token).
///
/// # Errors
/// A [`Denial`]. [`Denial::NotAuthorized`] lists each refused part of the list.
pub fn decide(question: &Question<'_>, facts: &Facts) -> Result<Decision, Denial> {
    // An unknown and a suspended account get the same answer as wrong credentials (RFC 9448 §5.5).
    match facts.standing {
        AccountStanding::Good => {}
        AccountStanding::Unknown | AccountStanding::Suspended => return Err(Denial::NotTheCallers),
    }
    let in_dialect = question.request.is_in(facts.dialect);
    in_dialect.map_err(Denial::NotStrict)?;
    let evaluator = RangeEvaluator::within_bounds(question, facts);
    let evaluator = evaluator.ok_or(Denial::TooFragmented { limit: MAX_ROWS })?;
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
    let (chain, chain_ends) = signing_chain(question, facts, &evaluator.needed)?;
    expires_at = expires_at.min(chain_ends);
    if (expires_at - question.now).num_seconds() < i64::from(question.minimum) {
        return Err(Denial::EndsTooSoon {
            until: expires_at,
            minimum: question.minimum,
        });
    }
    Ok(Decision {
        expires_at,
        justified_by: justified_by.into_iter().collect(),
        chain,
    })
}

/// Evaluates the ranges of one request. What all ranges share is computed once.
pub(super) struct RangeEvaluator<'a> {
    question: &'a Question<'a>,
    facts: &'a Facts,
    chains: Vec<DelegationChain<'a>>,
    /// What departures leave of them; `None` if there are none, as for most requests.
    live: Option<LiveParts<'a>>,
    /// The codes whose certificate could sign.
    needed: BTreeSet<Spc>,
}

impl<'a> RangeEvaluator<'a> {
    /// `None` if the request overlaps too many rows. Checked before any row is followed, since
    /// this is what bounds the work.
    pub(super) fn within_bounds(question: &'a Question<'a>, facts: &'a Facts) -> Option<Self> {
        if is_too_much(question, facts) {
            return None;
        }
        let chains = DelegationChain::all_of(question.account, facts);
        let live = if facts.departures.is_empty() {
            None
        } else {
            let live = LiveParts::of(&chains, facts, question)?;
            if takes_too_many_visits(question, &live.chains) {
                return None;
            }
            Some(live)
        };
        Some(Self {
            question,
            facts,
            chains,
            live,
            needed: needed_spcs(question, facts),
        })
    }

    /// Returns the end of authority for one range of the list and the rows that justify it, or the
    /// refused parts.
    ///
    /// Only the first failing condition is reported. Delegation is checked first, so an account
    /// that asks for numbers never delegated to it learns nothing about other tenants' numbers.
    pub(super) fn evaluate(
        &self,
        numbers: NumberRange,
    ) -> Result<(Time, Vec<Justification>), Vec<RefusedPart>> {
        let delegated = self.delegated(numbers)?;
        let own_right_until = self.not_delegated_on(numbers)?;
        let allocated = self.allocated(numbers)?;
        let unexcluded_until = self.not_excluded(numbers)?;
        let delegated = match &self.live {
            None => delegated,
            Some(live) => self.not_left(numbers, live)?,
        };
        let ends = [
            delegated.until,
            own_right_until,
            allocated.until,
            unexcluded_until,
        ];
        Ok((
            ends.into_iter().fold(self.question.until, Time::min),
            justified_by(&delegated, &allocated),
        ))
    }

    /// Condition 1: delegations to the account cover the range, and so do those that they are cut
    /// from.
    fn delegated(
        &self,
        numbers: NumberRange,
    ) -> Result<Cover<'_, DelegationChain<'a>>, Vec<RefusedPart>> {
        let cover = |counts: &dyn Fn(&DelegationChain<'a>) -> bool, cause| {
            let chains = self.chains.iter().filter(|chain| counts(chain));
            self.covered(numbers, chains, cause)
        };
        let mut covered = cover(&|_| true, RefusalCause::NotDelegated)?;
        // Each pass leaves out more chains, so that a refusal names the right cause. A pass that
        // would change nothing is skipped.
        if self.chains.iter().any(|chain| chain.lender_suspended) {
            covered = cover(
                &|chain| !chain.lender_suspended,
                RefusalCause::LenderSuspended,
            )?;
        }
        if self.question.request.ca() {
            let with_ca = |chain: &DelegationChain<'a>| chain.ca && !chain.lender_suspended;
            covered = cover(&with_ca, RefusalCause::CaNotDelegated)?;
        }
        Ok(covered)
    }

    /// Condition 2: the account has not delegated any of the range further without keeping its own
    /// right.
    fn not_delegated_on(&self, numbers: NumberRange) -> Result<Time, Vec<RefusedPart>> {
        match &self.live {
            None => {
                let cause = |_: &Delegation| RefusalCause::LentOn;
                unblocked_until(numbers, &self.facts.lent_on, cause, self.question)
            }
            // What left has ended for the customer too, and no longer blocks.
            Some(live) => {
                let cause = |_: &LivePart| RefusalCause::LentOn;
                unblocked_until(numbers, &live.lent_on, cause, self.question)
            }
        }
    }

    /// Condition 3: allocations cover the range. Only allocations under a service provider code
    /// whose certificate can sign count: once the numbers move to another SPC of the carrier, the
    /// certificate of the first one no longer covers them.
    fn allocated(&self, numbers: NumberRange) -> Result<Cover<'_, Allocation>, Vec<RefusedPart>> {
        let allocations = self.facts.allocations.iter();
        let allocations = allocations.filter(|row| self.needed.contains(&row.spc));
        self.covered(numbers, allocations, RefusalCause::NotAllocated)
    }

    /// Condition 4: no exclusion overlaps the range.
    fn not_excluded(&self, numbers: NumberRange) -> Result<Time, Vec<RefusedPart>> {
        let cause = |exclusion: &Exclusion| RefusalCause::Excluded(exclusion.reason);
        unblocked_until(numbers, &self.facts.exclusions, cause, self.question)
    }

    /// Condition 5: the delegations that cover the range have not ended for any of it, because it
    /// left. Checked last, so that numbers that are out still get the cause of that.
    fn not_left(
        &self,
        numbers: NumberRange,
        live: &LiveParts<'a>,
    ) -> Result<Cover<'_, DelegationChain<'a>>, Vec<RefusedPart>> {
        let ca = self.question.request.ca();
        let parts = live.chains.iter().filter(|part| {
            let chain = &self.chains[part.of];
            !chain.lender_suspended && (chain.ca || !ca)
        });
        let covered = covered_until(numbers, parts, self.question);
        let covered = covered.map_err(|missing| live.refused(missing))?;
        let rows = covered.rows.iter().map(|part| &self.chains[part.of]);
        Ok(Cover {
            until: covered.until,
            rows: rows.collect(),
        })
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
    delegated: &Cover<'_, DelegationChain<'_>>,
    allocated: &Cover<'_, Allocation>,
) -> Vec<Justification> {
    let delegations = delegated.rows.iter().flat_map(|chain| chain.delegations());
    let delegations = delegations.map(|row| Justification::Delegation(row.row));
    let allocations = allocated.rows.iter();
    delegations
        .chain(allocations.map(|row| Justification::Allocation(row.row())))
        .collect()
}
