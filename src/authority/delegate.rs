//! Delegations: numbers are delegated to an account, which can delegate them further to its own
//! customers. Ending a delegation ends all that are cut from it.

use serde_json::json;
use uuid::Uuid;

use super::audited::event_by;
use super::departures::{EndedDelegations, KnownDepartures, MAX_WITH_ENDED};
use super::scope::Visibility;
use super::withdraw::{Withdrawing, ended, loss_of, outstanding, still_held, withdraw_for};
use super::{Action, Authority, ChangeError, ChangeRequester, undo};
use crate::domain::accounts::account::Account;
use crate::domain::clock::{Time, from_unix};
use crate::domain::decision::MAX_ROWS;
use crate::domain::inventory::row_change::RowChange;
use crate::domain::inventory::withdrawal::{AuthorityEnd, DELEGATION_ENDED, EndingRow};
use crate::domain::inventory::{CutFrom, Delegation, RecordedPeriod, RowRef};
use crate::domain::numbers::range_set::gaps;
use crate::domain::{AccountId, AuditAction, Event, InventoryRange, NumberRange, Window, new_id};
use crate::store::{StoreError, Tx, Versions};

/// The most delegations, current and future, with the same parent that can overlap a new one.
const MAX_SIBLINGS: usize = 1_000;

/// Numbers that the carrier, or a reseller, delegates to an account.
#[derive(Debug, Clone)]
pub struct NewDelegation {
    pub account: AccountId,
    pub numbers: InventoryRange,
    /// Whether tokens for CA certificates are allowed (RFC 9447 §4).
    pub ca: bool,
    /// The reseller's delegation that this one is cut from. `None`: the carrier delegates, or, if a
    /// reseller calls, its matching delegation is found.
    pub parent: Option<Uuid>,
    /// Whether the account can delegate the numbers further, to its own customers.
    pub lend_on: bool,
    /// Whether the delegating reseller can still get tokens for the numbers itself.
    pub lender_keeps: bool,
    /// Defaults to now.
    pub valid_from: Option<Time>,
    /// Defaults to the end of the parent delegation.
    pub valid_until: Option<Time>,
    /// The carrier's order or contract number.
    pub reference: Option<String>,
}

