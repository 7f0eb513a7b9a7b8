//! Changing what is kept: in one transaction with its event, in the lane of who asks; a refusal leaves an event too.

use super::import::ImportError;
use super::{Action, Authority, Event, Refused};
use crate::domain::{AccountId, Caller};
use crate::store::{StoreError, Tx};

/// Why a change is not made, if it is a decision and not a failure.
pub(super) trait Refusal: From<StoreError> + ToString + Send + 'static {
    /// The stable code, unless nothing could be decided.
    fn decided(&self) -> Option<&'static str>;
}

impl Refusal for Refused {
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
    /// Does `work` in a transaction that has the name of the event. `work` writes the event when something is done; what it
    /// refuses is undone, and recorded here, about a subject as the caller named it.
    pub(super) async fn change<T, E>(
        &self,
        event: Event,
        subject: impl ToString,
        mut work: impl FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: Refusal,
    {
        let (lane, name, subject) = (lane(event.caller()), event.action(), subject.to_string());
        let recorded = move |tx: &mut Tx<'_>| -> Result<Result<T, E>, E> {
            let outcome = tx.savepoint(&mut work);
            let Err(refused) = &outcome else {
                return Ok(outcome);
            };
            let Some(code) = refused.decided() else {
                return outcome.map(Ok);
            };
            event.refused(tx, &subject, code, refused)?;
            Ok(outcome)
        };
        self.store.change_in(&lane, name, recorded).await?
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
    ) -> Result<(), Refused> {
        let name = match action {
            Action::Read => "read",
            Action::Manage => "manage",
            Action::Provision => "provision",
        };
        let event = Event::new(caller, self.clock.now(), name);
        let work = |_: &mut Tx<'_>| Err(Refused::Forbidden);
        self.change(event, what, work).await
    }
}

/// The lane in which a caller waits for the writer: that of its account, so that more keys are no more turns.
pub(super) fn lane(caller: &Caller) -> String {
    match caller.confined_to() {
        Some(account) => lane_of(account),
        None => format!("caller {}", caller.id),
    }
}

/// The lane of an account, also when a portal asks for it: the customers behind a portal take turns as well.
pub(super) fn lane_of(account: &AccountId) -> String {
    format!("account {account}")
}
