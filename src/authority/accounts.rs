//! Accounts: create, rename, suspend, resume, set the lifetime mode. Every call is idempotent.

use serde_json::json;

use super::audited::event_by;
use super::departures::EndedDelegations;
use super::scope::Visibility;
use super::withdraw::{Withdrawing, outstanding, withdraw_for};
use super::{Action, Authority, ChangeError, ChangeRequester};
use crate::domain::accounts::account::{Account, LifetimeMode};
use crate::domain::inventory::withdrawal::{ACCOUNT_SUSPENDED, AuthorityEnd, EndingRow};
use crate::domain::{AccountId, AuditAction, Caller, Dialect, new_id};
use crate::store::{Loss, Tx};

/// What to create or change. A field that is `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct NewAccount {
    pub name: Option<String>,
    /// The reseller that this account is a customer of. It never changes.
    pub parent: Option<AccountId>,
    pub dialect: Option<Dialect>,
}

impl Authority {
    /// Creates or renames an account. See [`Self::put_account_as`].
    pub async fn put_account(
        &self,
        caller: &Caller,
        id: AccountId,
        name: Option<String>,
        parent: Option<AccountId>,
    ) -> Result<(Account, bool), ChangeError> {
        let new = NewAccount {
            name,
            parent,
            dialect: None,
        };
        self.put_account_as(caller, id, new).await
    }

