//! Delegations: numbers are lent to an account, lent on to customers of resellers, and taken back with all that hangs below.

use serde_json::json;
use uuid::Uuid;

use super::audited::event_by;
use super::scope::Visibility;
use super::withdraw::{Withdrawing, ended, loss_of, outstanding, still_held, withdraw_for};
use super::{Action, Authority, ChangeError, ChangeRequester};
use crate::domain::accounts::account::Account;
use crate::domain::clock::{Time, from_unix};
use crate::domain::decision::MAX_ROWS;
use crate::domain::inventory::withdrawal::{AuthorityEnd, DELEGATION_ENDED, EndingRow};
use crate::domain::inventory::{CutFrom, Delegation, RecordedPeriod, RowRef};
use crate::domain::numbers::range_set::gaps;
use crate::domain::{AccountId, Event, NumberRange, Window, new_id};
use crate::store::{StoreError, Tx, Versions};

/// How many loans of one lender, now and to come, may touch the numbers of a new one.
const MAX_BESIDE: usize = 1_000;

/// Numbers that the carrier lends, or that a reseller lends on.
#[derive(Debug, Clone)]
pub struct NewDelegation {
    pub account: AccountId,
    pub numbers: NumberRange,
    /// Whether tokens for CA certificates are allowed (RFC 9447 §4).
    pub ca: bool,
    /// The delegation of the reseller that the numbers are cut from. A reseller need not name it: what it was lent is
    /// found. Without one, the carrier itself lends.
    pub parent: Option<Uuid>,
    /// Whether the account may lend the numbers on to customers of its own.
    pub lend_on: bool,
    /// Whether the reseller who lends may still get tokens for the numbers itself.
    pub lender_keeps: bool,
    /// Now, if it is not said.
    pub valid_from: Option<Time>,
    /// That of what it is cut from, if it is not said.
    pub valid_until: Option<Time>,
    /// The carrier's own order or contract.
    pub reference: Option<String>,
}

impl Authority {
    /// Lends numbers to an account.
    ///
    /// # Errors
    /// [`Refused`] if there is no such account, the numbers are not the carrier's or the reseller's to lend when the loan
    /// starts, or some of them are lent already at the same time.
    pub async fn delegate(
        &self,
        by: impl Into<ChangeRequester<'_, Delegation>>,
        new: NewDelegation,
    ) -> Result<Delegation, ChangeError> {
        let by = by.into();
        let caller = by.caller();
        self.require(caller, Action::Manage)?;
        let (now, scope) = (self.clock.now(), Visibility::of(caller));
        let event = event_by(caller, now, "delegate").about(&new.account);
        let subject = new.account.clone();
        let id = new_id(now);
        let recorded = event.clone();
        let work = move |tx: &mut Tx<'_>| {
            let delegation = lend(tx, &scope, &new, id, now)?;
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

    /// Takes numbers back, with all that was lent on of them: now, or at an instant to come. Lists what can be redeemed
    /// beyond.
    ///
    /// # Errors
    /// [`Refused`] if there is no such delegation.
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
        let event = event_by(caller, now, "end-delegation");
        let recorded = event.clone();
        let work = move |tx: &mut Tx<'_>| {
            let not_found = ChangeError::NotFound("delegation");
            let known = tx.delegation(id)?.ok_or_else(|| not_found.clone())?;
            let account = scope.account(tx, &known.account)?.ok_or(not_found)?;
            // What a reseller was lent is its lender's to end, though it may know of it.
            scope.must_be_above(&account)?;
            scope.must_be_in_good_standing(tx)?;
            let (row, below) = end_with_all_below(tx, &event, &known, end, now)?;
            let why = AuthorityEnd {
                at: end,
                reason: DELEGATION_ENDED.to_owned(),
                cause: Some(EndingRow::Delegation(id)),
            };
            let loss = loss_of(&known, Some(&account), (end, now), why);
            if let Some(below) = below {
                let withdrawn = withdraw_for(tx, &loss, now)?;
                let event = event.about(&row.account);
                let detail = json!({ "at": end, "ended_below": below, "withdrawn": withdrawn });
                tx.record(&event.done(&id, detail))?;
            }
            let outstanding_grants = outstanding(tx, &scope, &loss)?;
            Ok(Withdrawing {
                row,
                outstanding_grants,
            })
        };
        self.change_by(by, recorded, id, work).await
    }
}

/// Writes a loan, in a transaction of the caller's.
pub(super) fn lend(
    tx: &mut Tx<'_>,
    scope: &Visibility,
    new: &NewDelegation,
    id: Uuid,
    now: Time,
) -> Result<Delegation, ChangeError> {
    let account = scope.must_manage(tx, &new.account)?;
    let window = super::window(new.valid_from, new.valid_until, now)?;
    let parent = match (new.parent, scope) {
        (Some(parent), _) => Some(named_origin(tx, scope, &account, parent)?),
        (None, Visibility::Everything) => None,
        (None, Visibility::AccountSubset(_)) => Some(origin(tx, &account, new, window)?),
    };
    let delegation = Delegation {
        row: RowRef { id, version: 1 },
        account: account.id,
        numbers: new.numbers,
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
    };
    if let Some(parent) = &parent {
        must_be_cut_from(&delegation, parent)?;
    }
    must_be_held(tx, delegation.numbers, delegation.window.from().max(now))?;
    must_not_be_lent(tx, &delegation, now)?;
    tx.insert_delegations(std::slice::from_ref(&delegation))?;
    Ok(delegation)
}

