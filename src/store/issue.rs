//! Minting as data: a batch of orders is three steps. Load the facts of all of them, one query a table; decide each, which
//! is pure; write what was granted and every audit event, one statement a table.

use std::sync::Arc;

use serde_json::json;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::actor::Acting;
use super::again;
use super::error::StoreError;
use super::facts::load;
use super::tables::audit_events::{AuditEvent, with_trace};
use super::tables::idempotency_keys::{Attempt, Met, Repeated};
use super::tx::Tx;
use crate::domain::accounts::account::LifetimeMode;
use crate::domain::clock::Time;
use crate::domain::decision::policy_trace::Deciding;
use crate::domain::decision::{self, Decision, Facts, Question, Standing};
use crate::domain::inventory::RowRef;
use crate::domain::signing::chain::Candidate;
use crate::domain::tokens::grant::{Grant, Jti, Justification};
use crate::domain::{AccountId, Denial, Dialect, Spc, TokenRequest};

/// How many characters of a refused list are kept.
const LONGEST_REFUSED: usize = 512;

/// An order for a token, ready to be decided and recorded.
#[derive(Debug, Clone)]
pub struct Order {
    pub account: AccountId,
    pub request: TokenRequest,
    pub jti: Jti,
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
    /// Who asks; it must still be proven when this is decided.
    pub acting: Acting,
    pub audit_id: Uuid,
    /// What policy said already; a denial is only recorded.
    pub policy: Result<(), Denial>,
    /// Which policies said so.
    pub policies: Deciding,
    /// The request that it is for, if that may come again.
    pub attempt: Option<Attempt>,
    /// The standing right that it is asked by, which must still hold when this is decided.
    pub renewal: Option<Uuid>,
}

/// What becomes of an order: it is decided, or its request was here before.
pub(super) type Outcome = Result<Result<Grant, Denial>, Repeated>;

