//! Renewal rights: given, revoked, used. A right allows short-lived tokens for the same numbers and
//! the same key until the delegation ends.

use serde_json::json;
use uuid::Uuid;

use super::audited::event_by;
use super::control::record_cancelled;
use super::departures::KnownDepartures;
use super::issue::IssueRequest;
use super::scope::Visibility;
use super::{Action, Authority, ChangeError, ChangeRequester, IssueError, Issued};
use crate::domain::clock::Time;
use crate::domain::control::facts::MAX_NUMBERS;
use crate::domain::control::proof::{Method, ProofEnd};
use crate::domain::control::reproofing::Reproofing;
use crate::domain::control::sample::ProvenParts;
use crate::domain::inventory::Delegation;
use crate::domain::issuance::{KeyedRequest, RuledRequest};
use crate::domain::numbers::range_set::{gaps, merged};
use crate::domain::tokens::renewal::Renewal;
use crate::domain::{
    AccountId, AuditAction, Caller, Denial, Fingerprint, Role, TnAuthList, TokenRequest, new_id,
};
use crate::store::{Page, PageOf, StoreError, Tx};

/// How many rights one account can have in use.
const MAX_RENEWALS: i64 = 1_000;

/// A renewal right to be given.
#[derive(Debug, Clone)]
pub struct NewRenewal {
    pub account: AccountId,
    pub delegation: Uuid,
    pub list: TnAuthList,
    pub fingerprint: Fingerprint,
    pub lifetime: u32,
    pub not_after: Option<Time>,
    pub caller: Option<String>,
    /// How control of its numbers is proven again; `None` if it is not.
    pub control: Option<NewReproofing>,
}

/// How control of the numbers of a right is to be proven again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewReproofing {
    pub method: Method,
    /// In seconds; within [`Reproofing::MAX_AGES`].
    pub max_age: u32,
}

impl Authority {
    /// Gives an account a renewal right.
    ///
    /// # Errors
    /// If there is no such account or delegation, or the delegation has ended or does not cover all
    /// numbers of the tokens.
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
        let sample = new.control.map(|control| self.may_reproof(control));
        let sample = sample.transpose()?;
        let event = event_by(caller, now, AuditAction::AllowRenewal).about(&new.account);
        let (id, subject) = (new_id(now), new.account.clone());
        let recorded = event.clone();
        let work = move |tx: &mut Tx<'_>| {
            let renewal = checked_renewal(tx, &scope, (&new, sample), (id, now), event.caller())?;
            tx.insert_renewal(&renewal)?;
            let detail = json!({
                "account": renewal.account, "delegation": renewal.delegation,
                "tkvalue": renewal.list.to_tkvalue(), "fingerprint": renewal.fingerprint.to_string(),
                "lifetime": renewal.lifetime, "not_after": renewal.not_after, "for": renewal.caller,
                "control": renewal.control.as_ref().map(|control| json!({ "method": control.method, "max_age": control.max_age })),
            });
            tx.record(&event.done(&id, detail))?;
            Ok(renewal)
        };
        self.change_by(by, recorded, subject, work).await
    }

    /// Refuses what the service could not prove again. Returns how long samples are.
    fn may_reproof(&self, control: NewReproofing) -> Result<u32, ChangeError> {
        if !Reproofing::MAX_AGES.contains(&control.max_age) {
            return Err(ChangeError::ReproofingAge(Reproofing::MAX_AGES));
        }
        let settings = &self.control.settings;
        if settings.gateway(control.method).is_none() {
            return Err(ChangeError::NoGateway(control.method));
        }
        Ok(settings.sample)
    }

    /// Revokes a right: it yields no more tokens. Those already issued verify until they expire.
    /// The account itself can give up its own right. Idempotent.
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
        let event = event_by(caller, now, AuditAction::RevokeRenewal);
        let recorded = event.clone();
        let work = move |tx: &mut Tx<'_>| {
            let mut renewal = renewal(tx, &scope, id)?;
            if renewal.revoked_at.is_none() {
                tx.revoke_renewal(id, now)?;
                renewal.revoked_at = Some(now);
                // No code is sent any more for what needs no proof.
                let how = (ProofEnd::RenewalRevoked, now);
                let ended = tx.end_pending_proofs_for(id, how)?;
                record_cancelled(tx, &event, &ended)?;
                let event = event.about(&renewal.account);
                tx.record(&event.done(&id, json!({ "account": renewal.account })))?;
            }
            Ok(renewal)
        };
        self.change_by(by, recorded, id, work).await
    }

    /// A page of the rights that the caller may see. Blocks.
    pub fn renewals(&self, caller: &Caller, page: &Page) -> Result<PageOf<Renewal>, ChangeError> {
        let scope = Visibility::of(caller);
        self.store.read(|tx| {
            let within = scope.within(tx)?;
            Ok(tx.list_renewals(within.as_ref(), page)?)
        })
    }

    /// One right. Blocks.
    pub fn renewal(&self, caller: &Caller, id: Uuid) -> Result<Renewal, ChangeError> {
        let scope = Visibility::of(caller);
        self.store.read(|tx| renewal(tx, &scope, id))
    }

    /// The right with this id, without a check of the caller: [`Self::renew`] makes that check, and
    /// audits a refusal. Blocks.
    pub fn renewal_to_use(&self, id: Uuid) -> Result<Option<Renewal>, StoreError> {
        self.store.read(|tx| tx.renewal(id))
    }

    /// Issues the next token of a right, through the same cycle as every token. `requested` is the
    /// explicit request, if the body had one; it must match the right.
    ///
    /// # Errors
    /// The uniform denial if the right does not exist, or is not the caller's to use.
    pub async fn renew(
        &self,
        caller: &Caller,
        (id, right): (Uuid, Option<Renewal>),
        requested: Option<TokenRequest>,
        keyed: Option<KeyedRequest>,
    ) -> Result<Issued, IssueError> {
        let Some(right) = right.filter(|right| right.is_for(caller)) else {
            let error = self.refuse_unknown_renewal(caller, id).await;
            self.count_failure(&error);
            return Err(error);
        };
        let requested = IssueRequest {
            token: request_to_decide(&right, requested)?,
            account: right.account,
            renewal: Some(id),
            keyed,
        };
        self.issue_one(caller, requested).await
    }

    /// Refuses a renewal for an account that the caller may not act for. The audit event does not
    /// name the account, so the account does not learn of the attempt.
    ///
    /// # Errors
    /// The uniform denial, or the failure to record it.
    pub(super) async fn must_know_renewal(
        &self,
        caller: &Caller,
        ruled: &RuledRequest,
    ) -> Result<(), IssueError> {
        match (ruled.renewal, &ruled.policy) {
            (Some(id), Err(Denial::NotTheCallers)) => {
                Err(self.refuse_unknown_renewal(caller, id).await)
            }
            (Some(_) | None, _) => Ok(()),
        }
    }

    /// Records an attempt to use a right that does not exist or is not the caller's.
    async fn refuse_unknown_renewal(&self, caller: &Caller, id: Uuid) -> IssueError {
        let event = event_by(caller, self.clock.now(), AuditAction::Renew);
        let work = |_: &mut Tx<'_>| Err::<(), _>(ChangeError::Forbidden);
        match self.change(event, id, work).await {
            Err(ChangeError::Store(error)) if !matches!(error, StoreError::ProofEnded) => {
                error.into()
            }
            Ok(()) | Err(_) => Denial::NotTheCallers.into(),
        }
    }
}

