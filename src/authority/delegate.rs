//! Delegations: numbers are lent to an account, and taken back.

use serde_json::json;
use uuid::Uuid;

use super::accounts::must_know;
use super::withdraw::{Affected, outstanding};
use super::{Action, Authority, Event, Refused};
use crate::domain::clock::{Time, from_unix};
use crate::domain::decision::MAX_ROWS;
use crate::domain::inventory::{Belief, Delegation, RowRef};
use crate::domain::range_set::gaps;
use crate::domain::{AccountId, Caller, NumberRange};
use crate::store::{GrantFilter, Tx, Versions, new_id};

/// Numbers that the carrier lends.
#[derive(Debug, Clone)]
pub struct NewDelegation {
    pub account: AccountId,
    pub numbers: NumberRange,
    /// Whether tokens for CA certificates are allowed (RFC 9447 §4).
    pub ca: bool,
    /// Now, if it is not said.
    pub valid_from: Option<Time>,
    pub valid_until: Option<Time>,
    /// The carrier's own order or contract.
    pub reference: Option<String>,
}

impl Authority {
    /// Lends numbers to an account.
    ///
    /// # Errors
    /// [`Refused`] if there is no such account, the carrier does not hold all of the numbers when the loan starts, or some
    /// of them are lent already at the same time.
    pub async fn delegate(
        &self,
        caller: &Caller,
        new: NewDelegation,
    ) -> Result<Delegation, Refused> {
        self.require(caller, Action::Provision)?;
        let now = self.clock.now();
        let event = Event::new(caller, now, "delegate");
        let delegation = Delegation {
            row: RowRef {
                id: new_id(now),
                version: 1,
            },
            account: new.account,
            parent: None,
            numbers: new.numbers,
            ca: new.ca,
            reference: new.reference,
            window: super::window(new.valid_from, new.valid_until, now)?,
            belief: Belief {
                recorded_at: now,
                superseded_at: None,
            },
        };
        let work = move |tx: &mut Tx<'_>| {
            must_know(tx, &delegation.account)?;
            must_be_held(tx, delegation.numbers, delegation.window.from().max(now))?;
            must_not_be_lent(tx, &delegation)?;
            tx.insert_delegations(std::slice::from_ref(&delegation))?;
            let detail = json!({
                "account": delegation.account, "numbers": delegation.numbers, "ca": delegation.ca,
                "reference": delegation.reference,
                "valid_from": delegation.window.from(), "valid_until": delegation.window.until(),
            });
            event.done(tx, &delegation.row.id, detail)?;
            Ok(delegation.clone())
        };
        self.store.change("delegate", work).await
    }

    /// Takes numbers back: now, or at an instant to come. Lists what can be redeemed beyond.
    ///
    /// # Errors
    /// [`Refused`] if there is no such delegation.
    pub async fn end_delegation(
        &self,
        caller: &Caller,
        id: Uuid,
        at: Option<Time>,
    ) -> Result<Affected<Delegation>, Refused> {
        self.require(caller, Action::Provision)?;
        let now = self.clock.now();
        let end = at.unwrap_or(now);
        let event = Event::new(caller, now, "end-delegation");
        let work = move |tx: &mut Tx<'_>| {
            let known = tx.delegation(id)?.ok_or(Refused::NotFound("delegation"))?;
            let (ended, changed) = super::withdraw::ended(&known, end, now);
            if changed {
                tx.supersede_delegation(id, now, super::withdraw::still_held(&ended))?;
                event.done(tx, &id, json!({ "at": end }))?;
            }
            let filter = GrantFilter {
                account: Some(known.account),
                numbers: Some(known.numbers),
                ..GrantFilter::outstanding(end.max(now))
            };
            let outstanding_grants = outstanding(tx, &filter)?;
            Ok(Affected {
                row: ended,
                outstanding_grants,
            })
        };
        self.store.change("end-delegation", work).await
    }
}

/// The carrier lends only what it holds when the loan starts. That it also holds it later is asked at each mint.
fn must_be_held(tx: &mut Tx<'_>, numbers: NumberRange, at: Time) -> Result<(), Refused> {
    let instant = Versions::HoldingIn {
        from: at,
        until: Some(from_unix(at.timestamp().saturating_add(1))),
    };
    let held = tx.allocations_touching(&[numbers], instant, MAX_ROWS + 1)?;
    if held.len() > MAX_ROWS {
        return Err(Refused::TooFragmented);
    }
    let missing = gaps(numbers, held.iter().map(|allocation| allocation.numbers));
    if missing.is_empty() {
        Ok(())
    } else {
        Err(Refused::NotHeld(missing))
    }
}

/// Siblings, here all that the carrier itself lends, do not overlap at one instant.
fn must_not_be_lent(tx: &mut Tx<'_>, new: &Delegation) -> Result<(), Refused> {
    let versions = Versions::HoldingIn {
        from: new.window.from(),
        until: new.window.until(),
    };
    match tx.delegations_touching(&[new.numbers], versions, 1)?.pop() {
        None => Ok(()),
        Some(other) => Err(Refused::Overlap {
            numbers: other.numbers,
            kind: "delegation",
            id: other.row.id,
        }),
    }
}
