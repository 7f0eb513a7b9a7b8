//! Orders for a token. An order is complete and immutable, so it can be decided in any later
//! transaction.

use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::decided::Decided;
use super::replay::{KeyStatus, KeyedRequest, Replay};
use super::row_facts::RowFacts;
use super::ruling::{DeferredRuling, Ruling};
use crate::domain::accounts::account::{AccountId, LifetimeMode};
use crate::domain::accounts::dialect::Dialect;
use crate::domain::audit::{AuditEvent, with_trace};
use crate::domain::audit_action::AuditAction;
use crate::domain::clock::Time;
use crate::domain::credentials::Actor;
use crate::domain::decision::denial::Denial;
use crate::domain::decision::policy_trace::PolicyTrace;
use crate::domain::decision::{self, AccountStanding, Decision, Facts, Question};
use crate::domain::inventory::RowRef;
use crate::domain::numbers::number::{NumberRange, Tn};
use crate::domain::numbers::range_set::merged;
use crate::domain::numbers::spc::Spc;
use crate::domain::signing::chain_choice::Candidate;
use crate::domain::tokens::claims::TokenRequest;
use crate::domain::tokens::fingerprint::Fingerprint;
use crate::domain::tokens::grant::{Grant, Jti, Justification};
use crate::domain::tokens::tn_auth_list::{TnAuthList, TnAuthListError, TnEntry};

/// The most characters of a refused list that the audit trail keeps.
const MAX_REFUSED: usize = 512;

/// A request that policies have ruled on. Together with the facts, it is all that a decision needs.
#[derive(Debug, Clone)]
pub struct RuledRequest {
    pub account: AccountId,
    pub request: TokenRequest,
    pub now: Time,
    /// The latest expiry that the request allows.
    pub until: Time,
    /// The expiry in grant-horizon mode, for a request that names no lifetime.
    pub horizon: Time,
    /// The shortest lifetime of a token, in seconds.
    pub minimum: u32,
    /// The certificate chains to choose from.
    pub chains: Arc<[Candidate]>,
    /// The `iss` of the authority; `None` without signers.
    pub iss: Option<Arc<str>>,
    /// Service provider codes of the carrier.
    pub spcs: Vec<Spc>,
    /// Who asks. The credential must still be valid when this is decided.
    pub actor: Actor,
    /// The ruling of the policies. A denial is still queued, so that it is recorded.
    pub policy: Result<(), Denial>,
    /// The policies that decided.
    pub policies: PolicyTrace,
    /// The ruling that is still to be made, of policies that refer to rows. Until then, `policy` is
    /// what is certain without them.
    pub deferred: Option<DeferredRuling>,
    /// The right to renew that the request uses, which must still be valid when this is decided.
    pub renewal: Option<Uuid>,
}

/// An order for a token, ready to be decided and recorded.
#[derive(Debug, Clone)]
pub struct MintOrder {
    pub ruled: RuledRequest,
    pub jti: Jti,
    pub audit_id: Uuid,
    /// The idempotency key of the request, if it has one.
    pub keyed: Option<KeyedRequest>,
}

impl RuledRequest {
    /// A question for the rule of authority about these numbers now, and not for a token. No policy
    /// is asked: a proof of control gives nothing that a policy could widen.
    ///
    /// # Errors
    /// If there are no numbers.
    pub fn for_numbers(
        (actor, spcs): (Actor, &[Spc]),
        account: &AccountId,
        numbers: &[Tn],
        now: Time,
    ) -> Result<Self, TnAuthListError> {
        let ranges = merged(numbers.iter().map(|n| NumberRange::from(*n)).collect());
        let entries = ranges.into_iter().map(TnEntry::try_from);
        let list = TnAuthList::from_entries(entries.collect::<Result<_, _>>()?)?;
        Self::for_list((actor, spcs), account, list, now)
    }

    /// The same about the numbers of a list.
    ///
    /// # Errors
    /// If there are no numbers.
    pub fn for_list(
        (actor, spcs): (Actor, &[Spc]),
        account: &AccountId,
        list: TnAuthList,
        now: Time,
    ) -> Result<Self, TnAuthListError> {
        // The fingerprint does not affect the decision.
        let request = TokenRequest::new(list, false, Fingerprint::from([0; 32]), None)?;
        let moment = now + TimeDelta::seconds(1);
        Ok(Self {
            account: account.clone(),
            request,
            now,
            until: moment,
            horizon: moment,
            minimum: 0,
            chains: Vec::new().into(),
            iss: None,
            spcs: spcs.to_vec(),
            actor,
            policy: Ok(()),
            policies: PolicyTrace::default(),
            deferred: None,
            renewal: None,
        })
    }

    /// The question for the rule of authority, given the lifetime mode of the account.
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

    /// The latest expiry for an account in this mode. A lifetime in the request overrides the mode.
    #[must_use]
    pub fn latest_expiry(&self, mode: LifetimeMode) -> Time {
        match (mode, self.request.lifetime()) {
            (LifetimeMode::GrantHorizon, None) => self.horizon,
            (LifetimeMode::GrantHorizon | LifetimeMode::Proof, _) => self.until,
        }
    }

