//! An order for a token: complete and immutable, so that it can be decided in whatever transaction its turn comes.

use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::decided::Decided;
use super::replay::{KeyStatus, KeyedRequest, Replay};
use crate::domain::accounts::account::{AccountId, LifetimeMode};
use crate::domain::accounts::dialect::Dialect;
use crate::domain::audit::{AuditEvent, with_trace};
use crate::domain::clock::Time;
use crate::domain::credentials::Actor;
use crate::domain::decision::denial::Denial;
use crate::domain::decision::policy_trace::PolicyTrace;
use crate::domain::decision::{self, AccountStanding, Decision, Facts, Question};
use crate::domain::inventory::RowRef;
use crate::domain::numbers::spc::Spc;
use crate::domain::signing::chain::Candidate;
use crate::domain::tokens::claims::TokenRequest;
use crate::domain::tokens::grant::{Grant, Jti, Justification};

/// How many characters of a refused list the audit trail keeps.
const MAX_REFUSED: usize = 512;

/// A request that policy has ruled on: with the facts, all that a decision needs.
#[derive(Debug, Clone)]
pub struct RuledRequest {
    pub account: AccountId,
    pub request: TokenRequest,
    pub now: Time,
    /// The expiry that the request allows.
    pub until: Time,
    /// The expiry in grant-horizon mode, for a request that names no lifetime.
    pub horizon: Time,
    /// The shortest lifetime of a token, in seconds.
    pub minimum: u32,
    /// The chains of which one will sign.
    pub chains: Arc<[Candidate]>,
    /// Service provider codes of the carrier.
    pub spcs: Vec<Spc>,
    /// Who asks; the credential must still be valid when this is decided.
    pub actor: Actor,
    /// What policy says; a denial is only recorded.
    pub policy: Result<(), Denial>,
    /// Which policies say so.
    pub policies: PolicyTrace,
    /// The right to renew that it is asked by, which must still be in force when this is decided.
    pub renewal: Option<Uuid>,
}

/// An order for a token, ready to be decided and recorded.
#[derive(Debug, Clone)]
pub struct MintOrder {
    pub ruled: RuledRequest,
    pub jti: Jti,
    pub audit_id: Uuid,
    /// The idempotency key that it came with.
    pub keyed: Option<KeyedRequest>,
}

impl RuledRequest {
    /// What it asks, of an account whose tokens have this lifetime mode.
    #[must_use]
    pub fn question(&self, mode: LifetimeMode) -> Question<'_> {
        Question {
            account: &self.account,
            request: &self.request,
            now: self.now,
            until: self.latest_expiry(mode),
            minimum: self.minimum,
            chains: &self.chains,
        }
    }

    /// The latest expiry for an account in this mode; a lifetime that was asked for is the caller's own bound.
    #[must_use]
    pub fn latest_expiry(&self, mode: LifetimeMode) -> Time {
        match (mode, self.request.lifetime()) {
            (LifetimeMode::GrantHorizon, None) => self.horizon,
            (LifetimeMode::GrantHorizon | LifetimeMode::Proof, _) => self.until,
        }
    }

    /// Whether no fact could change the answer.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        match &self.policy {
            Ok(()) => false,
            Err(Denial::NotTheCallers) => true,
            Err(_) => self.request.is_in(Dialect::Strict).is_ok(),
        }
    }

    /// The decision on these facts (RFC 9448 §5.6).
    ///
    /// # Errors
    /// The [`Denial`] of policy or of the rule of authority.
    pub fn decide(&self, facts: &Facts) -> Result<Decision, Denial> {
        if let Err(denial) = &self.policy {
            // That a request is malformed for the account comes before what policy says of it, but not for strangers.
            if facts.standing == AccountStanding::Good {
                let in_dialect = self.request.is_in(facts.dialect);
                in_dialect.map_err(Denial::NotStrict)?;
            }
            return Err(denial.clone());
        }
        match self.renewal {
            None => decision::decide(&self.question(facts.lifetime), facts),
            Some(_) => self.decide_by_right(facts),
        }
    }

    /// The same as any decision, on what the right leaves of the question and of the facts.
    fn decide_by_right(&self, facts: &Facts) -> Result<Decision, Denial> {
        let right = facts.renewal.as_ref().ok_or(Denial::RenewalEnded)?;
        right.covers(&self.request)?;
        let facts = right.narrowed(facts, self.now)?;
        let question = self.question(facts.lifetime);
        let until = right.capped(question.until);
        let mut decision = decision::decide(&Question { until, ..question }, &facts)?;
        decision.justified_by.push(Justification::Renewal(RowRef {
            id: right.id,
            version: 1,
        }));
        Ok(decision)
    }
}

