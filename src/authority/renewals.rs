//! Standing rights to renew: given, taken back, and used. Short tokens for the same numbers and the same key are to be had
//! until the delegation ends, and not a minute longer.

use serde_json::json;
use uuid::Uuid;

use super::audited::event_by;
use super::issue::Wanted;
use super::scope::Visibility;
use super::{Action, Authority, ChangeError, ChangeRequester, IssueError, Issued};
use crate::domain::clock::Time;
use crate::domain::inventory::Delegation;
use crate::domain::issuance::{KeyedRequest, RuledRequest};
use crate::domain::numbers::range_set::gaps;
use crate::domain::tokens::renewal::Renewal;
use crate::domain::{
    AccountId, Caller, Denial, Fingerprint, Role, TnAuthList, TokenRequest, new_id,
};
use crate::store::{Page, PageOf, StoreError, Tx};

/// How many rights one account may have in use.
const MAX_RENEWALS: i64 = 1_000;

/// A right to be given.
#[derive(Debug, Clone)]
pub struct NewRenewal {
    pub account: AccountId,
    pub delegation: Uuid,
    pub list: TnAuthList,
    pub fingerprint: Fingerprint,
    pub lifetime: u32,
    pub not_after: Option<Time>,
    pub caller: Option<String>,
}

impl Authority {
    /// Gives an account the right to renew.
    ///
    /// # Errors
    /// [`ChangeError`] if there is no such account or delegation, the delegation is over, or it does not hold all that the
    /// tokens are to name.
    pub async fn allow_renewal(
        &self,
        by: impl Into<ChangeRequester<'_, Renewal>>,
        new: NewRenewal,
    ) -> Result<Renewal, ChangeError> {
        let by = by.into();
        let caller = by.caller();
        self.require(caller, Action::Manage)?;
        let (now, scope) = (self.clock.now(), Visibility::of(caller));
        let lifetimes = self.lifetimes.minimum..=self.lifetimes.maximum;
        if !lifetimes.contains(&new.lifetime) {
            return Err(ChangeError::RenewalLifetime(lifetimes));
        }
        let event = event_by(caller, now, "allow-renewal").about(&new.account);
        let (id, subject) = (new_id(now), new.account.clone());
        let recorded = event.clone();
        let work = move |tx: &mut Tx<'_>| {
            let renewal = given(tx, &scope, &new, (id, now), event.caller())?;
            tx.insert_renewal(&renewal)?;
            let detail = json!({
                "account": renewal.account, "delegation": renewal.delegation,
                "tkvalue": renewal.list.to_tkvalue(), "fingerprint": renewal.fingerprint.to_string(),
                "lifetime": renewal.lifetime, "not_after": renewal.not_after, "for": renewal.caller,
            });
            tx.record(&event.done(&id, detail))?;
            Ok(renewal)
        };
        self.change_by(by, recorded, subject, work).await
    }

    /// Takes a right back: from now on there is no token by it. Those that are out verify until they expire. Can be
    /// repeated. The account itself may give its own up.
    ///
    /// # Errors
    /// [`ChangeError`] if there is none for this caller.
    pub async fn revoke_renewal(
        &self,
        by: impl Into<ChangeRequester<'_, Renewal>>,
        id: Uuid,
    ) -> Result<Renewal, ChangeError> {
        let by = by.into();
        let caller = by.caller();
        match caller.role {
            Role::Portal | Role::Account => {}
            Role::Admin | Role::Provisioner | Role::Auditor | Role::Renewer => {
                self.require(caller, Action::Manage)?;
            }
        }
        let (now, scope) = (self.clock.now(), Visibility::of(caller));
        let event = event_by(caller, now, "revoke-renewal");
        let recorded = event.clone();
        let work = move |tx: &mut Tx<'_>| {
            let mut renewal = renewal(tx, &scope, id)?;
            if renewal.revoked_at.is_none() {
                tx.revoke_renewal(id, now)?;
                renewal.revoked_at = Some(now);
                let event = event.about(&renewal.account);
                tx.record(&event.done(&id, json!({ "account": renewal.account })))?;
            }
            Ok(renewal)
        };
        self.change_by(by, recorded, id, work).await
    }

    /// A page of the rights of those whom the caller may know of. Blocks.
    ///
    /// # Errors
    /// [`ChangeError`] if the store cannot answer.
    pub fn renewals(&self, caller: &Caller, page: &Page) -> Result<PageOf<Renewal>, ChangeError> {
        let scope = Visibility::of(caller);
        self.store.read(|tx| {
            let within = scope.within(tx)?;
            Ok(tx.list_renewals(within.as_ref(), page)?)
        })
    }

    /// One right. Blocks.
    ///
    /// # Errors
    /// [`ChangeError`] if there is none for this caller.
    pub fn renewal(&self, caller: &Caller, id: Uuid) -> Result<Renewal, ChangeError> {
        let scope = Visibility::of(caller);
        self.store.read(|tx| renewal(tx, &scope, id))
    }

    /// The right of this id, if it is there at all: whoever wants a token by it is answered by [`Self::renew`]. Blocks.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot answer.
    pub fn renewal_to_use(&self, id: Uuid) -> Result<Option<Renewal>, StoreError> {
        self.store.read(|tx| tx.renewal(id))
    }

    /// Issues the next token by a right, by the same cycle as every token. `wanted` is the explicit request, if there is one;
    /// it must be what the right is for.
    ///
    /// # Errors
    /// [`IssueError`]; the uniform denial for a right that is not there, or not the caller's to use.
    pub async fn renew(
        &self,
        caller: &Caller,
        (id, right): (Uuid, Option<Renewal>),
        wanted: Option<TokenRequest>,
        keyed: Option<KeyedRequest>,
    ) -> Result<Issued, IssueError> {
        let Some(right) = right.filter(|right| right.is_for(caller)) else {
            let error = self.no_such_right(caller, id).await;
            self.count_failure(&error);
            return Err(error);
        };
        let wanted = Wanted {
            request: request_by(&right, wanted)?,
            account: right.account,
            renewal: Some(id),
            keyed,
        };
        self.issue_one(caller, wanted).await
    }

    /// Refuses a request by a right of an account that the caller may not ask for. The account does not learn of it, not
    /// even from the caller's own audit trail.
    ///
    /// # Errors
    /// The uniform denial, or that it could not be recorded.
    pub(super) async fn must_know_right(
        &self,
        caller: &Caller,
        ruled: &RuledRequest,
    ) -> Result<(), IssueError> {
        match (ruled.renewal, &ruled.policy) {
            (Some(id), Err(Denial::NotTheCallers)) => Err(self.no_such_right(caller, id).await),
            (Some(_) | None, _) => Ok(()),
        }
    }

    /// Records that a right was asked for which is not the caller's, if it is there at all.
    async fn no_such_right(&self, caller: &Caller, id: Uuid) -> IssueError {
        let event = event_by(caller, self.clock.now(), "renew");
        let work = |_: &mut Tx<'_>| Err::<(), _>(ChangeError::Forbidden);
        match self.change(event, id, work).await {
            Err(ChangeError::Store(error)) if !matches!(error, StoreError::ProofEnded) => {
                error.into()
            }
            Ok(()) | Err(_) => Denial::NotTheCallers.into(),
        }
    }
}