impl Authority {
    /// Delegates numbers to an account.
    ///
    /// # Errors
    /// If there is no such account, the carrier or the reseller does not hold the numbers when the
    /// delegation starts, or some of them are already delegated at the same time.
    pub async fn delegate(
        &self,
        by: impl Into<ChangeRequester<'_, Delegation>>,
        new: NewDelegation,
    ) -> Result<Delegation, ChangeError> {
        let by = by.into();
        let caller = by.caller();
        self.require(caller, Action::Manage)?;
        let (now, scope) = (self.clock.now(), Visibility::of(caller));
        let event = event_by(caller, now, AuditAction::Delegate).about(&new.account);
        let subject = new.account.clone();
        let id = new_id(now);
        let recorded = event.clone();
        let work = move |tx: &mut Tx<'_>| {
            let delegation = record_delegation(tx, &scope, &new, id, now)?;
            let detail = json!({
                "account": delegation.account, "numbers": delegation.numbers, "ca": delegation.ca,
                "lend_on": delegation.lend_on,
                "parent": delegation.cut_from.as_ref().map(|from| from.parent),
                "lender_keeps": delegation.cut_from.as_ref().map(|from| from.lender_keeps),
                "reference": delegation.reference,
                "valid_from": delegation.window.from(), "valid_until": delegation.window.until(),
            });
            tx.record(&event.done(&delegation.row.id, detail))?;
            Ok(delegation)
        };
        self.change_by(by, recorded, subject, work).await
    }

    /// Ends a delegation and all that are cut from it, now or at a later instant. Returns the
    /// grants whose tokens can be redeemed after that.
    pub async fn end_delegation(
        &self,
        by: impl Into<ChangeRequester<'_, Withdrawing<Delegation>>>,
        id: Uuid,
        at: Option<Time>,
    ) -> Result<Withdrawing<Delegation>, ChangeError> {
        let by = by.into();
        let caller = by.caller();
        self.require(caller, Action::Manage)?;
        let (now, scope) = (self.clock.now(), Visibility::of(caller));
        let end = at.unwrap_or(now);
        let event = event_by(caller, now, AuditAction::EndDelegation);
        let recorded = event.clone();
        let work = move |tx: &mut Tx<'_>| {
            let not_found = ChangeError::NotFound("delegation");
            let known = tx.delegation(id)?.ok_or_else(|| not_found.clone())?;
            let account = scope.account(tx, &known.account)?.ok_or(not_found)?;
            // A reseller can see its own delegations, but only the delegator can end them.
            scope.must_be_above(&account)?;
            scope.must_be_in_good_standing(tx)?;
            let (mut row, mut changes) = end_with_all_below(tx, &event, &known, end, now)?;
            let why = AuthorityEnd {
                at: end,
                reason: DELEGATION_ENDED.to_owned(),
                cause: Some(EndingRow::Delegation(id)),
            };
            let loss = loss_of(&known, Some(&account), (end, now), why);
            if changes.is_none() {
                let versions = tx.delegation_versions(&[id])?;
                if let Some(next) = undo::ended_anyway(tx, &versions, now)? {
                    tx.supersede_delegation(id, now, Some(&next))?;
                    changes = Some(vec![RowChange::ended(&known, Some(&next))]);
                    row = next;
                }
            }
            if let Some(below) = changes.map(|changes| changes.len() - 1) {
                let withdrawn = withdraw_for(tx, &loss, now)?;
                let event = event.about(&row.account);
                let detail = json!({ "at": end, "ended_below": below, "withdrawn": withdrawn });
                tx.record(&event.done(&id, detail))?;
            }
            let outstanding_grants = outstanding(tx, &scope, &loss)?;
            Ok(Withdrawing {
                row,
                outstanding_grants,
                ended_delegations: EndedDelegations::default(),
            })
        };
        self.change_by(by, recorded, id, work).await
    }
}

/// Checks and writes a delegation, in the caller's transaction.
fn record_delegation(
    tx: &mut Tx<'_>,
    scope: &Visibility,
    new: &NewDelegation,
    id: Uuid,
    now: Time,
) -> Result<Delegation, ChangeError> {
    let account = scope.must_manage(tx, &new.account)?;
    let window = super::window(new.valid_from, new.valid_until, now)?;
    let parent = match (new.parent, scope) {
        (Some(parent), _) => Some(named_parent(tx, scope, &account, parent)?),
        (None, Visibility::Everything) => None,
        (None, Visibility::AccountSubset(_)) => Some(find_parent(tx, &account, new, window, now)?),
    };
    let delegation = Delegation {
        row: RowRef { id, version: 1 },
        account: account.id,
        numbers: new.numbers.range(),
        ca: new.ca,
        lend_on: new.lend_on,
        reference: new.reference.clone(),
        window: match &parent {
            Some(parent) if new.valid_until.is_none() => {
                Window::new(window.from(), parent.window.until())?
            }
            Some(_) | None => window,
        },
        cut_from: parent.as_ref().map(|parent| CutFrom {
            parent: parent.row.id,
            lender: parent.account.clone(),
            lender_keeps: new.lender_keeps,
        }),
        belief: RecordedPeriod {
            recorded_at: now,
            superseded_at: None,
        },
        sequence: tx.next_change()?,
        made_at: now,
    };
    if let Some(parent) = &parent {
        must_be_within_parent(&delegation, parent)?;
        let left = KnownDepartures::all_touching(tx, &[delegation.numbers])?;
        let start = delegation.window.from().max(now);
        let missing = left.missing(parent, delegation.numbers, start);
        if !missing.is_empty() {
            return Err(ChangeError::NotTheLenders(missing));
        }
    }
    must_be_held(tx, delegation.numbers, delegation.window.from().max(now))?;
    must_not_overlap_siblings(tx, &delegation, now)?;
    tx.insert_delegations(std::slice::from_ref(&delegation))?;
    Ok(delegation)
}