impl MintOrder {
    /// The lane in which it waits for the writer.
    #[must_use]
    pub fn lane(&self) -> String {
        self.ruled.actor.lane_for(&self.ruled.account)
    }

    /// The grant that these facts justify.
    ///
    /// # Errors
    /// The [`Denial`] of policy or of the rule of authority.
    pub fn decide(&self, facts: &Facts) -> Result<Grant, Denial> {
        let ruled = &self.ruled;
        let decision = ruled.decide(facts)?;
        Ok(Grant {
            jti: self.jti.clone(),
            account: ruled.account.clone(),
            tkvalue: ruled.request.tkvalue().clone(),
            dialect: facts.dialect,
            ca: ruled.request.ca(),
            fingerprint: ruled.request.fingerprint(),
            issued_at: ruled.now,
            expires_at: decision.expires_at,
            chain: decision.chain,
            caller: ruled.actor.caller().to_owned(),
            request_id: ruled.actor.request_id(),
            justified_by: decision.justified_by,
            policies: ruled.policies.clone(),
            withdrawal: None,
        })
    }

    /// What the audit trail says of it; nothing, if it was decided before.
    #[must_use]
    pub fn event(&self, key: &KeyStatus, decided: &Decided) -> Option<AuditEvent> {
        let ruled = &self.ruled;
        let (outcome, mut detail) = match decided {
            Decided::Granted(grant) if key.recorded().is_some() => (
                "done",
                json!({ "jti": grant.jti, "expires": grant.expires_at, "again": true }),
            ),
            Decided::Granted(grant) => (
                "done",
                json!({ "jti": grant.jti, "expires": grant.expires_at }),
            ),
            Decided::Denied(denial) => (denial.code(), self.refused(denial)),
            Decided::Replayed(ended @ Replay::GrantEnded) => (
                "grant-ended",
                json!({ "jti": key.recorded(), "reason": ended.to_string() }),
            ),
            Decided::Replayed(Replay::Answered(_) | Replay::InFlight | Replay::OtherRequest) => {
                return None;
            }
        };
        ruled.policies.add_to(&mut detail);
        if let (Some(right), Some(members)) = (ruled.renewal, detail.as_object_mut()) {
            members.insert("renewal".to_owned(), json!(right));
        }
        Some(AuditEvent {
            id: self.audit_id,
            at: ruled.now,
            caller: ruled.actor.caller().to_owned(),
            action: "issue".to_owned(),
            subject: ruled.account.to_string(),
            outcome: outcome.to_owned(),
            detail: with_trace(detail, ruled.actor.trace()),
            request_id: ruled.actor.request_id(),
            account: match &ruled.policy {
                // Another tenant's account: its people do not learn who has tried.
                Err(Denial::NotTheCallers) => ruled.actor.account().cloned(),
                Ok(()) | Err(_) => Some(ruled.account.clone()),
            },
            caller_account: ruled.actor.account().cloned(),
        })
    }

    fn refused(&self, denial: &Denial) -> Value {
        let request = &self.ruled.request;
        json!({
            "tktype": request.tkvalue().tktype(),
            "tkvalue": shortened(&request.tkvalue().text()),
            "ca": request.ca(),
            "lifetime": request.lifetime(),
            "reason": denial.to_string(),
        })
    }
}

/// A refused list as the audit trail keeps it: callers must not be able to fill the database with what is refused.
fn shortened(tkvalue: &str) -> String {
    match tkvalue.get(..MAX_REFUSED) {
        Some(start) if tkvalue.len() > MAX_REFUSED => {
            let digest = hex::encode(Sha256::digest(tkvalue));
            format!("{start}.. ({} characters, SHA-256 {digest})", tkvalue.len())
        }
        Some(_) | None => tkvalue.to_owned(),
    }
}
