//! The verbs of the service, one in each file. A verb checks the caller's role, decides in one
//! transaction, and writes its audit event in the same transaction.
//!
//! Every rule of the domain is enforced here or in `domain::decision`; `api` only parses and
//! renders.

mod accounts;
mod acquisition;
mod allocate;
mod ask_policies;
mod audited;
mod control;
mod delegate;
mod departures;
mod disconnect;
mod error;
mod exclude;
mod explain;
mod idempotency;
pub mod import;
mod issue;
mod met;
mod number_history;
mod policy;
mod queries;
mod rate_limits;
mod readiness;
mod redact;
mod renewals;
mod scope;
mod signers;
mod undo;
mod webhooks;
mod withdraw;
mod withdrawal_feed;

pub use accounts::NewAccount;
pub use allocate::NewAllocation;
pub use control::{
    AssignedCode, AttemptResult, CannotStart, CodeReceipt, Confirmation, ControlParts,
    ControlSettings, FailureFeed, NewControlProofs, OutboxSignal, ProofLimit, ProofLimits,
    ReferenceClock, RefusedCode, RefusedStart, ReproofRun, StartCause,
};
pub use delegate::NewDelegation;
pub use departures::{DelegationStatus, EndedDelegation, EndedDelegations, EndedPart};
pub use disconnect::{AgingDays, Disconnected, NewDisconnect};
pub use error::ChangeError;
pub use exclude::NewExclusion;
pub use explain::{ExplainRequest, Explained};
pub use idempotency::ChangeRequester;
pub use issue::{IssueError, Issued};
pub use met::{Excluded, Met};
pub use number_history::NumberHistory;
pub use policy::{
    Action, ActivePolicySet, MintContext, PolicyError, PolicyFault, PolicyReport, PolicySet,
    PolicyWatch, ReportLine, Ruling, TokenContext,
};
pub use rate_limits::{Limit, LimitClock, Limits, Rate, TooMany};
pub use readiness::{CheckResult, ReadinessCheck, ReadinessReport, ReadinessSettings};
pub use renewals::{NewRenewal, NewReproofing};
pub use signers::{DistrustedKey, Listed, ListedChain, Rotation, Signers};
pub use signers::{of_certificate, of_key, refusal};
pub use undo::{
    Mistake, Restored, RestoredDelegations, StillBlocked, UndoResult, UndoneAmounts, UndoneImport,
};
pub use webhooks::deliveries::{Assignment, FeedItems};
pub use webhooks::subscriptions::NewWebhook;
pub use withdraw::{Outstanding, Withdrawing};
pub use withdrawal_feed::{Feed, GrantStatus};

// Re-exported so that `api` need not depend on the store, the signer and the verifier.
pub use crate::signer::published_chain::Published;
pub use crate::signer::{RefusedFile, ScanMode};
pub use crate::store::{
    ClientPresence, EventFilter, GrantFilter, Page, PageOf, StoreError, WaitBudget,
};
pub use crate::verifier::check_account_key;

use std::sync::Arc;
use std::time::Duration;

use crate::domain::clock::Time;
use crate::domain::{AccountId, Caller, Clock, Spc, TkType, Window, new_id};
use crate::store::{Store, Tx};
use crate::telemetry::Metrics;
use readiness::Readiness;
use scope::Visibility;

/// The carrier that runs the service.
#[derive(Debug, Clone, Default)]
pub struct Carrier {
    /// Its service provider codes. If none is configured, as for the command line with an embedded
    /// database, the inventory accepts any code, and tokens are issued for none.
    pub spcs: Vec<Spc>,
    /// Its own account, the only one that can get tokens for a service provider code.
    pub account: Option<AccountId>,
}

/// Lifetimes of tokens, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Lifetimes {
    /// For a request that sets none.
    pub default: u32,
    /// The shortest lifetime that is worth a signature.
    pub minimum: u32,
    /// The longest that a request can set. A policy can be stricter.
    pub maximum: u32,
    /// The longest in grant-horizon mode.
    pub horizon: u32,
}

