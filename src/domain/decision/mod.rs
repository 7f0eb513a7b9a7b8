//! The rule of authority, as one pure function over the facts that the store has read.
//!
//! An account may have a token for a number at an instant when the number is in the account's delegations and in those that
//! they are cut from, the account has not lent it on for good, the carrier's allocations hold it and no exclusion touches
//! it; all of it for the whole of `[now, exp)`. A known end shortens `exp`.

pub mod denial;
pub mod explanation;
pub mod policy_trace;

use std::collections::{BTreeSet, HashMap};

use uuid::Uuid;

use super::accounts::account::{Account, AccountId, LifetimeMode};
use super::accounts::dialect::Dialect;
use super::clock::Time;
use super::decision::denial::{Cause, Denial, Refusal, Subject};
use super::inventory::window::Window;
use super::inventory::{Allocation, Delegation, Exclusion, Held, RowRef};
use super::numbers::number::{NumberRange, Tn};
use super::numbers::range_set::gaps;
use super::numbers::spc::Spc;
use super::signing::chain::{self, Candidate};
use super::tokens::claims::TokenRequest;
use super::tokens::grant::Justification;
use super::tokens::renewal::Renewal;
use super::tokens::tkvalue::TkType;

/// How many rows of one kind one decision may weigh; more is refused, so that no list costs without bound.
pub const MAX_ROWS: usize = 2_000;

/// How often one decision may look at a row, all ranges of the list together: a few milliseconds.
const MOST_WORK: usize = 2_000_000;
/// So few rows are never too much, whatever a list of a thousand entries asks of them.
const FEW_ROWS: usize = 64;

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

/// What the store knows, read in the transaction that will record the answer: every row of these kinds that touches the
/// numbers of the request and holds at some instant of `[now, until)`.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub standing: Standing,
    /// The resellers above the account that are suspended: nothing that hangs below their loans holds.
    pub suspended_above: Vec<AccountId>,
    /// How long the account's tokens live.
    pub lifetime: LifetimeMode,
    /// How strictly its requests are read.
    pub dialect: Dialect,
    /// Service provider codes of the carrier.
    pub spcs: Vec<Spc>,
    /// What the account was lent, and what the resellers above it were, so that each loan can be followed to the carrier.
    pub delegations: Vec<Delegation>,
    /// What the account itself has lent on without keeping its own right.
    pub lent_on: Vec<Delegation>,
    pub allocations: Vec<Allocation>,
    pub exclusions: Vec<Exclusion>,
    /// The right that the token is asked by, if there is one.
    pub renewal: Option<Renewal>,
}

