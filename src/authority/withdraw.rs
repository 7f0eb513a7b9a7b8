//! Withdrawal: grants are withdrawn, inventory rows end, and the tokens that can still be redeemed
//! are reported.

use serde_json::json;

use super::audited::event_by;
use super::departures::EndedDelegations;
use super::scope::Visibility;
use super::{Action, Authority, ChangeError, ChangeRequester};
use crate::domain::accounts::account::Account;
use crate::domain::clock::Time;
use crate::domain::inventory::Versioned;
use crate::domain::inventory::withdrawal::{AuthorityEnd, Exposure};
use crate::domain::tokens::grant::{Grant, Jti, Withdrawal};
use crate::domain::{AuditAction, Caller, Window, new_id};
use crate::store::{Loss, Page, StoreError, Tx};

/// How many grants one transaction withdraws, about a second of the writer's time. A sweep does the
/// rest.
pub(super) const MAX_AT_ONCE: usize = 10_000;

/// A row whose change ended authority, and the grants whose tokens can still be redeemed, since an
/// issued token cannot be recalled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawing<T> {
    pub row: T,
    pub outstanding_grants: Outstanding,
    /// The delegations that ended because numbers left.
    pub ended_delegations: EndedDelegations,
}

/// Grants that have not expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outstanding {
    /// Ordered by the second of their issuance.
    pub grants: Vec<Grant>,
    /// Whether there are more; `GET /v1/grants` lists them all.
    pub more: bool,
    /// The total, listed or not.
    pub exposure: Exposure,
}

impl Authority {
    /// Withdraws a grant. Its token still verifies until it expires; the withdrawal is published in
    /// the feed, by webhooks, and in the status of the grant.
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
        let (event, subject) = (event_by(caller, now, AuditAction::Withdraw), jti.clone());
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

    /// Continues unfinished withdrawals, one transaction's worth. Returns whether there were any.
    ///
    /// # Errors
    /// If the store fails; the sweep is then retried later.
    pub async fn sweep(&self, caller: &Caller) -> Result<bool, StoreError> {
        let anything = |tx: &mut Tx<'_>| tx.has_sweeps();
        if !self.store.read(anything)? {
            return Ok(false);
        }
        let now = self.clock.now();
        let event = event_by(caller, now, AuditAction::Sweep);
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

/// Withdraws the grants that a loss of authority affects, in the transaction of the loss, and
/// returns how many there are. A sweep withdraws those that exceed [`MAX_AT_ONCE`].
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

/// The tokens that can be redeemed after a loss, redacted for the caller: one page, and the total.
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

/// The authority that is lost when a row ends at `end`. It is lost no earlier than now, and not
/// before the row starts; a row that ends earlier anyway loses nothing more.
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

/// The version of a row that ends at `end`, and whether it differs. An end is never postponed,
/// repeating it changes nothing, and a cancelled row stays cancelled.
pub(super) fn ended<R: Versioned + Clone>(row: &R, end: Time, now: Time) -> (R, bool) {
    let cancelled = row.belief().superseded_at.is_some();
    if cancelled || row.window().until().is_some_and(|until| until <= end) {
        return (row.clone(), false);
    }
    // A row that would end before it starts is cancelled: superseded without a successor.
    let window = Window::new(row.window().from(), Some(end)).ok();
    (row.next_version(window, now), true)
}

/// The version to write, unless the row was cancelled.
pub(super) fn still_held<R: Versioned>(row: &R) -> Option<&R> {
    row.belief().superseded_at.is_none().then_some(row)
}
