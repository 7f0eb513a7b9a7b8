//! The rule of authority, as one pure function over the facts that the store has read.
//!
//! An account may have a token for a number at an instant when the number is in the account's delegations, the carrier's
//! allocations hold it and no exclusion touches it; all of it for the whole of `[now, exp)`. A known end shortens `exp`.

use std::collections::BTreeSet;

use super::account::{AccountId, LifetimeMode};
use super::claims::TokenRequest;
use super::clock::Time;
use super::denial::{Cause, Denial, Refusal, Subject};
use super::grant::Justification;
use super::inventory::{Allocation, Delegation, Exclusion, Held};
use super::number::{NumberRange, Tn};
use super::range_set::gaps;
use super::signing::{self, Candidate};
use super::spc::Spc;

/// How many rows of one kind one decision may weigh; more is refused, so that no list costs without bound.
pub const MAX_ROWS: usize = 2_000;

/// What is asked, and when.
#[derive(Debug, Clone)]
pub struct Question<'a> {
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
    /// How long the account's tokens live.
    pub lifetime: LifetimeMode,
    /// Service provider codes of the carrier.
    pub spcs: Vec<Spc>,
    pub delegations: Vec<Delegation>,
    pub allocations: Vec<Allocation>,
    pub exclusions: Vec<Exclusion>,
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
    let rows = [
        facts.delegations.len(),
        facts.allocations.len(),
        facts.exclusions.len(),
    ];
    if rows.into_iter().any(|n| n > MAX_ROWS) {
        return Err(Denial::TooFragmented { limit: MAX_ROWS });
    }

    let needed = needed_spcs(question, facts);
    let mut expires_at = question.until;
    let mut justified_by = BTreeSet::new();
    let mut refusals: Vec<Refusal> = question
        .request
        .list()
        .spcs()
        .filter(|spc| !facts.spcs.contains(spc))
        .map(|spc| Refusal {
            subject: Subject::Spc(spc.clone()),
            cause: Cause::SpcNotHeld,
        })
        .collect();
    for numbers in question.request.numbers() {
        match decide_range(*numbers, question, facts, &needed) {
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
    let chain = signing_chain(question, needed)?;
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
        .list()
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
            let chosen = signing::choose(question.chains, &one, question.now);
            chosen.ok_or(Denial::NoCertificate(one))
        }
        (one, another) => {
            let all = one.into_iter().chain(another).chain(spcs);
            Err(Denial::SeveralSpcs(all.collect()))
        }
    }
}

/// The accounts that may have a token for a number at an instant, as far as these rows say; in the order of their ids.
#[must_use]
pub fn holders(number: Tn, at: Time, facts: &Facts) -> Vec<AccountId> {
    let at_once = |row: &dyn Held| row.numbers().contains(number) && row.window().contains(at);
    let held = facts.allocations.iter().any(|row| at_once(row));
    if !held || facts.exclusions.iter().any(|row| at_once(row)) {
        return Vec::new();
    }
    let lent = facts.delegations.iter().filter(|row| at_once(*row));
    lent.map(|row| row.account.clone())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

/// The same for one range of the list. The first cause that applies is named, and what the account was never lent is
/// refused before anything else is looked at, so that nobody learns of other people's numbers.
fn decide_range(
    numbers: NumberRange,
    question: &Question<'_>,
    facts: &Facts,
    needed: &BTreeSet<Spc>,
) -> Result<(Time, Vec<Justification>), Vec<Refusal>> {
    let refuse = |cause| move |parts: Vec<NumberRange>| refused(parts, cause);
    let delegations: Vec<&Delegation> = facts.delegations.iter().collect();
    let mut lent =
        held_until(numbers, &delegations, question).map_err(refuse(Cause::NotDelegated))?;
    if question.request.ca() {
        let with_ca: Vec<&Delegation> = delegations.into_iter().filter(|d| d.ca).collect();
        lent = held_until(numbers, &with_ca, question).map_err(refuse(Cause::CaNotDelegated))?;
    }
    // When the numbers pass to another code of the carrier, this one's certificate vouches for them no longer.
    let allocations = facts.allocations.iter();
    let allocations: Vec<&Allocation> = allocations
        .filter(|row| needed.contains(&row.spc))
        .collect();
    let held = held_until(numbers, &allocations, question).map_err(refuse(Cause::NotAllocated))?;
    let free_until = free_until(numbers, &facts.exclusions, question)?;

    let rows = lent
        .rows
        .iter()
        .map(|row| Justification::Delegation(row.row()));
    let rows = rows.chain(
        held.rows
            .iter()
            .map(|row| Justification::Allocation(row.row())),
    );
    Ok((lent.until.min(held.until).min(free_until), rows.collect()))
}

/// Rows that hold all of some numbers, without a gap, from now until an instant.
struct Cover<'a, R> {
    until: Time,
    rows: Vec<&'a R>,
}

/// Follows the rows from now on: as long as what holds at each instant leaves no gap, step to the next known end.
fn held_until<'a, R: Held>(
    numbers: NumberRange,
    rows: &[&'a R],
    question: &Question<'_>,
) -> Result<Cover<'a, R>, Vec<NumberRange>> {
    let touching = || {
        rows.iter()
            .filter(|row| row.numbers().intersection(numbers).is_some())
    };
    let mut used: Vec<&'a R> = Vec::new();
    let mut instant = question.now;
    loop {
        let live: Vec<&'a R> = touching()
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

/// Until when no exclusion touches the numbers; refuses those that one touches now.
fn free_until(
    numbers: NumberRange,
    exclusions: &[Exclusion],
    question: &Question<'_>,
) -> Result<Time, Vec<Refusal>> {
    let touching = exclusions.iter().filter_map(|exclusion| {
        let part = exclusion.numbers.intersection(numbers)?;
        Some((part, exclusion))
    });
    let (mut until, mut refusals) = (question.until, Vec::new());
    for (part, exclusion) in touching {
        if exclusion.window.contains(question.now) {
            refusals.extend(refused(vec![part], Cause::Excluded(exclusion.reason)));
        } else if exclusion.window.from() > question.now {
            until = until.min(exclusion.window.from());
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
