//! Taking back: grants are withdrawn, rows of the inventory end, and what is still out there is told.

use serde_json::json;

use super::audited::event_by;
use super::scope::Visibility;
use super::{Action, Authority, ChangeError, ChangeRequester};
use crate::domain::accounts::account::Account;
use crate::domain::clock::Time;
use crate::domain::inventory::Versioned;
use crate::domain::inventory::withdrawal::{AuthorityEnd, Exposure};
use crate::domain::tokens::grant::{Grant, Jti, Withdrawal};
use crate::domain::{Caller, Window, new_id};
use crate::store::{Loss, Page, StoreError, Tx};

/// How many grants one transaction takes back: a second or so of the writer's time. What is touched beyond that is left to
/// a sweep.
pub(super) const MAX_AT_ONCE: usize = 10_000;

/// A row that authority was taken by, with the grants whose tokens can still be redeemed: nobody can call a token back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawing<T> {
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
    /// How many there are, listed or not.
    pub exposure: Exposure,
}

impl Authority {
    /// Marks a grant as withdrawn. Its token still verifies until it expires: what counts is that the CA, the client and
    /// whoever asks later can be told.
    ///
    /// # Errors
    /// [`Refused`] if there is no such grant.
    pub async fn withdraw(
        &self,
        by: impl Into<ChangeRequester<'_, Grant>>,
        jti: Jti,
        reason: String,
    ) -> Result<Grant, ChangeError> {
        let by = by.into();
        let caller = by.caller();
        self.require(caller, Action::Manage)?;
        let (now, scope) = (self.clock.now(), Visibility::of(caller));
        let (event, subject) = (event_by(caller, now, "withdraw"), jti.clone());
        let recorded = event.clone();
        let work = move |tx: &mut Tx<'_>| {
            scope.must_be_in_good_standing(tx)?;
            let mut grant = super::queries::grant(tx, &scope, &jti)?;
            if grant.withdrawal.as_ref().is_none_or(|known| known.at > now) {
                let ended = AuthorityEnd {
                    at: now,
                    reason: reason.clone(),
                    cause: None,
                };
                tx.withdraw_grants(&[&jti], &ended, now)?;
                let detail = json!({ "account": grant.account, "reason": reason });
                tx.record(&event.about(&grant.account).done(&jti, detail))?;
                grant.withdrawal = Some(Withdrawal {
                    at: now,
                    reason: reason.clone(),
                });
            }
            Ok(grant)
        };
        self.change_by(by, recorded, subject, work).await
    }

    /// Goes on with what a loss of authority has left to be taken back, in one transaction. Says whether there was anything.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot take it; then it stays to be done.
    pub async fn sweep(&self, caller: &Caller) -> Result<bool, StoreError> {
        let anything = |tx: &mut Tx<'_>| tx.has_sweeps();
        if !self.store.read(anything)? {
            return Ok(false);
        }
        let now = self.clock.now();
        let event = event_by(caller, now, "sweep");
        let work = move |tx: &mut Tx<'_>| {
            let Some((loss, count)) = tx.sweep(MAX_AT_ONCE, now)? else {
                return Ok(false);
            };
            let subject = loss.ended.cause.map(|cause| cause.id().to_string());
            tx.record(&event.done(
                &subject.unwrap_or_default(),
                json!({ "withdrawn": count, "reason": loss.ended.reason, "at": loss.ended.at }),
            ))?;
            Ok(true)
        };
        let actor = self.actor(caller);
        self.store.change(actor, "sweep", work).await
    }
}

/// Takes back what a loss of authority touches, in the transaction of the loss, and says how many grants that were. What is
/// more than one transaction takes is left to a sweep.
pub(super) fn withdraw_for(tx: &mut Tx<'_>, loss: &Loss, now: Time) -> Result<u64, StoreError> {
    let (exposure, last) = tx.exposure(&loss.touched())?;
    let Some(last) = last else { return Ok(0) };
    let swept = tx.withdraw_touched(loss, ("", &last), MAX_AT_ONCE, now)?;
    if let Some(after) = swept.more_after {
        let left = [(new_id(now), loss.clone())];
        tx.insert_sweeps(&left, (after.as_str(), &last), now)?;
        return Ok(exposure.tokens);
    }
    Ok(swept.count as u64)
}

/// What can still be redeemed beyond a loss, as much of it as one answer holds, and as the caller may know it.
pub(super) fn outstanding(
    tx: &mut Tx<'_>,
    scope: &Visibility,
    loss: &Loss,
) -> Result<Outstanding, StoreError> {
    let filter = loss.touched();
    let mut page = tx.list_grants(&filter, &Page::new(Page::MAX_LIMIT, None))?;
    scope.redact(tx, &mut page.items)?;
    let (exposure, _) = tx.exposure(&filter)?;
    Ok(Outstanding {
        grants: page.items,
        more: page.next.is_some(),
        exposure,
    })
}

/// The loss when a row ends at `end`: what holds later anyway, or has ended before, loses nothing.
pub(super) fn loss_of<R: Versioned>(
    known: &R,
    of: Option<&Account>,
    (end, now): (Time, Time),
    ended: AuthorityEnd,
) -> Loss {
    let end = known.window().until().map_or(end, |until| until.min(end));
    Loss {
        of: of.cloned(),
        numbers: Some(known.numbers()),
        ended: AuthorityEnd {
            at: end.max(now).max(known.window().from()),
            ..ended
        },
    }
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
