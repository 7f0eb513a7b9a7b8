//! Step 1 of the issuance cycle: what the policies say of a request. A set that refers to rows is
//! only prepared here; it is asked in the transaction that records the grant.

use std::sync::Arc;

use chrono::TimeDelta;
use uuid::Uuid;

use super::policy::{self, MintContext, RulingInTransaction, TokenContext};
use super::{Authority, Lifetimes, Signers};
use crate::domain::clock::Time;
use crate::domain::decision::policy_trace::PolicyTrace;
use crate::domain::issuance::{DeferredRuling, RuledRequest};
use crate::domain::{AccountId, Caller, Denial, TokenRequest};

impl Authority {
    /// The request, with the ruling of the policies and everything else that a decision needs
    /// besides the facts.
    pub(super) fn rule(
        &self,
        caller: &Caller,
        account: AccountId,
        request: TokenRequest,
        renewal: Option<Uuid>,
    ) -> RuledRequest {
        let now = self.clock.now();
        let lifetime = self.lifetime_of(&request);
        let context = self.mint_context(&account, &request, renewal, now);
        let in_force = self.policy.in_force();
        let waits = in_force.row_inputs().any();
        let ruling = if waits {
            in_force.may_ask(caller, &context)
        } else {
            in_force.may_mint(caller, &context)
        };
        policy::log_failure(&ruling.by);
        let policies = match ruling.verdict {
            Ok(()) if waits => in_force.undecided(),
            Ok(()) | Err(_) => ruling.by,
        };
        let policy = ruling
            .verdict
            .and_then(|()| self.must_be_within_bounds(lifetime));
        let deferred = (waits && policy.is_ok()).then(|| DeferredRuling {
            policies: Arc::new(RulingInTransaction::new(in_force, caller, &context)),
            sample: self.control.settings.sample,
            bits: None,
        });
        let signers = self.signers.as_deref();
        RuledRequest {
            now,
            until: now + TimeDelta::seconds(lifetime.into()),
            horizon: now + TimeDelta::seconds(self.lifetimes.horizon.into()),
            minimum: self.lifetimes.minimum,
            chains: signers.map(Signers::candidates).unwrap_or_default(),
            iss: signers.map(Signers::issuer),
            spcs: self.carrier.spcs.clone(),
            actor: self.actor(caller),
            policy,
            policies,
            deferred,
            renewal,
            account,
            request,
        }
    }

    /// The request as policies see it.
    pub(super) fn mint_context<'a>(
        &self,
        account: &'a AccountId,
        request: &TokenRequest,
        renewal: Option<Uuid>,
        now: Time,
    ) -> MintContext<'a> {
        MintContext {
            account,
            is_carrier: self.carrier.account.as_ref() == Some(account),
            token: TokenContext {
                renewal: renewal.is_some(),
                ..TokenContext::of(request, self.lifetime_of(request), now)
            },
            rows: None,
        }
    }

    fn lifetime_of(&self, request: &TokenRequest) -> u32 {
        request.lifetime().unwrap_or(self.lifetimes.default)
    }

    /// Refuses a lifetime outside the configured bounds. No policy can widen them.
    fn must_be_within_bounds(&self, lifetime: u32) -> Result<(), Denial> {
        let Lifetimes {
            minimum, maximum, ..
        } = self.lifetimes;
        let detail = if lifetime < minimum {
            format!("the lifetime must be at least {minimum} seconds")
        } else if lifetime > maximum {
            format!("the lifetime must be at most {maximum} seconds")
        } else {
            return Ok(());
        };
        Err(Denial::Policy {
            code: "lifetime-not-allowed".to_owned(),
            detail,
            by: PolicyTrace::default(),
        })
    }
}
