//! Disconnect: numbers go out of service, and age before they are assigned again (47 CFR 52.15(f),
//! 64.1200(l)).

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::json;

use super::acquisition::{once_held, reconcile};
use super::audited::event_by;
use super::delegate::record_end;
use super::departures::{self, EndedDelegations, KnownDepartures, Leaving, MAX_WITH_ENDED};
use super::scope::Visibility;
use super::withdraw::{Withdrawing, ended, outstanding, still_held, withdraw_for};
use super::{Action, Authority, ChangeError, ChangeRequester};
use crate::domain::clock::{Time, is_written};
use crate::domain::inventory::departure::DepartureKind;
use crate::domain::inventory::row_change::RowChange;
use crate::domain::inventory::{
    Allocation, Basis, Delegation, Exclusion, InventoryRow, Reason, RecordedPeriod, RowRef,
};
use crate::domain::numbers::range_set::gaps;
use crate::domain::{AuditAction, Event, InventoryRange, NumberRange, Window, new_id};
use crate::store::{Tx, Versions};

/// The most delegations, and the most allocations, that one disconnect can end: a whole NXX code,
/// delegated number by number, twice.
const MAX_ROWS: usize = 20_000;

/// The aging time in days for each class of subscriber, such as `residential`.
pub type AgingDays = BTreeMap<String, u32>;

/// Numbers to take out of service.
#[derive(Debug, Clone)]
pub struct NewDisconnect {
    pub numbers: InventoryRange,
    /// One of the configured aging classes.
    pub class: String,
    /// Defaults to now.
    pub at: Option<Time>,
}

/// The outcome of a disconnect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disconnected {
    /// The exclusion that lasts while the numbers age.
    pub aging: Exclusion,
    /// Delegations of only these numbers, which end.
    pub ended_delegations: Vec<Delegation>,
    /// Delegations that continue: of larger ranges, of which these numbers end, and those of the
    /// holder of a block, who reassigns its numbers itself.
    pub kept_delegations: Vec<Delegation>,
    /// Ported-in numbers, which return to the holder of their block after aging.
    pub returned_allocations: Vec<Allocation>,
    /// Numbers that the carrier does not hold then, but has once held: they age all the same, in
    /// case a mistake has taken them that is undone later.
    pub not_held: Vec<NumberRange>,
}

impl Authority {
    /// Takes numbers out of service. Returns the grants whose tokens can be redeemed after that.
    ///
    /// # Errors
    /// If the class is not configured, the instant is in the past, or the carrier does not hold
    /// some of the numbers then and has never held them.
    pub async fn disconnect(
        &self,
        by: impl Into<ChangeRequester<'_, Withdrawing<Disconnected>>>,
        new: NewDisconnect,
    ) -> Result<Withdrawing<Disconnected>, ChangeError> {
        let by = by.into();
        let caller = by.caller();
        self.require(caller, Action::Provision)?;
        let days = *self.aging.get(&new.class).ok_or_else(|| {
            let known = self.aging.keys().cloned().collect::<Vec<_>>();
            ChangeError::UnknownClass(known.join(", "))
        })?;
        let now = self.clock.now();
        let at = new.at.unwrap_or(now);
        if at < now {
            return Err(ChangeError::Over(at));
        }
        let aging_until = at
            .checked_add_signed(TimeDelta::days(days.into()))
            .filter(is_written);
        let (event, subject) = (event_by(caller, now, AuditAction::Disconnect), new.numbers);
        let aging = Exclusion {
            row: RowRef {
                id: new_id(now),
                version: 1,
            },
            numbers: new.numbers.range(),
            reason: Reason::Aging,
            window: Window::new(at, Some(aging_until.ok_or(ChangeError::TooLate(at))?))?,
            belief: RecordedPeriod {
                recorded_at: now,
                superseded_at: None,
            },
        };
        let recorded = event.clone();
        let work = move |tx: &mut Tx<'_>| {
            let (done, ended_delegations) = disconnect(tx, &event, &aging, now)?;
            let loss = super::exclude::loss_of(&aging, now);
            let withdrawn = withdraw_for(tx, &loss, now)?;
            let ids = |rows: &[Delegation]| rows.iter().map(|d| d.row.id).collect::<Vec<_>>();
            let detail = json!({
                "numbers": aging.numbers, "class": new.class,
                "valid_from": aging.window.from(), "valid_until": aging.window.until(),
                "ended_delegations": ids(&done.ended_delegations),
                "returned_allocations": done.returned_allocations.iter().map(|a| a.row.id).collect::<Vec<_>>(),
                "withdrawn": withdrawn,
            });
            tx.record(&event.done(&aging.row.id, detail))?;
            Ok(Withdrawing {
                row: done,
                outstanding_grants: outstanding(tx, &Visibility::Everything, &loss)?,
                ended_delegations,
            })
        };
        self.change_by(by, recorded, subject, work).await
    }
}

