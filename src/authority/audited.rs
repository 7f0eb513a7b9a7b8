//! Changing what is kept: in one transaction with its event, in the lane of who asks; a refusal leaves an event too.

use super::import::ImportError;
use super::{Action, Authority, By, ChangeError, Event};
use crate::domain::Caller;
use crate::store::{Acting, StoreError, Tx};

/// Why a change is not made, if it is a decision and not a failure.
pub(super) trait Refusal: From<StoreError> + ToString + Send + 'static {
    /// The stable code, unless nothing could be decided.
    fn decided(&self) -> Option<&'static str>;
}

impl Refusal for ChangeError {
    fn decided(&self) -> Option<&'static str> {
        match self {
            Self::Store(_) => None,
            decided => Some(decided.code()),
        }
    }
}

impl Refusal for ImportError {
    fn decided(&self) -> Option<&'static str> {
        match self {
            Self::Refused(refused) => refused.decided(),
            decided => Some(decided.code()),
        }
    }
}

impl Authority {
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
        E: Refusal,
    {
        let acting = Acting::new(event.caller(), &self.clock);
        let name = event.action();
        let recorded = recording(event, subject.to_string(), work);
        self.store.change(acting, name, recorded).await?
    }

    /// The same, and once, if whoever asks may come again.
    pub(super) async fn change_by<T: Send + 'static>(
        &self,
        by: By<'_, T>,
        event: Event,
        subject: impl ToString,
        work: impl FnMut(&mut Tx<'_>) -> Result<T, ChangeError> + Send + 'static,
    ) -> Result<T, ChangeError> {
        let Some((attempt, mut seal)) = by.into_again() else {
            return self.change(event, subject, work).await;
        };
        let acting = Acting::new(event.caller(), &self.clock);
        let name = event.action();
        let mut recorded = recording(event, subject.to_string(), work);
        let once = move |tx: &mut Tx<'_>| recorded(tx).unwrap_or_else(Err);
        let seal = move |outcome: &Result<T, ChangeError>| seal(outcome.as_ref());
        let done = self.store.change_once(acting, name, attempt, once, seal);
        done.await
    }

    /// Records that a caller's role does not allow what it wanted to change, and says so.
    ///
    /// # Errors
    /// [`Refused::Forbidden`], or that it could not be recorded.
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
        let event = Event::new(caller, self.clock.now(), name);
        let work = |_: &mut Tx<'_>| Err(ChangeError::Forbidden);
        self.change(event, what, work).await
    }
}

/// Runs `work` so that what it refuses is undone, and recorded. The outer error is a failure, in which nothing is decided.
fn recording<T, E: Refusal>(
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
        event.refused(tx, &subject, code, refused)?;
        Ok(outcome)
    }
}
