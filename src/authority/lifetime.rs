//! How long an account's tokens live: proof mode or grant-horizon mode.

use serde_json::json;

use super::audited::event_by;
use super::scope::Visibility;
use super::{Action, Authority, ChangeError};
use crate::domain::accounts::account::{Account, LifetimeMode};
use crate::domain::{AccountId, Caller};
use crate::store::Tx;

impl Authority {
    /// From now on the account's tokens live so long, when a request does not say. Can be repeated.
    ///
    /// # Errors
    /// [`Refused`] if there is no such account.
    pub async fn set_lifetime_mode(
        &self,
        caller: &Caller,
        id: AccountId,
        mode: LifetimeMode,
    ) -> Result<Account, ChangeError> {
        self.require(caller, Action::Provision)?;
        let (now, scope) = (self.clock.now(), Visibility::of(caller));
        let (event, subject) = (event_by(caller, now, "set-lifetime"), id.clone());
        let recorded = event.clone();
        let work = move |tx: &mut Tx<'_>| {
            let mut account = scope.must_know(tx, &id)?;
            if account.lifetime != mode {
                tx.set_lifetime_mode(&id, mode, now)?;
                account.lifetime = mode;
                tx.record(&event.about(&id).done(&id, json!({ "mode": mode.as_str() })))?;
            }
            Ok(account)
        };
        self.change(recorded, subject, work).await
    }
}