/// The dependencies of an [`Authority`].
#[derive(Debug)]
pub struct Parts {
    pub store: Arc<Store>,
    pub policy: ActivePolicySet,
    /// `None`, as at the command line: no tokens are issued.
    pub signers: Option<Arc<Signers>>,
    pub clock: Clock,
    pub carrier: Carrier,
    pub lifetimes: Lifetimes,
    pub aging: AgingDays,
    pub limits: Limits,
    /// Whether JWTClaimConstraints tokens are issued at all.
    pub claim_constraints: bool,
    pub control: ControlParts,
    pub readiness: ReadinessSettings,
    pub metrics: Arc<Metrics>,
}

/// Decides what is granted, and maintains the inventory and the ledger.
#[derive(Debug)]
pub struct Authority {
    store: Arc<Store>,
    policy: ActivePolicySet,
    signers: Option<Arc<Signers>>,
    clock: Clock,
    carrier: Carrier,
    lifetimes: Lifetimes,
    aging: AgingDays,
    limits: Limits,
    claim_constraints: bool,
    control: ControlParts,
    readiness: Readiness,
    metrics: Arc<Metrics>,
}

impl Authority {
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let readiness = Readiness::new(parts.readiness, parts.clock.now());
        Self {
            store: parts.store,
            policy: parts.policy,
            signers: parts.signers,
            clock: parts.clock,
            carrier: parts.carrier,
            lifetimes: parts.lifetimes,
            aging: parts.aging,
            limits: parts.limits,
            claim_constraints: parts.claim_constraints,
            control: parts.control,
            readiness,
            metrics: parts.metrics,
        }
    }

    #[must_use]
    pub const fn store(&self) -> &Arc<Store> {
        &self.store
    }

    #[must_use]
    pub const fn policies(&self) -> &ActivePolicySet {
        &self.policy
    }

    /// How long one request may wait for the database.
    #[must_use]
    pub fn wait_budget(&self) -> WaitBudget {
        self.store.wait_budget()
    }

    /// How long an order waits for its transaction that is taken after this number of others.
    #[must_use]
    pub fn expected_wait(&self, ahead: usize) -> Duration {
        self.store.expected_wait(ahead)
    }

    #[must_use]
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    #[must_use]
    pub const fn carrier(&self) -> &Carrier {
        &self.carrier
    }

    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    #[must_use]
    pub const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Whether this process can sign. The command line cannot.
    #[must_use]
    pub const fn signs(&self) -> bool {
        self.signers.is_some()
    }

    /// The background tasks that have ended, although the service needs them. Policies or
    /// certificates may no longer be up to date then.
    #[must_use]
    pub fn ended_tasks(&self) -> Vec<&'static str> {
        self.metrics.background.ended()
    }

    /// The token type of this name, if this service issues such tokens.
    #[must_use]
    pub fn tktype(&self, name: &str) -> Option<TkType> {
        name.parse().ok().filter(|tktype| match tktype {
            TkType::TnAuthList => true,
            TkType::JwtClaimConstraints => self.claim_constraints,
        })
    }

    /// Refuses an action that the caller's role or the policies do not allow. A reseller
    /// can never provision, which is for the carrier alone: no policy can change that.
    pub fn require(&self, caller: &Caller, action: Action) -> Result<(), ChangeError> {
        let in_scope = match action {
            Action::Read | Action::Manage => true,
            Action::Provision => Visibility::of(caller) == Visibility::Everything,
        };
        let ruling = self.policy.in_force().may(caller, action);
        policy::log_failure(&ruling.by);
        if in_scope && ruling.verdict.is_ok() {
            Ok(())
        } else {
            Err(ChangeError::Forbidden)
        }
    }

    /// Changes what the service maintains on its own initiative, without a caller.
    async fn change_as_service<T, E>(
        &self,
        name: &'static str,
        work: impl FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let service = Caller::the_service(new_id(self.clock.now()));
        self.store.change(self.actor(&service), name, work).await
    }
}

/// The window of a request: from now on unless it says otherwise. It must not have ended.
fn window(from: Option<Time>, until: Option<Time>, now: Time) -> Result<Window, ChangeError> {
    let window = Window::new(from.unwrap_or(now), until)?;
    match window.until() {
        Some(until) if until <= now => Err(ChangeError::Over(until)),
        _ => Ok(window),
    }
}