fn disconnect(
    tx: &mut Tx<'_>,
    event: &Event,
    aging: &Exclusion,
    now: Time,
) -> Result<(Disconnected, EndedDelegations), ChangeError> {
    let (at, numbers) = (aging.window.from(), aging.numbers);
    let aging_until = aging.window.until().unwrap_or(at);
    let not_held = not_held(tx, numbers, at, now)?;
    let from_then_on = Versions::HoldingIn {
        from: at,
        until: None,
    };
    let mut delegations = tx.delegations_touching(&[numbers], from_then_on, MAX_WITH_ENDED + 1)?;
    let all_are_known = delegations.len() <= MAX_WITH_ENDED;
    let left = KnownDepartures::all_touching(tx, &[numbers])?;
    delegations.retain(|row| left.leave_any(row, numbers, Window::open(at)));
    let allocations = tx.allocations_touching(&[numbers], from_then_on, MAX_ROWS + 1)?;
    if delegations.len().max(allocations.len()) > MAX_ROWS || !all_are_known {
        return Err(ChangeError::TooFragmented { limit: MAX_ROWS });
    }

    let lies_within =
        |row: &dyn InventoryRow| row.numbers().intersection(numbers) == Some(row.numbers());
    let holds_block = |row: &Delegation| row.lend_on && row.cut_from.is_none();
    let (to_end, kept_delegations): (Vec<_>, Vec<_>) = delegations
        .into_iter()
        .partition(|row| lies_within(row) && !holds_block(row));
    let mut leaving: Vec<Leaving> = super::exclude::leaving(aging, now).into_iter().collect();
    let mut row_changes = vec![RowChange::added(aging)];
    let mut returned_allocations = Vec::new();
    for allocation in allocations {
        if allocation.basis == Basis::PortedIn && lies_within(&allocation) {
            let (returned, changed) = ended(&allocation, aging_until, now);
            if changed {
                tx.supersede_allocation(allocation.row.id, now, still_held(&returned))?;
                row_changes.push(RowChange::ended(&allocation, still_held(&returned)));
                leaving.push(Leaving {
                    kind: DepartureKind::Returned,
                    cause: allocation.row.id,
                    numbers: allocation.numbers,
                    at: aging_until,
                });
            }
            returned_allocations.push(returned);
        }
    }
    // Recorded first, so that the answer also names the delegations that end below.
    let all_ended = departures::record(tx, &leaving, now)?;
    let returned = returned_allocations.iter().map(|row| row.numbers);
    reconcile(tx, event, &returned.collect::<Vec<_>>(), now)?;
    let ends_below = |row: &Delegation| lies_within(row) && !row.lend_on;
    departures::record_ends(tx, event, &all_ended, |row| !ends_below(row))?;
    let mut ended_delegations = Vec::with_capacity(to_end.len());
    for delegation in to_end {
        let (shown, changed) = ended(&delegation, at, now);
        // What a reseller may delegate further ends by the departure, with all that is cut from it.
        if changed && !delegation.lend_on {
            tx.supersede_delegation(delegation.row.id, now, still_held(&shown))?;
            let change = RowChange::ended(&delegation, still_held(&shown));
            record_end(tx, event, &shown, at, &[change])?;
            row_changes.push(change);
        }
        ended_delegations.push(shown);
    }
    tx.insert_exclusions(std::slice::from_ref(aging))?;
    // A disconnect has no row of its own: its aging exclusion stands for it.
    tx.insert_row_changes(aging.row.id, &row_changes)?;
    let done = Disconnected {
        aging: aging.clone(),
        ended_delegations,
        kept_delegations,
        returned_allocations,
        not_held,
    };
    Ok((done, all_ended))
}

/// Those of the numbers that the carrier does not hold at an instant, but has once held.
///
/// # Errors
/// [`ChangeError::NotHeld`] if it has never held some of the others.
fn not_held(
    tx: &mut Tx<'_>,
    numbers: NumberRange,
    at: Time,
    now: Time,
) -> Result<Vec<NumberRange>, ChangeError> {
    let missing = match super::delegate::must_be_held(tx, numbers, at) {
        Ok(()) => return Ok(Vec::new()),
        Err(ChangeError::NotHeld(missing)) => missing,
        Err(other) => return Err(other),
    };
    let Some(once_held) = once_held(tx, &missing, now)? else {
        return Ok(missing);
    };
    let never = missing.iter();
    let never = never.flat_map(|missing| gaps(*missing, once_held.iter().copied()));
    let never: Vec<NumberRange> = never.collect();
    if never.is_empty() {
        Ok(missing)
    } else {
        Err(ChangeError::NotHeld(never))
    }
}