/// What is asked by a right: what is wanted, or else what the right itself pins.
fn request_by(right: &Renewal, wanted: Option<TokenRequest>) -> Result<TokenRequest, StoreError> {
    match wanted {
        // Perhaps in another spelling than that of the right, which the token repeats.
        Some(same) if right.covers(&same).is_ok() => {
            let lifetime = same.lifetime().unwrap_or(right.lifetime);
            Ok(same.with_lifetime(lifetime))
        }
        // Anything else is refused when it is decided, and is in the audit trail as it was asked.
        Some(other) => Ok(other),
        None => {
            let pinned = right.request();
            pinned.map_err(|e| StoreError::Corrupt(e.to_string()))
        }
    }
}

/// The right, of an account that the caller may know of.
fn renewal(tx: &mut Tx<'_>, scope: &Visibility, id: Uuid) -> Result<Renewal, ChangeError> {
    let not_found = || ChangeError::NotFound("renewal");
    let found = tx.renewal(id)?.ok_or_else(not_found)?;
    scope
        .account(tx, &found.account)?
        .ok_or_else(not_found)
        .map(|_| found)
}

/// The right to be written, if it may be given.
fn given(
    tx: &mut Tx<'_>,
    scope: &Visibility,
    new: &NewRenewal,
    (id, now): (Uuid, Time),
    by: &Caller,
) -> Result<Renewal, ChangeError> {
    let account = scope.must_manage(tx, &new.account)?;
    let loan = tx.delegation(new.delegation)?;
    let loan = loan.filter(|loan| loan.account == account.id);
    let loan = loan.ok_or(ChangeError::NotFound("delegation"))?;
    must_hold(&loan, &new.list, now)?;
    if let Some(end) = new.not_after.filter(|end| *end <= now) {
        return Err(ChangeError::Over(end));
    }
    if tx.count_renewals(&account.id, now)? >= MAX_RENEWALS {
        return Err(ChangeError::TooManyRenewals);
    }
    Ok(Renewal {
        id,
        account: account.id,
        delegation: new.delegation,
        list: new.list.clone(),
        fingerprint: new.fingerprint,
        lifetime: new.lifetime,
        not_after: new.not_after,
        caller: new.caller.clone(),
        created_at: now,
        created_by: by.id.clone(),
        revoked_at: None,
    })
}

/// A loan ends a right, so it must not have ended; and it must hold all numbers, since no other loan will be looked at.
fn must_hold(loan: &Delegation, list: &TnAuthList, now: Time) -> Result<(), ChangeError> {
    let is_over = loan.window.until().is_some_and(|end| end <= now);
    if is_over || loan.belief.superseded_at.is_some() {
        return Err(ChangeError::DelegationEnded);
    }
    if let Some(spc) = list.spcs().next() {
        return Err(ChangeError::SpcNotRenewed(spc.clone()));
    }
    let numbers = list.numbers()?;
    let missing = numbers
        .iter()
        .flat_map(|range| gaps(*range, [loan.numbers]));
    let missing: Vec<_> = missing.collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(ChangeError::NotOfTheDelegation(missing))
    }
}