    /// Whether the answer is certain without any facts.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        match &self.policy {
            Ok(()) => false,
            Err(Denial::NotTheCallers) => true,
            Err(_) => self.request.is_in(Dialect::Strict).is_ok(),
        }
    }

    /// Decides on these facts (RFC 9448 §5.6). Returns the policies that permit it, too. If both
    /// the rule of authority and policies that refer to rows refuse, the rule is reported.
    ///
    /// # Errors
    /// The [`Denial`] of a policy or of the rule of authority.
    pub fn decide(&self, facts: &Facts) -> Result<(Decision, PolicyTrace), Denial> {
        self.decide_with(facts, None)
    }

    /// The same, where the rule of authority is known to have permitted the request on these facts.
    fn decide_with(
        &self,
        facts: &Facts,
        permitted: Option<Decision>,
    ) -> Result<(Decision, PolicyTrace), Denial> {
        if let Err(denial) = &self.policy {
            // A request that is malformed in the dialect of the account is reported as such before
            // the policy denial, but only to a caller of that account.
            if facts.standing == AccountStanding::Good {
                let in_dialect = self.request.is_in(facts.dialect);
                in_dialect.map_err(Denial::NotStrict)?;
            }
            return Err(denial.clone());
        }
        let decision = permitted.map_or_else(|| self.authority(facts), Ok)?;
        let Ruling { verdict, by } = self.ruling(facts);
        verdict.map(|()| (decision, by))
    }

    /// What the rule of authority says, whatever the policies do.
    ///
    /// # Errors
    /// Its [`Denial`].
    pub fn authority(&self, facts: &Facts) -> Result<Decision, Denial> {
        match self.renewal {
            None => decision::decide(&self.question(facts.lifetime), facts),
            Some(_) => self.decide_renewal(facts),
        }
    }

    /// The ruling of the policies, also of those that refer to rows.
    #[must_use]
    pub fn ruling(&self, facts: &Facts) -> Ruling {
        match (&self.policy, &self.deferred) {
            (Ok(()), Some(deferred)) => {
                let mut ruling = deferred.rule(&self.account, &facts.rows);
                let right = facts.renewal.as_ref().filter(|_| self.renewal.is_some());
                if let Err(Denial::ControlNotProven { lack, .. }) = &mut ruling.verdict {
                    let control = right.and_then(|right| right.control.as_ref());
                    lack.renewed_by = control.map(|control| control.method);
                }
                ruling
            }
            (verdict, _) => Ruling {
                verdict: verdict.clone(),
                by: self.policies.clone(),
            },
        }
    }

    /// Decides a renewal: the ordinary rule, on the facts that the right to renew leaves.
    fn decide_renewal(&self, facts: &Facts) -> Result<Decision, Denial> {
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
    /// The lane in which the order waits for the writer.
    #[must_use]
    pub fn lane(&self) -> String {
        self.ruled.actor.lane_for(&self.ruled.account)
    }

    /// The grant that these facts justify. `permitted` is what the rule of authority said, if it
    /// was asked before and permitted the request.
    ///
    /// # Errors
    /// The [`Denial`] of a policy or of the rule of authority.
    pub fn decide(&self, facts: &Facts, permitted: Option<Decision>) -> Result<Grant, Denial> {
        let ruled = &self.ruled;
        let (decision, policies) = ruled.decide_with(facts, permitted)?;
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
            iss: ruled.iss.clone(),
            caller: ruled.actor.caller().to_owned(),
            request_id: ruled.actor.request_id(),
            justified_by: decision.justified_by,
            policies,
            withdrawal: None,
        })
    }

    /// The audit event of this order; `None` if it was decided before. A grant has what its
    /// policies saw of control, in `rows`: the proofs are those of the numbers at that time.
    #[must_use]
    pub fn event(&self, key: &KeyStatus, decided: &Decided, rows: &RowFacts) -> Option<AuditEvent> {
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
        self.policies_of(decided).add_to(&mut detail);
        let deferred = ruled.deferred.as_ref();
        let saw_control = deferred.is_some_and(|one| one.policies.inputs().control);
        if let (true, Some(_), Some(members)) =
            (saw_control, decided.granted(), detail.as_object_mut())
        {
            members.insert("control".to_owned(), rows.control.summary());
        }
        if let (Some(right), Some(members)) = (ruled.renewal, detail.as_object_mut()) {
            members.insert("renewal".to_owned(), json!(right));
        }
        Some(AuditEvent {
            id: self.audit_id,
            at: ruled.now,
            caller: ruled.actor.caller().to_owned(),
            action: AuditAction::Issue.as_str().to_owned(),
            subject: ruled.account.to_string(),
            outcome: outcome.to_owned(),
            detail: with_trace(detail, ruled.actor.trace()),
            request_id: ruled.actor.request_id(),
            account: match &ruled.policy {
                // Another tenant's account, whose users must not learn who tried.
                Err(Denial::NotTheCallers) => ruled.actor.account().cloned(),
                Ok(()) | Err(_) => Some(ruled.account.clone()),
            },
            caller_account: ruled.actor.account().cloned(),
        })
    }

    /// The policies that decided. If they are asked in the transaction, the outcome has them.
    fn policies_of<'a>(&'a self, decided: &'a Decided) -> &'a PolicyTrace {
        let before = &self.ruled.policies;
        match (&self.ruled.deferred, decided) {
            (Some(_), Decided::Granted(grant)) => &grant.policies,
            (Some(_), Decided::Denied(denial)) => denial.ruled_by().unwrap_or(before),
            (None, _) | (Some(_), Decided::Replayed(_)) => before,
        }
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

/// A refused list, shortened for the audit trail, so that refused requests cannot fill the
/// database.
fn shortened(tkvalue: &str) -> String {
    match tkvalue.get(..MAX_REFUSED) {
        Some(start) if tkvalue.len() > MAX_REFUSED => {
            let digest = hex::encode(Sha256::digest(tkvalue));
            format!("{start}.. ({} characters, SHA-256 {digest})", tkvalue.len())
        }
        Some(_) | None => tkvalue.to_owned(),
    }
}
