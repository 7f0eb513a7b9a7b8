//! Queries: lists and single rows, as far as the caller may see them. All of them block.

use std::collections::HashMap;

use uuid::Uuid;

use super::departures::{self, DelegationStatus};
use super::scope::Visibility;
use super::{Action, Authority, ChangeError};
use crate::domain::accounts::account::Account;
use crate::domain::inventory::{Allocation, Exclusion};
use crate::domain::jobs::Job;
use crate::domain::tokens::grant::{Grant, Jti};
use crate::domain::{AccountId, AuditEvent, Caller};
use crate::store::{EventFilter, GrantFilter, Page, PageOf, StoreError, Tx};

impl Authority {
    /// A page of the carrier's allocations, oldest first.
    pub fn allocations(
        &self,
        caller: &Caller,
        page: &Page,
    ) -> Result<PageOf<Allocation>, ChangeError> {
        self.read_of_carrier(caller, |tx| tx.list_allocations(page))
    }

    /// The newest version of one allocation.
    pub fn allocation(&self, caller: &Caller, id: Uuid) -> Result<Allocation, ChangeError> {
        self.read_of_carrier(caller, |tx| tx.allocation(id))?
            .ok_or(ChangeError::NotFound("allocation"))
    }

    /// A page of the exclusions, oldest first.
    pub fn exclusions(
        &self,
        caller: &Caller,
        page: &Page,
    ) -> Result<PageOf<Exclusion>, ChangeError> {
        self.read_of_carrier(caller, |tx| tx.list_exclusions(page))
    }

    /// The newest version of one exclusion.
    pub fn exclusion(&self, caller: &Caller, id: Uuid) -> Result<Exclusion, ChangeError> {
        self.read_of_carrier(caller, |tx| tx.exclusion(id))?
            .ok_or(ChangeError::NotFound("exclusion"))
    }

    /// A page of the jobs, oldest first.
    pub fn jobs(&self, caller: &Caller, page: &Page) -> Result<PageOf<Job>, ChangeError> {
        self.read_of_carrier(caller, |tx| tx.list_jobs(page))
    }

    pub fn job(&self, caller: &Caller, id: Uuid) -> Result<Job, ChangeError> {
        self.read_of_carrier(caller, |tx| tx.job(id))?
            .ok_or(ChangeError::NotFound("job"))
    }

    /// A page of the accounts, ordered by id.
    pub fn accounts(&self, caller: &Caller, page: &Page) -> Result<PageOf<Account>, ChangeError> {
        self.read_scoped(caller, |tx, scope| {
            let within = scope.within(tx)?;
            Ok(tx.list_accounts(within.as_ref(), page)?)
        })
    }

    pub fn account(&self, caller: &Caller, id: &AccountId) -> Result<Account, ChangeError> {
        self.read_scoped(caller, |tx, scope| scope.must_know(tx, id))
    }

    /// A page of an account's delegations.
    pub fn delegations_of(
        &self,
        caller: &Caller,
        account: &AccountId,
        page: &Page,
    ) -> Result<PageOf<DelegationStatus>, ChangeError> {
        self.read_scoped(caller, |tx, scope| {
            scope.must_know(tx, account)?;
            let found = tx.list_delegations_of(account, page)?;
            Ok(PageOf {
                items: departures::statuses(tx, found.items)?,
                next: found.next,
            })
        })
    }

    /// The newest version of one delegation.
    pub fn delegation(&self, caller: &Caller, id: Uuid) -> Result<DelegationStatus, ChangeError> {
        self.read_scoped(caller, |tx, scope| {
            let not_found = || ChangeError::NotFound("delegation");
            let found = tx.delegation(id)?.ok_or_else(not_found)?;
            scope.account(tx, &found.account)?.ok_or_else(not_found)?;
            departures::statuses(tx, vec![found])?
                .pop()
                .ok_or_else(not_found)
        })
    }

    /// A page of the ledger.
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

    /// One grant, redacted for the caller.
    pub fn grant(&self, caller: &Caller, jti: &Jti) -> Result<Grant, ChangeError> {
        self.read_scoped(caller, |tx, scope| grant(tx, scope, jti))
    }

    /// A page of the audit trail, oldest first. A reseller sees who caused an event only if that
    /// caller belongs to it or its customers.
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

    /// Runs a query for data of the carrier as a whole, which a reseller may not see.
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

/// The grant, if the caller may see its account.
pub(super) fn grant(tx: &mut Tx<'_>, scope: &Visibility, jti: &Jti) -> Result<Grant, ChangeError> {
    let not_found = || ChangeError::NotFound("grant");
    let mut grant = tx.grant(jti)?.ok_or_else(not_found)?;
    scope.account(tx, &grant.account)?.ok_or_else(not_found)?;
    scope.redact(tx, std::slice::from_mut(&mut grant))?;
    Ok(grant)
}
