//! Changing what is kept: in one transaction with its event, in the lane of who asks; a refusal leaves an event too.

use super::import::ImportError;
use super::{Action, Authority, ChangeError, ChangeRequester};
use crate::domain::{Actor, Caller, Event, Time};
use crate::store::{StoreError, Tx};
use crate::telemetry;

/// Why a change is not made, if it is a decision and not a failure.
pub(super) trait AuditedError: From<StoreError> + ToString + Send + 'static {
    /// The stable code, unless nothing could be decided.
    fn decided(&self) -> Option<&'static str>;
}

impl AuditedError for ChangeError {
    fn decided(&self) -> Option<&'static str> {
        match self {
            Self::Store(_) => None,
            decided => Some(decided.code()),
        }
    }
}

impl AuditedError for ImportError {
    fn decided(&self) -> Option<&'static str> {
        match self {
            Self::Refused(refused) => refused.decided(),
            decided => Some(decided.code()),
        }
    }
}

/// The event of what a caller does, in the exchange that goes on now.
pub(super) fn event_by(caller: &Caller, at: Time, action: &'static str) -> Event {
    Event::new(caller, at, action).in_trace(telemetry::trace_id())
}

impl Authority {
    /// The identity that a transaction runs for, in the exchange that goes on now.
    pub(super) fn actor(&self, caller: &Caller) -> Actor {
        Actor::new(caller, &self.clock).in_trace(telemetry::trace_id())
    }

    /// Does `work` in a transaction that has the name of the event, for a caller who must still be proven when that happens.
    /// `work` writes the event when something is done; what it refuses is undone, and recorded here, about a subject as the
    /// caller named it.
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

    /// The same, and once, if whoever asks may come again.
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

    /// Records that a caller's role does not allow what it wanted to change, and says so.
    ///
    /// # Errors
    /// [`ChangeError::Forbidden`], or that it could not be recorded.
    pub async fn forbid(
        &self,
        caller: &Caller,
        action: Action,
        what: String,
    ) -> Result<(), ChangeError> {
        let name = match action {
            Action::Read => "read",
            Action::Manage => "manage",
            Action::Provision => "provision",
        };
        let event = event_by(caller, self.clock.now(), name);
        let work = |_: &mut Tx<'_>| Err(ChangeError::Forbidden);
        self.change(event, what, work).await
    }
}

/// Runs `work` so that what it refuses is undone, and recorded. The outer error is a failure, in which nothing is decided.
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
        let Some(code) = refused.decided() else {
            return outcome.map(Ok);
        };
        tx.record(&event.refused(&subject, code, refused))?;
        Ok(outcome)
    }
}
