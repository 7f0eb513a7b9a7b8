//! Taking back: grants are withdrawn, rows of the inventory end, and what is still out there is told.

use serde_json::json;

use super::scope::Scope;
use super::{Action, Authority, By, Event, Refused};
use crate::domain::Window;
use crate::domain::clock::Time;
use crate::domain::grant::{Grant, Jti, Withdrawal};
use crate::domain::inventory::Versioned;
use crate::store::{GrantFilter, Page, StoreError, Tx};

/// A row that authority was taken by, with the grants whose tokens can still be redeemed: nobody can call a token back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Affected<T> {
    pub row: T,
    pub outstanding_grants: Outstanding,
}

/// Grants that are not expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outstanding {
    /// In the order of the seconds in which they were issued.
    pub grants: Vec<Grant>,
    /// Whether there are more than are listed here; `GET /v1/grants` lists them all.
    pub more: bool,
}

impl Authority {
    /// Marks a grant as withdrawn. Its token still verifies until it expires: what counts is that the CA, the client and
    /// whoever asks later can be told.
    ///
    /// # Errors
    /// [`Refused`] if there is no such grant.
    pub async fn withdraw(
        &self,
        by: impl Into<By<'_, Grant>>,
        jti: Jti,
        reason: String,
    ) -> Result<Grant, Refused> {
        let by = by.into();
        let caller = by.caller();
        self.require(caller, Action::Manage)?;
        let (now, scope) = (self.clock.now(), Scope::of(caller));
        let (event, subject) = (Event::new(caller, now, "withdraw"), jti.clone());
        let recorded = event.clone();
        let work = move |tx: &mut Tx<'_>| {
            scope.must_be_in_good_standing(tx)?;
            let mut grant = super::read::grant(tx, &scope, &jti)?;
            if grant.withdrawal.is_none() {
                let withdrawal = Withdrawal {
                    at: now,
                    reason: reason.clone(),
                };
                tx.withdraw_grant(&jti, &withdrawal)?;
                let detail = json!({ "account": grant.account, "reason": reason });
                event.about(&grant.account).done(tx, &jti, detail)?;
                grant.withdrawal = Some(withdrawal);
            }
            Ok(grant)
        };
        self.change_by(by, recorded, subject, work).await
    }
}

/// What can still be redeemed, as much of it as one answer holds, and as the caller may know it.
pub(super) fn outstanding(
    tx: &mut Tx<'_>,
    scope: &Scope,
    filter: &GrantFilter,
) -> Result<Outstanding, StoreError> {
    let mut page = tx.list_grants(filter, &Page::new(Page::MAX_LIMIT, None))?;
    scope.show_part(tx, &mut page.items)?;
    Ok(Outstanding {
        grants: page.items,
        more: page.next.is_some(),
    })
}

/// The version of a row that ends at `end`, and whether that is anything new: an end is never put off, and repeating one
/// changes nothing, nor does ending what was cancelled.
pub(super) fn ended<R: Versioned + Clone>(row: &R, end: Time, now: Time) -> (R, bool) {
    let cancelled = row.belief().superseded_at.is_some();
    if cancelled || row.window().until().is_some_and(|until| until <= end) {
        return (row.clone(), false);
    }
    // A row that ends before it starts never holds: it is superseded, and nothing takes its place.
    let window = Window::new(row.window().from(), Some(end)).ok();
    (row.next_version(window, now), true)
}

/// The version to be written, unless the row ended before it started.
pub(super) fn still_held<R: Versioned>(row: &R) -> Option<&R> {
    row.belief().superseded_at.is_none().then_some(row)
}