/// Records that a loan ends, and how many below it do: each account that loses numbers finds it in its own trail.
pub(super) fn record_end(
    tx: &mut Tx<'_>,
    event: &Event,
    loan: &Delegation,
    at: Time,
    below: usize,
) -> Result<(), StoreError> {
    let event = event.of("end-delegation").about(&loan.account);
    let detail = json!({ "at": at, "ended_below": below });
    tx.record(&event.done(&loan.row.id, detail))
}

/// Ends a loan at an instant, and at the same one all that hangs below it, which is recorded. Returns the loan as it is now and, if anything
/// has changed, how many loans below it have.
pub(super) fn end_with_all_below(
    tx: &mut Tx<'_>,
    event: &Event,
    known: &Delegation,
    end: Time,
    now: Time,
) -> Result<(Delegation, Option<usize>), ChangeError> {
    let (row, changed) = ended(known, end, now);
    if !changed {
        return Ok((row, None));
    }
    tx.supersede_delegation(known.row.id, now, still_held(&row))?;
    let below = end_all_below(tx, event, known, end, now)?;
    Ok((row, Some(below)))
}

/// Ends at an instant all that hangs below a loan. Says how many loans that were.
fn end_all_below(
    tx: &mut Tx<'_>,
    event: &Event,
    loan: &Delegation,
    end: Time,
    now: Time,
) -> Result<usize, StoreError> {
    if !loan.lend_on {
        return Ok(0);
    }
    let (mut superseded, mut written) = (Vec::new(), Vec::new());
    let mut level = tx.delegations_cut_from(&[loan.row.id])?;
    while !level.is_empty() {
        let parents: Vec<Uuid> = level.iter().map(|below| below.row.id).collect();
        for below in level {
            let (below, changed) = ended(&below, end, now);
            if changed {
                let event = event.of("end-delegation").about(&below.account);
                tx.record(&event.done(&below.row.id, json!({ "at": end, "with": loan.row.id })))?;
                superseded.push(below.row.id);
                written.extend(still_held(&below).cloned());
            }
        }
        level = tx.delegations_cut_from(&parents)?;
    }
    tx.supersede_delegations(&superseded, now)?;
    tx.insert_delegations(&written)?;
    Ok(superseded.len())
}

/// The loan that a request names as the one to cut from: of the account's own reseller, who may lend it on.
fn named_origin(
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

/// The loan of the account's own reseller that holds all of the numbers when the new one starts.
fn origin(
    tx: &mut Tx<'_>,
    account: &Account,
    new: &NewDelegation,
    window: Window,
) -> Result<Delegation, ChangeError> {
    let not_held = || ChangeError::NotTheLenders(vec![new.numbers]);
    let lender = account.parent().ok_or_else(not_held)?;
    let instant = at_once(window.from());
    let found = tx.delegations_touching(&[new.numbers], instant, MAX_ROWS)?;
    found
        .into_iter()
        .filter(|row| row.account == *lender && row.lend_on)
        .find(|row| row.numbers.intersection(new.numbers) == Some(new.numbers))
        .ok_or_else(not_held)
}

/// What is lent on is a part of what was lent, in numbers, in time and in rights (RFC 9060 §4: encompassed).
fn must_be_cut_from(new: &Delegation, parent: &Delegation) -> Result<(), ChangeError> {
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

/// The carrier lends only what it holds when the loan starts. That it also holds it later is asked at each mint.
pub(super) fn must_be_held(
    tx: &mut Tx<'_>,
    numbers: NumberRange,
    at: Time,
) -> Result<(), ChangeError> {
    let held = tx.allocations_touching(&[numbers], at_once(at), MAX_ROWS + 1)?;
    if held.len() > MAX_ROWS {
        return Err(ChangeError::TooFragmented);
    }
    let missing = gaps(numbers, held.iter().map(|allocation| allocation.numbers));
    if missing.is_empty() {
        Ok(())
    } else {
        Err(ChangeError::NotHeld(missing))
    }
}

/// Siblings, which are cut from one loan, or which the carrier itself lends, do not overlap at one instant.
fn must_not_be_lent(tx: &mut Tx<'_>, new: &Delegation, now: Time) -> Result<(), ChangeError> {
    let versions = Versions::HoldingIn {
        from: new.window.from(),
        until: new.window.until(),
    };
    let to_come = Versions::HoldingIn {
        from: now,
        until: None,
    };
    // Who lends one number to many in turn would fill what every decision on it has to weigh.
    if tx.delegations_beside(new, to_come, MAX_BESIDE)?.len() == MAX_BESIDE {
        return Err(ChangeError::TooFragmented);
    }
    match tx.delegations_beside(new, versions, 1)?.pop() {
        None => Ok(()),
        Some(other) => Err(ChangeError::Overlap {
            numbers: other.numbers,
            kind: "delegation",
            id: other.row.id,
        }),
    }
}

fn at_once(instant: Time) -> Versions {
    Versions::HoldingIn {
        from: instant,
        until: Some(from_unix(instant.timestamp().saturating_add(1))),
    }
}
