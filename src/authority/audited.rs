//! Audited changes: the change and its audit event are written in one transaction. A refusal is
//! rolled back, and leaves an audit event too.

use super::import::ImportError;
use super::{Action, Authority, ChangeError, ChangeRequester};
use crate::domain::{Actor, AuditAction, Caller, Event, Time};
use crate::store::{StoreError, Tx};
use crate::telemetry;

/// An error of a change, which is either a refusal or a failure. Only refusals are audited.
pub(super) trait AuditedError: From<StoreError> + ToString + Send + 'static {
    /// The code of a refusal, or `None` for a failure.
    fn refusal_code(&self) -> Option<&'static str>;
}

impl AuditedError for ChangeError {
    fn refusal_code(&self) -> Option<&'static str> {
        match self {
            Self::Store(_) => None,
            refusal => Some(refusal.code()),
        }
    }
}

impl AuditedError for ImportError {
    fn refusal_code(&self) -> Option<&'static str> {
        match self {
            Self::Refused(refused) => refused.refusal_code(),
            refusal => Some(refusal.code()),
        }
    }
}

/// An audit event for an action of the caller, tagged with the current trace id.
pub(super) fn event_by(caller: &Caller, at: Time, action: AuditAction) -> Event {
    Event::new(caller, at, action).in_trace(telemetry::trace_id())
}

impl Authority {
    /// The caller that a transaction runs for, tagged with the current trace id.
    pub(super) fn actor(&self, caller: &Caller) -> Actor {
        Actor::new(caller, &self.clock).in_trace(telemetry::trace_id())
    }

    /// Runs `work` in a transaction named after the event's action. The caller's credential is
    /// checked again in that transaction. `work` records its own success; if it refuses, its
    /// changes are rolled back and the refusal is recorded here, with `subject` as the caller wrote
    /// it.
    pub(super) async fn change<T, E>(
        &self,
        event: Event,
        subject: impl ToString,
        work: impl FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: AuditedError,
    {
        let actor = self.actor(event.caller());
        let name = event.action();
        let recorded = recording(event, subject.to_string(), work);
        self.store.change(actor, name, recorded).await?
    }

    /// Like [`Self::change`]; if the caller sent an idempotency key, the change is made once and
    /// its answer kept.
    pub(super) async fn change_by<T: Send + 'static>(
        &self,
        by: ChangeRequester<'_, T>,
        event: Event,
        subject: impl ToString,
        work: impl FnMut(&mut Tx<'_>) -> Result<T, ChangeError> + Send + 'static,
    ) -> Result<T, ChangeError> {
        let Some((keyed, mut seal)) = by.into_keyed() else {
            return self.change(event, subject, work).await;
        };
        let actor = self.actor(event.caller());
        let name = event.action();
        let mut recorded = recording(event, subject.to_string(), work);
        let once = move |tx: &mut Tx<'_>| recorded(tx).unwrap_or_else(Err);
        let seal = move |outcome: &Result<T, ChangeError>| seal(outcome.as_ref());
        let done = self.store.change_once(actor, name, keyed, once, seal);
        done.await
    }

    /// Records that the caller's role does not allow an action.
    ///
    /// # Errors
    /// Always: [`ChangeError::Forbidden`], or the failure to record it.
    pub async fn forbid(
        &self,
        caller: &Caller,
        action: Action,
        what: String,
    ) -> Result<(), ChangeError> {
        let name = match action {
            Action::Read => AuditAction::Read,
            Action::Manage => AuditAction::Manage,
            Action::Provision => AuditAction::Provision,
        };
        let event = event_by(caller, self.clock.now(), name);
        let work = |_: &mut Tx<'_>| Err(ChangeError::Forbidden);
        self.change(event, what, work).await
    }
}

/// Wraps `work` so that a refusal is rolled back and recorded. The outer error is a failure:
/// nothing was decided, and the whole transaction is rolled back.
fn recording<T, E: AuditedError>(
    event: Event,
    subject: String,
    mut work: impl FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
) -> impl FnMut(&mut Tx<'_>) -> Result<Result<T, E>, E> + Send + 'static {
    move |tx| {
        let outcome = tx.savepoint(&mut work);
        let Err(refused) = &outcome else {
            return Ok(outcome);
        };
        let Some(code) = refused.refusal_code() else {
            return outcome.map(Ok);
        };
        tx.record(&event.refused(&subject, code, refused))?;
        Ok(outcome)
    }
}