    /// Creates an account, or changes its name or dialect. Returns whether it is new. A reseller
    /// can create customers of its own, and customers of those.
    ///
    /// # Errors
    /// If the parent is unknown or too deep, or the account already has another parent.
    pub async fn put_account_as(
        &self,
        caller: &Caller,
        id: AccountId,
        new: NewAccount,
    ) -> Result<(Account, bool), ChangeError> {
        let NewAccount {
            name,
            parent,
            dialect,
        } = new;
        self.require(caller, Action::Manage)?;
        let (now, scope) = (self.clock.now(), Visibility::of(caller));
        let (event, subject) = (event_by(caller, now, AuditAction::PutAccount), id.clone());
        let recorded = event.clone();
        let work = move |tx: &mut Tx<'_>| {
            scope.must_be_in_good_standing(tx)?;
            if parent.as_ref() == Some(&id) {
                return Err(ChangeError::OwnParent);
            }
            let known = tx.account(&id)?;
            // Ids are unique for the whole carrier, so a caller that wants a taken id has to learn
            // that it is taken. Check first that the caller could create it: no other caller learns
            // even that much.
            if known.as_ref().is_some_and(|known| !scope.holds(known)) {
                above(tx, &scope, parent.as_ref())?;
                return Err(ChangeError::ParentChange);
            }
            if let Some(known) = &known {
                scope.must_be_above(known)?;
            }
            let account = match &known {
                // Parents never change, so the tree of accounts cannot become a cycle.
                Some(known) if parent.is_some() && known.parent() != parent.as_ref() => {
                    return Err(ChangeError::ParentChange);
                }
                Some(known) => Account {
                    name: name.clone().unwrap_or_else(|| known.name.clone()),
                    dialect: dialect.unwrap_or(known.dialect),
                    ..known.clone()
                },
                None => Account {
                    id: id.clone(),
                    name: name.clone().unwrap_or_default(),
                    above: above(tx, &scope, parent.as_ref())?,
                    created_at: now,
                    suspended_since: None,
                    lifetime: LifetimeMode::Proof,
                    dialect: dialect.unwrap_or_default(),
                },
            };
            match &known {
                Some(known) if *known == account => return Ok((account, false)),
                Some(_) => tx.rename_account(&id, &account.name)?,
                None => tx.insert_account(&account)?,
            }
            let known_dialect = known.as_ref().map(|known| known.dialect);
            if account.dialect != known_dialect.unwrap_or_default() {
                tx.set_dialect(&id, account.dialect, now)?;
            }
            let detail = json!({
                "name": account.name, "parent": account.parent(), "dialect": account.dialect,
            });
            tx.record(&event.about(&id).done(&id, detail))?;
            Ok((account, known.is_none()))
        };
        self.change(recorded, subject, work).await
    }

    /// Suspends an account: neither it nor its customers get tokens for its numbers until it is
    /// resumed. Returns the tokens that can still be redeemed, those of customers included.
    pub async fn suspend(
        &self,
        by: impl Into<ChangeRequester<'_, Withdrawing<Account>>>,
        id: AccountId,
    ) -> Result<Withdrawing<Account>, ChangeError> {
        let by = by.into();
        let caller = by.caller();
        self.require(caller, Action::Manage)?;
        let (now, scope) = (self.clock.now(), Visibility::of(caller));
        let (event, subject) = (event_by(caller, now, AuditAction::Suspend), id.clone());
        let recorded = event.clone();
        let work = move |tx: &mut Tx<'_>| {
            let mut account = scope.must_manage(tx, &id)?;
            let by = scope.suspends_as(&account);
            let known = tx.suspension(&id)?;
            // A suspension from further up replaces one from below, so that the reseller below can
            // no longer lift it.
            let lifted = known
                .as_ref()
                .is_some_and(|known| known.by != by && scope.may_lift(&account, known));
            if lifted {
                tx.resume_account(&id, now)?;
            }
            let row = new_id(now);
            let loss = Loss {
                of: Some(account.clone()),
                numbers: None,
                ended: AuthorityEnd {
                    at: now,
                    reason: ACCOUNT_SUSPENDED.to_owned(),
                    cause: Some(EndingRow::Suspension(row)),
                },
            };
            if known.is_none() || lifted {
                tx.suspend_account(&account, by.as_ref(), row, now)?;
                account.suspended_since = Some(now);
                let withdrawn = withdraw_for(tx, &loss, now)?;
                let detail = json!({ "by": by, "withdrawn": withdrawn });
                tx.record(&event.about(&id).done(&id, detail))?;
            }
            let outstanding_grants = outstanding(tx, &scope, &loss)?;
            Ok(Withdrawing {
                row: account,
                outstanding_grants,
                ended_delegations: EndedDelegations::default(),
            })
        };
        self.change_by(by, recorded, subject, work).await
    }

    /// Resumes an account. It can get new tokens, but withdrawn grants stay withdrawn. A reseller
    /// cannot lift a suspension imposed above it.
    pub async fn resume(
        &self,
        by: impl Into<ChangeRequester<'_, Account>>,
        id: AccountId,
    ) -> Result<Account, ChangeError> {
        let by = by.into();
        let caller = by.caller();
        self.require(caller, Action::Manage)?;
        let (now, scope) = (self.clock.now(), Visibility::of(caller));
        let (event, subject) = (event_by(caller, now, AuditAction::Resume), id.clone());
        let recorded = event.clone();
        let work = move |tx: &mut Tx<'_>| {
            let mut account = scope.must_manage(tx, &id)?;
            if let Some(suspension) = tx.suspension(&id)?
                && !scope.may_lift(&account, &suspension)
            {
                return Err(ChangeError::SuspendedAbove);
            }
            if account.suspended_since.take().is_some() {
                tx.resume_account(&id, now)?;
                tx.record(&event.about(&id).done(&id, json!({})))?;
            }
            Ok(account)
        };
        self.change_by(by, recorded, subject, work).await
    }

    /// Sets how long the account's tokens live if a request sets no lifetime.
    pub async fn set_lifetime_mode(
        &self,
        caller: &Caller,
        id: AccountId,
        mode: LifetimeMode,
    ) -> Result<Account, ChangeError> {
        self.require(caller, Action::Provision)?;
        let (now, scope) = (self.clock.now(), Visibility::of(caller));
        let (event, subject) = (event_by(caller, now, AuditAction::SetLifetime), id.clone());
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

/// The resellers above a new account: its parent first, then the parent's own ancestors.
fn above(
    tx: &mut Tx<'_>,
    scope: &Visibility,
    parent: Option<&AccountId>,
) -> Result<Vec<AccountId>, ChangeError> {
    let Some(parent) = parent else {
        return match scope {
            Visibility::Everything => Ok(Vec::new()),
            Visibility::AccountSubset(_) => Err(ChangeError::NoParent),
        };
    };
    let parent = scope.must_know(tx, parent)?;
    if parent.above.len() >= Account::MAX_DEPTH {
        return Err(ChangeError::TooDeep);
    }
    Ok(std::iter::once(parent.id).chain(parent.above).collect())
}
