//! Allocations: the numbers that the carrier holds.

use serde_json::json;
use uuid::Uuid;

use super::acquisition::{acquired, reconcile};
use super::audited::event_by;
use super::departures::{self, EndedDelegations, Leaving};
use super::scope::Visibility;
use super::withdraw::{Withdrawing, outstanding, withdraw_for};
use super::{Action, Authority, ChangeError, ChangeRequester, undo};
use crate::domain::clock::Time;
use crate::domain::inventory::departure::DepartureKind;
use crate::domain::inventory::withdrawal::{ALLOCATION_RETURNED, AuthorityEnd, EndingRow};
use crate::domain::inventory::{Allocation, Basis, RecordedPeriod, RowRef};
use crate::domain::{AuditAction, InventoryRange, NumberRange, Spc, new_id};
use crate::store::{Tx, Versions};

/// Numbers that the carrier declares to hold.
#[derive(Debug, Clone)]
pub struct NewAllocation {
    pub spc: Spc,
    pub numbers: InventoryRange,
    pub basis: Basis,
    /// Defaults to now.
    pub valid_from: Option<Time>,
    pub valid_until: Option<Time>,
}

impl Authority {
    /// Records that the carrier holds numbers.
    ///
    /// # Errors
    /// If the code is not the carrier's, another allocation has some of the numbers at the same
    /// time, or it fills a gap for which they have been delegated anew.
    pub async fn allocate(
        &self,
        by: impl Into<ChangeRequester<'_, Allocation>>,
        new: NewAllocation,
    ) -> Result<Allocation, ChangeError> {
        let by = by.into();
        let caller = by.caller();
        self.require(caller, Action::Provision)?;
        self.must_hold(&new.spc)?;
        let now = self.clock.now();
        let (event, subject) = (event_by(caller, now, AuditAction::Allocate), new.numbers);
        let allocation = Allocation {
            row: RowRef {
                id: new_id(now),
                version: 1,
            },
            spc: new.spc,
            numbers: new.numbers.range(),
            basis: new.basis,
            window: super::window(new.valid_from, new.valid_until, now)?,
            belief: RecordedPeriod {
                recorded_at: now,
                superseded_at: None,
            },
        };
        let recorded = event.clone();
        let work = move |tx: &mut Tx<'_>| {
            must_be_free(tx, std::slice::from_ref(&allocation))?;
            tx.insert_allocations(std::slice::from_ref(&allocation))?;
            let acquired = acquired(tx, std::slice::from_ref(&allocation), &[], now)?;
            let ended = departures::record(tx, &acquired, now)?;
            departures::record_ends(tx, &event, &ended, |_| true)?;
            reconcile(tx, &event, &[allocation.numbers], now)?;
            let detail = json!({
                "numbers": allocation.numbers, "spc": allocation.spc, "basis": allocation.basis,
                "valid_from": allocation.window.from(), "valid_until": allocation.window.until(),
            });
            tx.record(&event.done(&allocation.row.id, detail))?;
            Ok(allocation.clone())
        };
        self.change_by(by, recorded, subject, work).await
    }

    /// Ends an allocation, now or at a later instant. Returns the grants whose tokens can be
    /// redeemed after that.
    pub async fn return_allocation(
        &self,
        by: impl Into<ChangeRequester<'_, Withdrawing<Allocation>>>,
        id: Uuid,
        at: Option<Time>,
    ) -> Result<Withdrawing<Allocation>, ChangeError> {
        let by = by.into();
        let caller = by.caller();
        self.require(caller, Action::Provision)?;
        let now = self.clock.now();
        let end = at.unwrap_or(now);
        let event = event_by(caller, now, AuditAction::Return);
        let recorded = event.clone();
        let work = move |tx: &mut Tx<'_>| {
            let known = tx
                .allocation(id)?
                .ok_or(ChangeError::NotFound("allocation"))?;
            let (mut ended, changed) = super::withdraw::ended(&known, end, now);
            let why = AuthorityEnd {
                at: end,
                reason: ALLOCATION_RETURNED.to_owned(),
                cause: Some(EndingRow::Allocation(id)),
            };
            let loss = super::withdraw::loss_of(&known, None, (end, now), why);
            let mut ended_delegations = EndedDelegations::default();
            if changed {
                tx.supersede_allocation(id, now, super::withdraw::still_held(&ended))?;
                // A planned return that is moved counts when it takes place.
                departures::call_off_return(tx, &[id], now)?;
                let leaving = Leaving {
                    kind: DepartureKind::Returned,
                    cause: id,
                    numbers: known.numbers,
                    at: loss.ended.at,
                };
                ended_delegations = departures::record(tx, &[leaving], now)?;
                departures::record_ends(tx, &event, &ended_delegations, |_| true)?;
                reconcile(tx, &event, &[known.numbers], now)?;
                let withdrawn = withdraw_for(tx, &loss, now)?;
                tx.record(&event.done(&id, json!({ "at": end, "withdrawn": withdrawn })))?;
            } else {
                let versions = tx.allocation_versions(&[id])?;
                if let Some(next) = undo::ended_anyway(tx, &versions, now)? {
                    tx.supersede_allocation(id, now, Some(&next))?;
                    tx.record(&event.done(&id, json!({ "at": end, "withdrawn": 0 })))?;
                    ended = next;
                }
            }
            let outstanding_grants = outstanding(tx, &Visibility::Everything, &loss)?;
            Ok(Withdrawing {
                row: ended,
                outstanding_grants,
                ended_delegations,
            })
        };
        self.change_by(by, recorded, id, work).await
    }

    /// Refuses a service provider code that is not the carrier's.
    pub(super) fn must_hold(&self, spc: &Spc) -> Result<(), ChangeError> {
        if self.carrier.spcs.is_empty() || self.carrier.spcs.contains(spc) {
            Ok(())
        } else {
            Err(ChangeError::SpcNotHeld(spc.clone()))
        }
    }
}

/// Refuses allocations that overlap each other or existing ones at any instant. All of `new` must
/// have the same window.
pub(super) fn must_be_free(tx: &mut Tx<'_>, new: &[Allocation]) -> Result<(), ChangeError> {
    let Some(first) = new.first() else {
        return Ok(());
    };
    let mut numbers: Vec<NumberRange> = new.iter().map(|allocation| allocation.numbers).collect();
    numbers.sort_unstable();
    if let Some(twice) = numbers
        .windows(2)
        .find_map(|pair| pair[0].intersection(pair[1]))
    {
        return Err(ChangeError::Twice(twice));
    }
    let versions = Versions::HoldingIn {
        from: first.window.from(),
        until: first.window.until(),
    };
    match tx.allocations_touching(&numbers, versions, 1)?.pop() {
        None => Ok(()),
        Some(other) => Err(ChangeError::Overlap {
            numbers: other.numbers,
            kind: "allocation",
            id: other.row.id,
        }),
    }
}