/// Records the end of a delegation, and how many below it ended, in the audit trail of its account.
/// `changes` are those of [`end_with_all_below`].
pub(super) fn record_end(
    tx: &mut Tx<'_>,
    event: &Event,
    delegation: &Delegation,
    at: Time,
    changes: &[RowChange],
) -> Result<(), StoreError> {
    let event = event
        .of(AuditAction::EndDelegation)
        .about(&delegation.account);
    let detail = json!({ "at": at, "ended_below": changes.len().saturating_sub(1) });
    tx.record(&event.done(&delegation.row.id, detail))
}

/// Ends a delegation, and all below it, at the same instant; records each end below it. Returns the
/// new version and, if anything changed, what did: the delegation itself, then those below it.
pub(super) fn end_with_all_below(
    tx: &mut Tx<'_>,
    event: &Event,
    known: &Delegation,
    end: Time,
    now: Time,
) -> Result<(Delegation, Option<Vec<RowChange>>), ChangeError> {
    let (row, changed) = ended(known, end, now);
    if !changed {
        return Ok((row, None));
    }
    tx.supersede_delegation(known.row.id, now, still_held(&row))?;
    let mut row_changes = vec![RowChange::ended(known, still_held(&row))];
    row_changes.extend(end_all_below(tx, event, known, end, now)?);
    Ok((row, Some(row_changes)))
}

/// Ends all delegations below this one, level by level. Returns what changed.
pub(super) fn end_all_below(
    tx: &mut Tx<'_>,
    event: &Event,
    delegation: &Delegation,
    end: Time,
    now: Time,
) -> Result<Vec<RowChange>, StoreError> {
    if !delegation.lend_on {
        return Ok(Vec::new());
    }
    let (mut row_changes, mut written) = (Vec::new(), Vec::new());
    let mut level = tx.delegations_cut_from(&[delegation.row.id])?;
    while !level.is_empty() {
        let parents: Vec<Uuid> = level.iter().map(|below| below.row.id).collect();
        for known in level {
            let (below, changed) = ended(&known, end, now);
            if changed {
                let event = event.of(AuditAction::EndDelegation).about(&below.account);
                tx.record(&event.done(
                    &below.row.id,
                    json!({ "at": end, "with": delegation.row.id }),
                ))?;
                row_changes.push(RowChange::ended(&known, still_held(&below)));
                written.extend(still_held(&below).cloned());
            }
        }
        level = tx.delegations_cut_from(&parents)?;
    }
    let superseded: Vec<Uuid> = row_changes.iter().map(|change| change.row).collect();
    tx.replace_delegations(&superseded, &written, now)?;
    Ok(row_changes)
}

/// The parent delegation that the request names. It must belong to the account's own reseller.
fn named_parent(
    tx: &mut Tx<'_>,
    scope: &Visibility,
    account: &Account,
    parent: Uuid,
) -> Result<Delegation, ChangeError> {
    let not_found = ChangeError::NotFound("delegation");
    let parent = tx.delegation(parent)?.ok_or_else(|| not_found.clone())?;
    scope.account(tx, &parent.account)?.ok_or(not_found)?;
    if account.parent() != Some(&parent.account) {
        return Err(ChangeError::NotACustomer {
            account: account.id.clone(),
            lender: parent.account,
        });
    }
    Ok(parent)
}