/// Whether the account may ask at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Standing {
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
        Standing::Good => {}
        Standing::Unknown | Standing::Suspended => return Err(Denial::NotTheCallers),
    }
    let in_dialect = question.request.is_in(facts.dialect);
    in_dialect.map_err(Denial::NotStrict)?;
    if is_too_much(question, facts) {
        return Err(Denial::TooFragmented { limit: MAX_ROWS });
    }
    let scales = Scales::new(question, facts);
    let mut expires_at = question.until;
    let mut justified_by = BTreeSet::new();
    let mut refusals: Vec<Refusal> = question
        .request
        .tkvalue()
        .spcs()
        .filter(|spc| !facts.spcs.contains(spc))
        .map(|spc| Refusal {
            subject: Subject::Spc(spc.clone()),
            cause: Cause::SpcNotHeld,
        })
        .collect();
    for numbers in question.request.numbers() {
        match scales.weigh(*numbers) {
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
        TkType::TnAuthList => signing_chain(question, scales.needed)?,
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

/// Whether the rows are more than one decision weighs: too many of a kind, or so cut up in numbers and in time that
/// following them would hold up everybody else.
pub(super) fn is_too_much(question: &Question<'_>, facts: &Facts) -> bool {
    let rows = [
        facts.delegations.len(),
        facts.lent_on.len(),
        facts.allocations.len(),
        facts.exclusions.len(),
    ];
    let all: usize = rows.iter().sum();
    let ranges = question.request.numbers();
    if rows.into_iter().any(|n| n > MAX_ROWS) || all.saturating_mul(ranges.len()) > MOST_WORK {
        return true;
    }
    if all <= FEW_ROWS {
        return false;
    }
    let looks = ranges.iter().map(|range| {
        looks(*range, &facts.delegations, question.until).saturating_add(looks(
            *range,
            &facts.allocations,
            question.until,
        ))
    });
    looks.fold(0, usize::saturating_add) > MOST_WORK
}

/// How often rows are looked at to follow one range: each end of a row is a step, and each step looks at all that touch.
fn looks<R: Held>(range: NumberRange, rows: &[R], until: Time) -> usize {
    let touching = rows
        .iter()
        .filter(|row| row.numbers().intersection(range).is_some());
    let (mut all, mut steps) = (0_usize, 1_usize);
    for row in touching {
        all += 1;
        steps += usize::from(row.window().until().is_some_and(|end| end < until));
    }
    all.saturating_mul(steps)
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
    fn at_once<R: Held>(row: &R, number: Tn, at: Time) -> bool {
        row.numbers().contains(number) && row.window().contains(at)
    }
    let mut held = facts.allocations.iter();
    let mut excluded = facts.exclusions.iter();
    if !held.any(|row| at_once(row, number, at)) || excluded.any(|row| at_once(row, number, at)) {
        return Vec::new();
    }
    let lent_on = |account: &AccountId| {
        facts.delegations.iter().any(|row| {
            let from = row.cut_from.as_ref();
            from.is_some_and(|from| from.lender == *account && !from.lender_keeps)
                && at_once(row, number, at)
        })
    };
    let accounts: BTreeSet<&AccountId> = facts.delegations.iter().map(|row| &row.account).collect();
    let holders = accounts.into_iter().filter(|account| {
        let mut loans = loans(account, facts).into_iter();
        loans.any(|loan| !loan.lender_suspended && at_once(&loan, number, at)) && !lent_on(account)
    });
    holders.cloned().collect()
}

/// What one question is weighed with, put together once for all ranges of the list.
pub(super) struct Scales<'a> {
    question: &'a Question<'a>,
    facts: &'a Facts,
    loans: Vec<Loan>,
    /// The codes whose certificate could sign.
    needed: BTreeSet<Spc>,
}

impl<'a> Scales<'a> {
    pub(super) fn new(question: &'a Question<'a>, facts: &'a Facts) -> Self {
        Self {
            question,
            facts,
            loans: loans(question.account, facts),
            needed: needed_spcs(question, facts),
        }
    }

    /// Until when one range of the list would be granted, and because of which rows; or what of it is refused. The first
    /// cause that applies is named, and what the account was never lent is refused before anything else is looked at, so
    /// that nobody learns of other people's numbers.
    pub(super) fn weigh(
        &self,
        numbers: NumberRange,
    ) -> Result<(Time, Vec<Justification>), Vec<Refusal>> {
        let (question, facts) = (self.question, self.facts);
        let refuse = |cause| move |parts: Vec<NumberRange>| refused(parts, cause);
        let cover = |wanted: &dyn Fn(&Loan) -> bool, cause| {
            let wanted = self.loans.iter().filter(|loan| wanted(loan));
            held_until(numbers, wanted, question).map_err(refuse(cause))
        };
        let mut lent = cover(&|_| true, Cause::NotDelegated)?;
        // Asked again only where it can make a difference.
        if self.loans.iter().any(|loan| loan.lender_suspended) {
            lent = cover(&|loan| !loan.lender_suspended, Cause::LenderSuspended)?;
        }
        if question.request.ca() {
            let with_ca = |loan: &Loan| loan.ca && !loan.lender_suspended;
            lent = cover(&with_ca, Cause::CaNotDelegated)?;
        }
        let kept_until = free_until(numbers, &facts.lent_on, |_| Cause::LentOn, question)?;
        // When the numbers pass to another code of the carrier, this one's certificate vouches for them no longer.
        let allocations = facts.allocations.iter();
        let allocations = allocations.filter(|row| self.needed.contains(&row.spc));
        let held =
            held_until(numbers, allocations, question).map_err(refuse(Cause::NotAllocated))?;
        let excluded = |exclusion: &Exclusion| Cause::Excluded(exclusion.reason);
        let free_until = free_until(numbers, &facts.exclusions, excluded, question)?;

        let rows = lent.rows.iter().flat_map(|loan| &loan.rows);
        let rows = rows.map(|row| Justification::Delegation(*row)).chain(
            held.rows
                .iter()
                .map(|row| Justification::Allocation(row.row())),
        );
        let ends = [lent.until, kept_until, held.until, free_until];
        let until = ends.into_iter().fold(question.until, Time::min);
        Ok((until, rows.collect()))
    }
}

/// A delegation together with all those that it is cut from, up to the carrier's: it holds when all of them do.
#[derive(Debug, Clone)]
struct Loan {
    /// The delegation itself, then the one that it is cut from, and so on.
    rows: Vec<RowRef>,
    numbers: NumberRange,
    window: Window,
    /// Whether all of them allow CA certificates.
    ca: bool,
    lender_suspended: bool,
}

impl Held for Loan {
    fn row(&self) -> RowRef {
        self.rows[0]
    }
    fn numbers(&self) -> NumberRange {
        self.numbers
    }
    fn window(&self) -> Window {
        self.window
    }
}

/// What an account was lent, each with what it is cut from. A loan whose origin is not among the facts does not count.
fn loans(account: &AccountId, facts: &Facts) -> Vec<Loan> {
    let cut = facts.delegations.iter().any(|row| row.cut_from.is_some());
    let origins: HashMap<Uuid, &Delegation> = facts
        .delegations
        .iter()
        .filter(|_| cut)
        .map(|row| (row.row.id, row))
        .collect();
    let own = facts
        .delegations
        .iter()
        .filter(|row| row.account == *account);
    own.filter_map(|own| {
        let mut loan = Loan {
            rows: vec![own.row],
            numbers: own.numbers,
            window: own.window,
            ca: own.ca,
            lender_suspended: false,
        };
        let mut below = own;
        while let Some(from) = &below.cut_from {
            let parent = *origins.get(&from.parent)?;
            // Chains are short; a circle, which no verb can make, is not followed.
            if loan.rows.len() > Account::MOST_ABOVE {
                return None;
            }
            loan.rows.push(parent.row);
            loan.numbers = loan.numbers.intersection(parent.numbers)?;
            loan.window = loan.window.intersection(parent.window)?;
            loan.ca &= parent.ca;
            loan.lender_suspended |= facts.suspended_above.contains(&parent.account);
            below = parent;
        }
        Some(loan)
    })
    .collect()
}

/// Rows that hold all of some numbers, without a gap, from now until an instant.
struct Cover<'a, R> {
    until: Time,
    rows: Vec<&'a R>,
}

