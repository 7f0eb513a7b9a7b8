//! Accounts: made, renamed, suspended, resumed. All of it can be repeated.

use serde_json::json;

use super::withdraw::{Affected, outstanding};
use super::{Action, Authority, Event, Refused};
use crate::domain::account::{Account, LifetimeMode};
use crate::domain::{AccountId, Caller};
use crate::store::{GrantFilter, Tx, new_id};

impl Authority {
    /// Makes the account, or gives it another name. Says whether it is new.
    ///
    /// # Errors
    /// [`Refused`] if the parent is unknown, or the account already has another one.
    pub async fn put_account(
        &self,
        caller: &Caller,
        id: AccountId,
        name: Option<String>,
        parent: Option<AccountId>,
    ) -> Result<(Account, bool), Refused> {
        self.require(caller, Action::Provision)?;
        let now = self.clock.now();
        let event = Event::new(caller, now, "put-account");
        let work = move |tx: &mut Tx<'_>| {
            if parent.as_ref() == Some(&id) {
                return Err(Refused::OwnParent);
            }
            let known = tx.account(&id)?;
            let account = match &known {
                // Parents never change, so accounts cannot come to stand in a circle.
                Some(known) if parent.is_some() && known.parent != parent => {
                    return Err(Refused::ParentChange);
                }
                Some(known) => Account {
                    name: name.clone().unwrap_or_else(|| known.name.clone()),
                    ..known.clone()
                },
                None => Account {
                    id: id.clone(),
                    name: name.clone().unwrap_or_default(),
                    parent: parent.clone(),
                    created_at: now,
                    suspended_since: None,
                    lifetime: LifetimeMode::Proof,
                },
            };
            if let (None, Some(parent)) = (&known, &parent) {
                must_know(tx, parent)?;
            }
            match &known {
                Some(known) if *known == account => return Ok((account, false)),
                Some(_) => tx.rename_account(&id, &account.name)?,
                None => tx.insert_account(&account)?,
            }
            event.done(
                tx,
                &id,
                json!({ "name": account.name, "parent": account.parent }),
            )?;
            Ok((account, known.is_none()))
        };
        self.store.change("put-account", work).await
    }

    /// From now on the account gets no tokens. Lists what can still be redeemed.
    ///
    /// # Errors
    /// [`Refused`] if there is no such account.
    pub async fn suspend(
        &self,
        caller: &Caller,
        id: AccountId,
    ) -> Result<Affected<Account>, Refused> {
        self.require(caller, Action::Provision)?;
        let now = self.clock.now();
        let event = Event::new(caller, now, "suspend");
        let work = move |tx: &mut Tx<'_>| {
            let mut account = must_know(tx, &id)?;
            if account.suspended_since.is_none() {
                tx.suspend_account(&id, new_id(now), now)?;
                account.suspended_since = Some(now);
                event.done(tx, &id, json!({}))?;
            }
            let filter = GrantFilter {
                account: Some(id.clone()),
                ..GrantFilter::outstanding(now)
            };
            let outstanding_grants = outstanding(tx, &filter)?;
            Ok(Affected {
                row: account,
                outstanding_grants,
            })
        };
        self.store.change("suspend", work).await
    }

    /// From now on the account gets tokens again.
    ///
    /// # Errors
    /// [`Refused`] if there is no such account.
    pub async fn resume(&self, caller: &Caller, id: AccountId) -> Result<Account, Refused> {
        self.require(caller, Action::Provision)?;
        let now = self.clock.now();
        let event = Event::new(caller, now, "resume");
        let work = move |tx: &mut Tx<'_>| {
            let mut account = must_know(tx, &id)?;
            if account.suspended_since.take().is_some() {
                tx.resume_account(&id, now)?;
                event.done(tx, &id, json!({}))?;
            }
            Ok(account)
        };
        self.store.change("resume", work).await
    }
}

/// The account, which must be there.
pub(super) fn must_know(tx: &mut Tx<'_>, id: &AccountId) -> Result<Account, Refused> {
    tx.account(id)?
        .ok_or_else(|| Refused::UnknownAccount(id.clone()))
}