impl Order {
    /// What the order asks, of an account whose tokens live in this way.
    pub fn question(&self, mode: LifetimeMode) -> Question<'_> {
        Question {
            account: &self.account,
            request: &self.request,
            now: self.now,
            until: self.until(mode),
            minimum: self.minimum,
            chains: &self.chains,
        }
    }

    /// The latest expiry for an account in this mode; a lifetime that was asked for is the asker's own bound.
    pub(super) fn until(&self, mode: LifetimeMode) -> Time {
        match (mode, self.request.lifetime()) {
            (LifetimeMode::GrantHorizon, None) => self.horizon,
            (LifetimeMode::GrantHorizon | LifetimeMode::Proof, _) => self.until,
        }
    }

    pub(super) fn decide(&self, facts: &Facts) -> Result<Grant, Denial> {
        if let Err(denial) = &self.policy {
            // What is malformed for the account is told before what a policy says of it, but not to strangers.
            if facts.standing == Standing::Good {
                let in_dialect = self.request.is_in(facts.dialect);
                in_dialect.map_err(Denial::NotStrict)?;
            }
            return Err(denial.clone());
        }
        let decision = match self.renewal {
            None => decision::decide(&self.question(facts.lifetime), facts)?,
            Some(_) => self.decide_by_right(facts)?,
        };
        Ok(Grant {
            jti: self.jti.clone(),
            account: self.account.clone(),
            tkvalue: self.request.tkvalue().clone(),
            dialect: facts.dialect,
            ca: self.request.ca(),
            fingerprint: self.request.fingerprint(),
            issued_at: self.now,
            expires_at: decision.expires_at,
            chain: decision.chain,
            caller: self.acting.caller().to_owned(),
            request_id: self.acting.request_id(),
            justified_by: decision.justified_by,
            policies: self.policies.clone(),
            withdrawal: None,
        })
    }

    /// Whether no fact could change the answer.
    pub(super) fn is_settled(&self) -> bool {
        match &self.policy {
            Ok(()) => false,
            Err(Denial::NotTheCallers) => true,
            Err(_) => self.request.is_in(Dialect::Strict).is_ok(),
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

    /// What the trail says of an order, unless it was decided before.
    fn event(&self, met: &Met, outcome: &Outcome) -> Option<AuditEvent> {
        let (word, mut detail) = match outcome {
            Ok(Ok(grant)) if met.recorded().is_some() => (
                "done",
                json!({ "jti": grant.jti, "expires": grant.expires_at, "again": true }),
            ),
            Ok(Ok(grant)) => (
                "done",
                json!({ "jti": grant.jti, "expires": grant.expires_at }),
            ),
            Err(ended @ Repeated::GrantEnded) => (
                "grant-ended",
                json!({ "jti": met.recorded(), "reason": ended.to_string() }),
            ),
            Err(Repeated::Answered(_) | Repeated::InFlight | Repeated::OtherRequest) => {
                return None;
            }
            Ok(Err(denial)) => (
                denial.code(),
                json!({
                    "tktype": self.request.tkvalue().tktype(),
                    "tkvalue": shortened(&self.request.tkvalue().text()),
                    "ca": self.request.ca(),
                    "lifetime": self.request.lifetime(),
                    "reason": denial.to_string(),
                }),
            ),
        };
        self.policies.tell(&mut detail);
        if let (Some(right), Some(members)) = (self.renewal, detail.as_object_mut()) {
            members.insert("renewal".to_owned(), json!(right));
        }
        Some(AuditEvent {
            id: self.audit_id,
            at: self.now,
            caller: self.acting.caller().to_owned(),
            action: "issue".to_owned(),
            subject: self.account.to_string(),
            outcome: word.to_owned(),
            detail: with_trace(detail, self.acting.trace()),
            request_id: self.acting.request_id(),
            account: match &self.policy {
                // Somebody else's account: its people are not told who has tried.
                Err(Denial::NotTheCallers) => self.acting.account().cloned(),
                Ok(()) | Err(_) => Some(self.account.clone()),
            },
            caller_account: self.acting.account().cloned(),
        })
    }
}

/// A refused list as the trail keeps it: whoever may ask must not be able to fill the database with what is refused.
fn shortened(tkvalue: &str) -> String {
    match tkvalue.get(..LONGEST_REFUSED) {
        Some(start) if tkvalue.len() > LONGEST_REFUSED => {
            let digest = hex::encode(Sha256::digest(tkvalue));
            format!("{start}.. ({} characters, SHA-256 {digest})", tkvalue.len())
        }
        Some(_) | None => tkvalue.to_owned(),
    }
}

/// Decides and records a batch of orders; one answer each, in their order. Orders that touch very many rows may be left
/// over at the end, for which there are no answers; never the first.
pub(super) fn decide_and_record(
    tx: &mut Tx<'_>,
    orders: &[&Order],
) -> Result<Vec<Outcome>, StoreError> {
    let facts = load(tx, orders)?;
    // The others come again, in another transaction.
    let orders = &orders[..facts.len().min(orders.len())];
    let acting: Vec<&Acting> = orders.iter().map(|order| &order.acting).collect();
    let ended = tx.ended(&acting)?;
    let attempts: Vec<_> = orders.iter().map(|order| order.attempt.as_ref()).collect();
    let met = tx.met(&attempts)?;
    let recorded = again::recorded_before(tx, &met)?;
    let asked = orders.iter().zip(&facts).zip(&met).zip(ended);
    let mut outcomes: Vec<Outcome> = asked
        .map(|(((order, facts), met), ended)| match (ended, met) {
            // Before anything else, so that nobody is told more than that.
            (Some(ended), _) => Ok(Err(Denial::ProofEnded(ended))),
            (None, Met::New | Met::Old { jti: None, .. }) => Ok(order.decide(facts)),
            (None, Met::Old { jti: Some(jti), .. }) => {
                again::decide(order, facts, recorded.get(jti))
            }
            (None, Met::Before(repeated)) => Err(repeated.clone()),
        })
        .collect();
    again::take_keys(tx, orders, &met, &mut outcomes)?;

    let new = outcomes.iter().zip(&met);
    let granted: Vec<&Grant> = new
        .filter(|(_, met)| met.recorded().is_none())
        .filter_map(|(outcome, _)| outcome.as_ref().ok()?.as_ref().ok())
        .collect();
    if !granted.is_empty() {
        tx.insert_grants(&granted)?;
    }
    let events = orders.iter().zip(&met).zip(&outcomes);
    let events: Vec<AuditEvent> = events
        .filter_map(|((order, met), outcome)| order.event(met, outcome))
        .collect();
    if !events.is_empty() {
        tx.insert_audit_events(&events)?;
    }
    Ok(outcomes)
}

impl Tx<'_> {
    /// What an order would be answered, and on what facts. Records nothing.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot answer.
    pub fn explain(&mut self, order: &Order) -> Result<(Result<Grant, Denial>, Facts), StoreError> {
        // The facts are worth knowing also where a policy says no.
        let asked = Order {
            policy: Ok(()),
            ..order.clone()
        };
        let facts = load(self, &[&asked])?.pop().unwrap_or_default();
        Ok((order.decide(&facts), facts))
    }
}
