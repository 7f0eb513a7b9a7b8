//! What still keeps numbers from getting tokens although a change was undone: the answer says so,
//! since the caller expects that everything is as before.

use std::collections::HashSet;

use uuid::Uuid;

use super::plan::UndoPlan;
use crate::authority::departures::{EndedDelegation, EndedDelegations, EndedPart};
use crate::domain::NumberRange;
use crate::domain::clock::Time;
use crate::domain::decision::departures::DelegatedPart;
use crate::domain::inventory::departure::{Departure, DepartureKind};
use crate::domain::inventory::{Delegation, Exclusion};
use crate::domain::numbers::range_set::merged;
use crate::store::{StoreError, Tx, Versions};

/// How many rows an answer lists, and how many ranges of one of them.
const MAX_LISTED: usize = 100;

/// What still blocks the numbers of a change that is undone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StillBlocked {
    /// Delegations that the change had ended, and that something else has ended too.
    pub delegations: EndedDelegations,
    /// The other exclusions of the numbers of an exclusion, in force now or later.
    pub exclusions: Vec<Exclusion>,
    /// Whether there are more exclusions than listed here.
    pub more_exclusions: bool,
}

/// The delegations that a change had ended.
#[derive(Debug, Default)]
pub(super) struct Released {
    /// Those that count again, for some of their numbers at least.
    pub(super) again: Vec<Delegation>,
    /// Those that something else has ended too.
    pub(super) still_ended: EndedDelegations,
}

impl Released {
    /// Notes for which of these numbers something else has ended a delegation by now, and not
    /// before the change that is undone, which ended it at the time beside them. `parts` are what
    /// remains.
    pub(super) fn ended_otherwise(
        &mut self,
        row: &Delegation,
        parts: &[DelegatedPart<'_>],
        ended: &[(NumberRange, Time)],
        now: Time,
    ) {
        let mut ended_for = Vec::new();
        for part in parts {
            let Some(by) = part.ended_by.filter(|by| by.at <= now) else {
                continue;
            };
            let concerned = ended.iter().filter(|(_, at)| by.at >= *at);
            let concerned = concerned.filter_map(|(n, _)| n.intersection(part.numbers));
            ended_for.extend(merged(concerned.collect()).into_iter().map(|numbers| {
                let (at, kind, cause) = (by.at, by.kind, by.caused_by());
                EndedPart {
                    numbers,
                    at,
                    kind,
                    cause,
                }
            }));
        }
        let listed = &mut self.still_ended;
        if ended_for.is_empty() {
            return;
        }
        if listed.delegations.len() == MAX_LISTED {
            listed.more = true;
            return;
        }
        let more = ended_for.len() > MAX_LISTED;
        ended_for.truncate(MAX_LISTED);
        listed.delegations.push(EndedDelegation {
            row: row.clone(),
            whole: !parts.iter().any(|part| part.counts_from(now)),
            ended_for,
            more,
        });
    }
}

/// The other exclusions of the numbers whose exclusions are undone, the first of them, and whether
/// there are more.
pub(super) fn other_exclusions(
    tx: &mut Tx<'_>,
    plan: &UndoPlan,
    lifted: &[Departure],
    now: Time,
) -> Result<(Vec<Exclusion>, bool), StoreError> {
    let removed = &plan.exclusions.remove;
    // One that has been cancelled already is not removed, but its departure is lifted.
    let left = lifted.iter().filter(|departure| match departure.kind {
        DepartureKind::PortedOut | DepartureKind::Aging => true,
        DepartureKind::Returned | DepartureKind::Acquired => false,
    });
    let numbers = removed.iter().map(|row| row.numbers);
    let numbers = merged(numbers.chain(left.map(|one| one.numbers)).collect());
    let are_removed: HashSet<Uuid> = removed.iter().map(|row| row.row.id).collect();
    of_numbers(tx, &numbers, &are_removed, now)
}

/// The exclusions of these numbers in force now or later but for some, the first of them, and
/// whether there are more.
pub(in crate::authority) fn of_numbers(
    tx: &mut Tx<'_>,
    numbers: &[NumberRange],
    but_for: &HashSet<Uuid>,
    now: Time,
) -> Result<(Vec<Exclusion>, bool), StoreError> {
    if numbers.is_empty() {
        return Ok((Vec::new(), false));
    }
    let versions = Versions::HoldingIn {
        from: now,
        until: None,
    };
    let limit = MAX_LISTED + but_for.len() + 1;
    let mut others = tx.exclusions_touching(numbers, versions, limit)?;
    others.retain(|row| !but_for.contains(&row.row.id));
    others.dedup_by_key(|row| row.row);
    let more = others.len() > MAX_LISTED;
    others.truncate(MAX_LISTED);
    Ok((others, more))
}