/// Follows the rows from now on: as long as what holds at each instant leaves no gap, step to the next known end.
fn held_until<'a, R: Held>(
    numbers: NumberRange,
    rows: impl Iterator<Item = &'a R>,
    question: &Question<'_>,
) -> Result<Cover<'a, R>, Vec<NumberRange>> {
    let touching: Vec<&'a R> = rows
        .filter(|row| row.numbers().intersection(numbers).is_some())
        .collect();
    let mut used: Vec<&'a R> = Vec::new();
    let mut instant = question.now;
    loop {
        let live: Vec<&'a R> = touching
            .iter()
            .filter(|row| row.window().contains(instant))
            .copied()
            .collect();
        let missing = gaps(numbers, live.iter().map(|row| row.numbers()));
        if !missing.is_empty() && instant == question.now {
            return Err(missing);
        }
        if !missing.is_empty() {
            return Ok(Cover {
                until: instant,
                rows: used,
            });
        }
        let next_end = live.iter().filter_map(|row| row.window().until()).min();
        used.extend(live);
        match next_end {
            Some(end) if end < question.until => instant = end,
            _ => {
                return Ok(Cover {
                    until: question.until,
                    rows: used,
                });
            }
        }
    }
}

/// Until when none of these rows touches the numbers; refuses those that one touches now.
fn free_until<R: Held>(
    numbers: NumberRange,
    rows: &[R],
    cause: impl Fn(&R) -> Cause,
    question: &Question<'_>,
) -> Result<Time, Vec<Refusal>> {
    let touching = rows.iter().filter_map(|row| {
        let part = row.numbers().intersection(numbers)?;
        Some((part, row))
    });
    let (mut until, mut refusals) = (question.until, Vec::new());
    for (part, row) in touching {
        if row.window().contains(question.now) {
            refusals.extend(refused(vec![part], cause(row)));
        } else if row.window().from() > question.now {
            until = until.min(row.window().from());
        }
    }
    if refusals.is_empty() {
        Ok(until)
    } else {
        Err(refusals)
    }
}

fn refused(parts: Vec<NumberRange>, cause: Cause) -> Vec<Refusal> {
    parts
        .into_iter()
        .map(|numbers| Refusal {
            subject: Subject::Numbers(numbers),
            cause,
        })
        .collect()
}
