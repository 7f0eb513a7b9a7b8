//! Exclusions: numbers lose their authority for a time, for example while they are ported out.

use std::collections::HashSet;

use serde_json::json;
use uuid::Uuid;

use super::audited::event_by;
use super::departures::{self, Leaving};
use super::met::{Excluded, must_meet};
use super::scope::Visibility;
use super::withdraw::{Withdrawing, outstanding, withdraw_for};
use super::{
    Action, Authority, ChangeError, ChangeRequester, Restored, RestoredDelegations, StillBlocked,
    undo,
};
use crate::domain::clock::Time;
use crate::domain::inventory::departure::DepartureKind;
use crate::domain::inventory::withdrawal::{AuthorityEnd, EndingRow};
use crate::domain::inventory::{Exclusion, Reason, RecordedPeriod, RowRef};
use crate::domain::{AuditAction, InventoryRange, new_id};
use crate::store::{Loss, Tx};

/// Numbers that must not be in a token for a time.
#[derive(Debug, Clone)]
pub struct NewExclusion {
    pub numbers: InventoryRange,
    pub reason: Reason,
    /// Defaults to now; a port is often known in advance.
    pub valid_from: Option<Time>,
    pub valid_until: Option<Time>,
    /// Exclude the numbers although the carrier holds none of them.
    pub force: bool,
}

impl Authority {
    /// Excludes numbers: no token minted from now on is valid within the window. If they are ported
    /// out or age, their delegations end. Returns the earlier grants whose tokens can still be
    /// redeemed in it, and these delegations.
    ///
    /// # Errors
    /// If the window is invalid or has ended, or the carrier holds none of the numbers in it.
    pub async fn exclude(
        &self,
        by: impl Into<ChangeRequester<'_, Withdrawing<Excluded>>>,
        new: NewExclusion,
    ) -> Result<Withdrawing<Excluded>, ChangeError> {
        let by = by.into();
        let caller = by.caller();
        self.require(caller, Action::Provision)?;
        let now = self.clock.now();
        let (event, subject) = (event_by(caller, now, AuditAction::Exclude), new.numbers);
        let exclusion = Exclusion {
            row: RowRef {
                id: new_id(now),
                version: 1,
            },
            numbers: new.numbers.range(),
            reason: new.reason,
            window: super::window(new.valid_from, new.valid_until, now)?,
            belief: RecordedPeriod {
                recorded_at: now,
                superseded_at: None,
            },
        };
        let recorded = event.clone();
        let work = move |tx: &mut Tx<'_>| {
            let met = must_meet(tx, &exclusion, new.force, now)?;
            tx.insert_exclusions(std::slice::from_ref(&exclusion))?;
            let loss = loss_of(&exclusion, now);
            let withdrawn = withdraw_for(tx, &loss, now)?;
            let leaving = leaving(&exclusion, now);
            let ended_delegations = departures::record(tx, leaving.as_slice(), now)?;
            departures::record_ends(tx, &event, &ended_delegations, |_| true)?;
            let detail = json!({
                "numbers": exclusion.numbers, "reason": exclusion.reason,
                "valid_from": exclusion.window.from(), "valid_until": exclusion.window.until(),
                "withdrawn": withdrawn, "met": &met.ranges, "force": new.force,
            });
            tx.record(&event.done(&exclusion.row.id, detail))?;
            let outstanding_grants = outstanding(tx, &Visibility::Everything, &loss)?;
            Ok(Withdrawing {
                row: Excluded {
                    exclusion: exclusion.clone(),
                    met,
                },
                outstanding_grants,
                ended_delegations,
            })
        };
        self.change_by(by, recorded, subject, work).await
    }

    /// Ends an exclusion, now or at a later instant. Returns the other exclusions of the numbers
    /// too. Withdrawn grants stay withdrawn, even if the exclusion is cancelled before it starts:
    /// subscribers may have been notified already, and a new token takes one request. Delegations
    /// that ended when the numbers left stay ended; one that is called off before it starts ends
    /// none.
    ///
    /// # Errors
    /// If there is none, or if it is called off and a delegation that then does not end would
    /// overlap one that was made since.
    pub async fn end_exclusion(
        &self,
        by: impl Into<ChangeRequester<'_, Restored<Exclusion>>>,
        id: Uuid,
        at: Option<Time>,
    ) -> Result<Restored<Exclusion>, ChangeError> {
        let by = by.into();
        let caller = by.caller();
        self.require(caller, Action::Provision)?;
        let now = self.clock.now();
        let end = at.unwrap_or(now);
        let event = event_by(caller, now, AuditAction::EndExclusion);
        let recorded = event.clone();
        let work = move |tx: &mut Tx<'_>| {
            let known = tx
                .exclusion(id)?
                .ok_or(ChangeError::NotFound("exclusion"))?;
            let (ended, changed) = super::withdraw::ended(&known, end, now);
            if changed {
                tx.supersede_exclusion(id, now, super::withdraw::still_held(&ended))?;
                if is_called_off(&known, &ended, now) {
                    let departures = tx.departures_of(&[id])?;
                    undo::must_not_conflict(tx, &departures, now)?;
                    tx.supersede_departures_of(&[id], now)?;
                }
                tx.record(&event.done(&id, json!({ "at": end })))?;
                return with_others(tx, ended, now);
            }
            let versions = tx.exclusion_versions(&[id])?;
            let Some(next) = undo::ended_anyway(tx, &versions, now)? else {
                return with_others(tx, ended, now);
            };
            tx.supersede_exclusion(id, now, Some(&next))?;
            tx.record(&event.done(&id, json!({ "at": end })))?;
            with_others(tx, next, now)
        };
        self.change_by(by, recorded, id, work).await
    }
}

/// An exclusion that was ended, and the others of its numbers.
fn with_others(
    tx: &mut Tx<'_>,
    row: Exclusion,
    now: Time,
) -> Result<Restored<Exclusion>, ChangeError> {
    let but_for = HashSet::from([row.row.id]);
    let (exclusions, more_exclusions) = undo::exclusions_of(tx, &[row.numbers], &but_for, now)?;
    Ok(Restored {
        row,
        delegations: RestoredDelegations::default(),
        blocked: StillBlocked {
            exclusions,
            more_exclusions,
            ..StillBlocked::default()
        },
    })
}

/// The numbers that leave with an exclusion, if its reason is one for which they do.
pub(super) fn leaving(exclusion: &Exclusion, now: Time) -> Option<Leaving> {
    Some(Leaving {
        kind: DepartureKind::of(exclusion.reason)?,
        cause: exclusion.row.id,
        numbers: exclusion.numbers,
        at: exclusion.window.from().max(now),
    })
}

/// Whether ending an exclusion called it off: it never came into force, so no number left.
fn is_called_off(known: &Exclusion, ended: &Exclusion, now: Time) -> bool {
    known.window.from() > now && ended.belief.superseded_at.is_some()
}

/// The authority that is lost when numbers are excluded.
pub(super) fn loss_of(exclusion: &Exclusion, now: Time) -> Loss {
    Loss {
        of: None,
        numbers: Some(exclusion.numbers),
        ended: AuthorityEnd {
            at: exclusion.window.from().max(now),
            reason: exclusion.reason.as_str().to_owned(),
            cause: Some(EndingRow::Exclusion(exclusion.row.id)),
        },
    }
}