/// A delegation of the account's own reseller that allows further delegation and covers all of the
/// numbers when the new one starts.
fn find_parent(
    tx: &mut Tx<'_>,
    account: &Account,
    new: &NewDelegation,
    window: Window,
    now: Time,
) -> Result<Delegation, ChangeError> {
    let numbers = new.numbers.range();
    let not_held = || ChangeError::NotTheLenders(vec![numbers]);
    let lender = account.parent().ok_or_else(not_held)?;
    let instant = at_instant(window.from());
    let found = tx.delegations_touching(&[numbers], instant, MAX_WITH_ENDED)?;
    let left = KnownDepartures::all_touching(tx, &[numbers])?;
    let start = window.from().max(now);
    found
        .into_iter()
        .filter(|row| row.account == *lender && row.lend_on)
        .filter(|row| row.numbers.intersection(numbers) == Some(numbers))
        // What left cannot be delegated further, until it is delegated to the reseller anew.
        .find(|row| left.missing(row, numbers, start).is_empty())
        .ok_or_else(not_held)
}

/// A delegation stays within its parent, in numbers, time and rights (RFC 9060 §4: encompassed).
fn must_be_within_parent(new: &Delegation, parent: &Delegation) -> Result<(), ChangeError> {
    if parent.belief.superseded_at.is_some() || !parent.lend_on {
        return Err(ChangeError::NotToBeLentOn(parent.row.id));
    }
    let missing = gaps(new.numbers, [parent.numbers]);
    if !missing.is_empty() {
        return Err(ChangeError::NotTheLenders(missing));
    }
    if !parent.window.encloses(new.window) {
        return Err(ChangeError::OutsideTheLenders(parent.window));
    }
    if new.ca && !parent.ca {
        return Err(ChangeError::CaNotLent);
    }
    Ok(())
}

/// The carrier must hold all numbers when the delegation starts. Whether it still holds them later
/// is checked at each mint.
pub(super) fn must_be_held(
    tx: &mut Tx<'_>,
    numbers: NumberRange,
    at: Time,
) -> Result<(), ChangeError> {
    let allocations = tx.allocations_touching(&[numbers], at_instant(at), MAX_ROWS + 1)?;
    if allocations.len() > MAX_ROWS {
        return Err(ChangeError::TooFragmented { limit: MAX_ROWS });
    }
    let missing = gaps(
        numbers,
        allocations.iter().map(|allocation| allocation.numbers),
    );
    if missing.is_empty() {
        Ok(())
    } else {
        Err(ChangeError::NotHeld(missing))
    }
}

/// Siblings, which are the delegations with the same parent or those of the carrier itself, never
/// overlap at one instant.
fn must_not_overlap_siblings(
    tx: &mut Tx<'_>,
    new: &Delegation,
    now: Time,
) -> Result<(), ChangeError> {
    let versions = Versions::HoldingIn {
        from: new.window.from().min(now),
        until: None,
    };
    let siblings = tx.delegations_beside(new, versions, MAX_WITH_ENDED + 1)?;
    if siblings.is_empty() {
        return Ok(());
    }
    if siblings.len() > MAX_WITH_ENDED {
        let limit = MAX_WITH_ENDED;
        return Err(ChangeError::TooFragmented { limit });
    }
    // Those that ended because their numbers left do not count.
    let left = KnownDepartures::all_touching(tx, &[new.numbers])?;
    let current_and_future = Window::open(now);
    let counts = |row: &&Delegation| left.leave_any(row, new.numbers, current_and_future);
    // Without this limit, delegating one number to many accounts in turn would make every decision
    // on that number read too many rows.
    if siblings.iter().filter(counts).count() >= MAX_SIBLINGS {
        return Err(ChangeError::TooFragmented {
            limit: MAX_SIBLINGS,
        });
    }
    let mut siblings = siblings.into_iter();
    match siblings.find(|row| left.leave_any(row, new.numbers, new.window)) {
        None => Ok(()),
        Some(other) => Err(ChangeError::Overlap {
            numbers: other.numbers,
            kind: "delegation",
            id: other.row.id,
        }),
    }
}

fn at_instant(instant: Time) -> Versions {
    Versions::HoldingIn {
        from: instant,
        until: Some(from_unix(instant.timestamp().saturating_add(1))),
    }
}