/// The request to decide: the explicit one, or else what the right itself pins.
fn request_to_decide(
    right: &Renewal,
    requested: Option<TokenRequest>,
) -> Result<TokenRequest, StoreError> {
    match requested {
        // It may spell the same list differently; the token repeats that spelling.
        Some(same) if right.covers(&same).is_ok() => {
            let lifetime = same.lifetime().unwrap_or(right.lifetime);
            Ok(same.with_lifetime(lifetime))
        }
        // A request that does not match is denied by the decision, so that the audit trail has it.
        Some(other) => Ok(other),
        None => {
            let pinned = right.request();
            pinned.map_err(|e| StoreError::Corrupt(e.to_string()))
        }
    }
}

/// The right, if the caller may see its account.
fn renewal(tx: &mut Tx<'_>, scope: &Visibility, id: Uuid) -> Result<Renewal, ChangeError> {
    let not_found = || ChangeError::NotFound("renewal");
    let found = tx.renewal(id)?.ok_or_else(not_found)?;
    scope
        .account(tx, &found.account)?
        .ok_or_else(not_found)
        .map(|_| found)
}

/// Checks what a right requires, and builds it.
fn checked_renewal(
    tx: &mut Tx<'_>,
    scope: &Visibility,
    (new, sample): (&NewRenewal, Option<u32>),
    (id, now): (Uuid, Time),
    by: &Caller,
) -> Result<Renewal, ChangeError> {
    let account = scope.must_manage(tx, &new.account)?;
    let delegation = tx.delegation(new.delegation)?;
    let delegation = delegation.filter(|delegation| delegation.account == account.id);
    let delegation = delegation.ok_or(ChangeError::NotFound("delegation"))?;
    must_cover(&delegation, &new.list, now)?;
    let numbers = new.list.numbers()?;
    let left = KnownDepartures::all_touching(tx, &numbers)?;
    let start = delegation.window.from().max(now);
    let numbers = numbers.into_iter();
    let missing: Vec<_> = numbers
        .flat_map(|range| left.missing(&delegation, range, start))
        .collect();
    if !missing.is_empty() {
        return Err(ChangeError::NotOfTheDelegation(missing));
    }
    if let Some(sample) = sample {
        let list = merged(new.list.numbers()?);
        if ProvenParts::of(&list, [delegation.numbers], sample).are_too_many() {
            return Err(ChangeError::TooLongToProve { most: MAX_NUMBERS });
        }
    }
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
        control: new.control.map(|control| Reproofing {
            method: control.method,
            max_age: control.max_age,
            // At once, unless the numbers were proven before.
            due_at: Some(now),
        }),
    })
}

/// The right ends with this delegation, so the delegation must not have ended, and must cover all
/// numbers: renewals consult no other delegation.
fn must_cover(delegation: &Delegation, list: &TnAuthList, now: Time) -> Result<(), ChangeError> {
    let is_over = delegation.window.until().is_some_and(|end| end <= now);
    if is_over || delegation.belief.superseded_at.is_some() {
        return Err(ChangeError::DelegationEnded);
    }
    if let Some(spc) = list.spcs().next() {
        return Err(ChangeError::SpcNotRenewed(spc.clone()));
    }
    let numbers = list.numbers()?;
    let missing = numbers
        .iter()
        .flat_map(|range| gaps(*range, [delegation.numbers]));
    let missing: Vec<_> = missing.collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(ChangeError::NotOfTheDelegation(missing))
    }
}
