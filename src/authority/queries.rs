//! Reading what is kept: lists and single rows, as far as the caller may know of them.

use std::collections::HashMap;

use uuid::Uuid;

use super::scope::Visibility;
use super::{Action, Authority, ChangeError};
use crate::domain::accounts::account::Account;
use crate::domain::inventory::{Allocation, Delegation, Exclusion};
use crate::domain::jobs::Job;
use crate::domain::tokens::grant::{Grant, Jti};
use crate::domain::{AccountId, AuditEvent, Caller};
use crate::store::{EventFilter, GrantFilter, Page, PageOf, StoreError, Tx};

impl Authority {
    /// A page of what the carrier holds, the oldest first. Blocks.
    ///
    /// # Errors
    /// [`ChangeError`] if the caller may not ask, or the store cannot answer.
    pub fn allocations(
        &self,
        caller: &Caller,
        page: &Page,
    ) -> Result<PageOf<Allocation>, ChangeError> {
        self.read_of_carrier(caller, |tx| tx.list_allocations(page))
    }

    /// The newest version of one allocation. Blocks.
    ///
    /// # Errors
    /// [`ChangeError`] if the caller may not ask, there is none, or the store cannot answer.
    pub fn allocation(&self, caller: &Caller, id: Uuid) -> Result<Allocation, ChangeError> {
        self.read_of_carrier(caller, |tx| tx.allocation(id))?
            .ok_or(ChangeError::NotFound("allocation"))
    }

    /// A page of the exclusions, the oldest first. Blocks.
    ///
    /// # Errors
    /// [`ChangeError`] if the caller may not ask, or the store cannot answer.
    pub fn exclusions(
        &self,
        caller: &Caller,
        page: &Page,
    ) -> Result<PageOf<Exclusion>, ChangeError> {
        self.read_of_carrier(caller, |tx| tx.list_exclusions(page))
    }

    /// The newest version of one exclusion. Blocks.
    ///
    /// # Errors
    /// [`ChangeError`] if the caller may not ask, there is none, or the store cannot answer.
    pub fn exclusion(&self, caller: &Caller, id: Uuid) -> Result<Exclusion, ChangeError> {
        self.read_of_carrier(caller, |tx| tx.exclusion(id))?
            .ok_or(ChangeError::NotFound("exclusion"))
    }

    /// A page of the jobs, the oldest first. Blocks.
    ///
    /// # Errors
    /// [`ChangeError`] if the caller may not ask, or the store cannot answer.
    pub fn jobs(&self, caller: &Caller, page: &Page) -> Result<PageOf<Job>, ChangeError> {
        self.read_of_carrier(caller, |tx| tx.list_jobs(page))
    }

    /// One job. Blocks.
    ///
    /// # Errors
    /// [`ChangeError`] if the caller may not ask, or there is no such job.
    pub fn job(&self, caller: &Caller, id: Uuid) -> Result<Job, ChangeError> {
        self.read_of_carrier(caller, |tx| tx.job(id))?
            .ok_or(ChangeError::NotFound("job"))
    }

    /// A page of the accounts, in the order of their ids. Blocks.
    ///
    /// # Errors
    /// [`ChangeError`] if the caller may not ask, or the store cannot answer.
    pub fn accounts(&self, caller: &Caller, page: &Page) -> Result<PageOf<Account>, ChangeError> {
        self.read_scoped(caller, |tx, scope| {
            let within = scope.within(tx)?;
            Ok(tx.list_accounts(within.as_ref(), page)?)
        })
    }

    /// One account. Blocks.
    ///
    /// # Errors
    /// [`ChangeError`] if there is none for this caller, or the store cannot answer.
    pub fn account(&self, caller: &Caller, id: &AccountId) -> Result<Account, ChangeError> {
        self.read_scoped(caller, |tx, scope| scope.must_know(tx, id))
    }

    /// A page of what one account was lent. Blocks.
    ///
    /// # Errors
    /// [`ChangeError`] if there is no such account for this caller, or the store cannot answer.
    pub fn delegations_of(
        &self,
        caller: &Caller,
        account: &AccountId,
        page: &Page,
    ) -> Result<PageOf<Delegation>, ChangeError> {
        self.read_scoped(caller, |tx, scope| {
            scope.must_know(tx, account)?;
            Ok(tx.list_delegations_of(account, page)?)
        })
    }

    /// The newest version of one delegation. Blocks.
    ///
    /// # Errors
    /// [`ChangeError`] if there is none for this caller, or the store cannot answer.
    pub fn delegation(&self, caller: &Caller, id: Uuid) -> Result<Delegation, ChangeError> {
        self.read_scoped(caller, |tx, scope| {
            let not_found = || ChangeError::NotFound("delegation");
            let found = tx.delegation(id)?.ok_or_else(not_found)?;
            scope.account(tx, &found.account)?.ok_or_else(not_found)?;
            Ok(found)
        })
    }

    /// A page of the ledger. Blocks.
    ///
    /// # Errors
    /// [`ChangeError`] if the caller may not ask, or the store cannot answer.
    pub fn grants(
        &self,
        caller: &Caller,
        mut filter: GrantFilter,
        page: &Page,
    ) -> Result<PageOf<Grant>, ChangeError> {
        self.read_scoped(caller, |tx, scope| {
            filter.within = scope.within(tx)?;
            let mut grants = tx.list_grants(&filter, page)?;
            scope.redact(tx, &mut grants.items)?;
            Ok(grants)
        })
    }

    /// One grant. Blocks.
    ///
    /// # Errors
    /// [`ChangeError`] if there is none for this caller, or the store cannot answer.
    pub fn grant(&self, caller: &Caller, jti: &Jti) -> Result<Grant, ChangeError> {
        self.read_scoped(caller, |tx, scope| grant(tx, scope, jti))
    }

    /// A page of the trail, the oldest first. Of an event, a reseller sees the caller only if that is one of its own.
    /// Blocks.
    ///
    /// # Errors
    /// [`ChangeError`] if the caller may not ask, or the store cannot answer.
    pub fn audit_events(
        &self,
        caller: &Caller,
        mut filter: EventFilter,
        page: &Page,
    ) -> Result<PageOf<AuditEvent>, ChangeError> {
        self.read_scoped(caller, |tx, scope| {
            filter.within = scope.within(tx)?;
            let mut events = tx.list_audit_events(&filter, page)?;
            let mut known = HashMap::new();
            for event in &mut events.items {
                let shown = match (scope, &event.caller_account) {
                    (Visibility::Everything, _) => true,
                    (Visibility::AccountSubset(_), None) => false,
                    (Visibility::AccountSubset(_), Some(account)) => {
                        if let Some(shown) = known.get(account) {
                            *shown
                        } else {
                            let shown = scope.account(tx, account)?.is_some();
                            known.insert(account.clone(), shown);
                            shown
                        }
                    }
                };
                if !shown {
                    event.caller.clear();
                }
            }
            Ok(events)
        })
    }

    /// Reads what concerns the carrier as a whole, which is nothing for a reseller.
    fn read_of_carrier<T>(
        &self,
        caller: &Caller,
        query: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError>,
    ) -> Result<T, ChangeError> {
        self.read_scoped(caller, |tx, scope| match scope {
            Visibility::Everything => Ok(query(tx)?),
            Visibility::AccountSubset(_) => Err(ChangeError::Forbidden),
        })
    }

    fn read_scoped<T>(
        &self,
        caller: &Caller,
        questions: impl FnOnce(&mut Tx<'_>, &Visibility) -> Result<T, ChangeError>,
    ) -> Result<T, ChangeError> {
        self.require(caller, Action::Read)?;
        let scope = Visibility::of(caller);
        self.store.read(|tx| questions(tx, &scope))
    }
}

/// The grant, which must be of an account that the caller may know of.
pub(super) fn grant(tx: &mut Tx<'_>, scope: &Visibility, jti: &Jti) -> Result<Grant, ChangeError> {
    let not_found = || ChangeError::NotFound("grant");
    let mut grant = tx.grant(jti)?.ok_or_else(not_found)?;
    scope.account(tx, &grant.account)?.ok_or_else(not_found)?;
    scope.redact(tx, std::slice::from_mut(&mut grant))?;
    Ok(grant)
}
