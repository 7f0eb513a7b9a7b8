//! Starts proofs of control: all numbers of a request are asked, or none.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::json;
use uuid::Uuid;

use super::ControlSettings;
use super::cancel::record_cancelled;
use super::limits::{AskedNumbers, ProofStarter, limited};
use super::refusal::{CannotStart, RefusedStart, StartCause};
use crate::authority::audited::event_by;
use crate::authority::scope::Visibility;
use crate::authority::{Authority, ChangeError, ChangeRequester, StoreError};
use crate::domain::clock::Time;
use crate::domain::control::channel::Channel;
use crate::domain::control::codes::{CodeError, CodeForm, Codes};
use crate::domain::control::message::CodeMessage;
use crate::domain::control::proof::{ControlProof, Method, ProofEnd};
use crate::domain::decision::holding_delegations;
use crate::domain::issuance::RuledRequest;
use crate::domain::tokens::tn_auth_list::TnAuthListError;
use crate::domain::{AccountId, AuditAction, Caller, Denial, Event, Role, Tn, new_id};
use crate::store::Tx;
use crate::telemetry::ProofOutcome;

/// Numbers to be asked.
#[derive(Debug, Clone)]
pub struct NewControlProofs {
    pub account: AccountId,
    /// At most [`NewControlProofs::MAX_NUMBERS`], each once.
    pub numbers: Vec<Tn>,
    pub channel: Channel,
    /// The right to renew that starts them; `None` if a caller does.
    pub renewal: Option<Uuid>,
}

impl NewControlProofs {
    /// The most numbers of one request.
    pub const MAX_NUMBERS: usize = 100;

    /// Refuses a request without numbers, with too many, or with the same one twice.
    fn check(&self) -> Result<(), ChangeError> {
        if !(1..=Self::MAX_NUMBERS).contains(&self.numbers.len()) {
            return Err(ChangeError::HowManyNumbers {
                most: Self::MAX_NUMBERS,
            });
        }
        let mut sorted = self.numbers.clone();
        sorted.sort_unstable();
        match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(ChangeError::Twice(pair[0].into())),
            None => Ok(()),
        }
    }
}

/// A proof with its code, which the transaction writes if the number may be asked.
#[derive(Clone)]
pub(super) struct Draft {
    pub(super) proof: ControlProof,
    code_hash: Vec<u8>,
    sealed: Vec<u8>,
}

/// Who asks which numbers, and how.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    pub(super) account: &'a AccountId,
    pub(super) channel: Channel,
    pub(super) gateway: &'a str,
    pub(super) renewal: Option<Uuid>,
    pub(super) caller: &'a Caller,
    pub(super) now: Time,
}

/// What the transaction of a start needs.
struct Start {
    scope: Visibility,
    ruled: RuledRequest,
    new: NewControlProofs,
    caller: Caller,
    /// Drawn before the transaction, which is exclusive. Empty if it will refuse: then nobody pays
    /// for codes of which none is sent.
    drafts: Vec<Draft>,
    settings: ControlSettings,
    codes: Arc<dyn Codes>,
    gateway: String,
    /// Why the carrier overrides the limits of the account; `None` if it does not.
    override_reason: Option<String>,
    event: Event,
}

impl Authority {
    /// Asks numbers whether the account controls them: each gets a code, which a gateway sends
    /// after COMMIT.
    ///
    /// # Errors
    /// [`ChangeError::CannotStart`] names each number that cannot be asked now; then none is.
    pub async fn start_control(
        &self,
        by: impl Into<ChangeRequester<'_, Vec<ControlProof>>>,
        new: NewControlProofs,
    ) -> Result<Vec<ControlProof>, ChangeError> {
        self.start(by.into(), new, None).await
    }

    /// The same by the carrier, for a reason that is recorded. It supersedes pending proofs of the
    /// account, and passes the limits that a thief of its credentials can use up. What protects
    /// the number from all accounts together, and the gateway, holds all the same.
    ///
    /// # Errors
    /// As above, and if the caller is not the carrier's.
    pub async fn start_control_over_limits(
        &self,
        by: impl Into<ChangeRequester<'_, Vec<ControlProof>>>,
        new: NewControlProofs,
        reason: String,
    ) -> Result<Vec<ControlProof>, ChangeError> {
        let by = by.into();
        let caller = by.caller();
        let is_manager = matches!(caller.role, Role::Admin | Role::Provisioner);
        if !is_manager || Visibility::of(caller) != Visibility::Everything {
            return Err(ChangeError::Forbidden);
        }
        self.start(by, new, Some(reason)).await
    }

    async fn start(
        &self,
        by: ChangeRequester<'_, Vec<ControlProof>>,
        new: NewControlProofs,
        override_reason: Option<String>,
    ) -> Result<Vec<ControlProof>, ChangeError> {
        let caller = by.caller();
        self.may_prove(caller)?;
        new.check()?;
        self.store.read(|tx| self.check_clock(tx))?;
        let (now, method) = (self.clock.now(), new.channel.method());
        let gateway = self.control.settings.gateway(method);
        let gateway = gateway.ok_or(ChangeError::NoGateway(method))?.to_owned();
        let event = event_by(caller, now, AuditAction::StartControlProof);
        let subject = new.account.clone();
        let mut start = Start {
            scope: Visibility::of(caller),
            ruled: self.ruled_for_numbers(caller, &new.account, &new.numbers, now)?,
            new,
            caller: caller.clone(),
            drafts: Vec::new(),
            settings: self.control.settings.clone(),
            codes: Arc::clone(&self.control.codes),
            gateway,
            override_reason,
            event: event.clone(),
        };
        // What is refused here is refused again, and recorded, by the transaction.
        if self.store.read(|tx| start.check(tx)).is_ok() {
            start.drafts = start.draw()?;
        }
        let work = move |tx: &mut Tx<'_>| start.run(tx);
        let started = self.change_by(by, event, subject, work).await?;
        self.control.signal.notify();
        for proof in &started {
            let metrics = &self.metrics.control;
            metrics.proof(proof.method.as_str(), ProofOutcome::Started);
        }
        Ok(started)
    }

    /// A question for the rule of authority about these numbers now. No policy is asked: control
    /// gives nothing that a policy could widen.
    pub(super) fn ruled_for_numbers(
        &self,
        caller: &Caller,
        account: &AccountId,
        numbers: &[Tn],
        now: Time,
    ) -> Result<RuledRequest, TnAuthListError> {
        let by = (self.actor(caller), self.carrier.spcs.as_slice());
        RuledRequest::for_numbers(by, account, numbers, now)
    }
}

impl Draft {
    /// A proof of this number with a fresh code. Its delegation may be known later.
    pub(super) fn new(
        (settings, codes): (&ControlSettings, &dyn Codes),
        asking: Asking<'_>,
        (number, delegation): (Tn, Uuid),
    ) -> Result<Self, CodeError> {
        let form = match asking.channel {
            Channel::Sms(_) | Channel::Voice(_) => CodeForm::Digits(settings.digits),
            Channel::Sip(_) => CodeForm::Nonce,
        };
        let (id, code) = (new_id(asking.now), codes.draw(form)?);
        Ok(Self {
            code_hash: codes.hash(id, &code)?,
            sealed: codes.seal(id, asking.gateway, &code)?,
            proof: ControlProof {
                id,
                account: asking.account.clone(),
                number,
                delegation,
                method: asking.channel.method(),
                gateway: asking.gateway.to_owned(),
                fingerprint: asking.channel.key(),
                renewal: asking.renewal,
                tries: 0,
                started_at: asking.now,
                started_by: asking.caller.id.clone(),
                request_id: asking.caller.request_id,
                expires_at: asking.now + settings.valid(),
                sent_at: None,
                delivered_at: None,
                failure: None,
                confirmed: None,
                end: None,
            },
        })
    }

    fn message(&self) -> CodeMessage {
        CodeMessage {
            proof: self.proof.id,
            gateway: self.proof.gateway.clone(),
            sealed: self.sealed.clone(),
            attempts: 0,
            unclear: 0,
            due_at: self.proof.started_at,
            give_up_at: self.proof.expires_at,
        }
    }
}

/// Writes proofs, the codes to be sent, and an audit event of each.
pub(super) fn insert(
    tx: &mut Tx<'_>,
    drafts: &[Draft],
    event: &Event,
    override_reason: Option<&str>,
) -> Result<Vec<ControlProof>, StoreError> {
    let rows = drafts.iter();
    let rows: Vec<(ControlProof, &[u8])> = rows
        .map(|draft| (draft.proof.clone(), draft.code_hash.as_slice()))
        .collect();
    tx.insert_control_proofs(&rows)?;
    // There is nothing to be sent for one that has failed already.
    let open = drafts.iter().filter(|draft| draft.proof.end.is_none());
    let messages = open.map(Draft::message);
    tx.insert_control_messages(&messages.collect::<Vec<_>>())?;
    let events = rows.iter().map(|(proof, _)| {
        let detail = json!({
            "account": proof.account, "number": proof.number, "method": proof.method, "gateway": proof.gateway,
            "delegation": proof.delegation, "renewal": proof.renewal, "expires": proof.expires_at,
            "fingerprint": proof.fingerprint.map(|key| key.to_string()), "override": override_reason,
        });
        event.about(&proof.account).done(&proof.id, detail)
    });
    tx.insert_audit_events(&events.collect::<Vec<_>>())?;
    Ok(rows.into_iter().map(|(proof, _)| proof).collect())
}

impl Start {
    const fn asker(&self) -> ProofStarter {
        match self.override_reason {
            Some(_) => ProofStarter::Override,
            None => ProofStarter::Caller,
        }
    }

    /// A code for each number. Their delegations are known in the transaction.
    fn draw(&self) -> Result<Vec<Draft>, ChangeError> {
        let asking = Asking {
            account: &self.new.account,
            channel: self.new.channel,
            gateway: &self.gateway,
            renewal: self.new.renewal,
            caller: &self.caller,
            now: self.ruled.now,
        };
        let parts = (&self.settings, &*self.codes);
        let numbers = self.new.numbers.iter();
        let drafts = numbers.map(|number| Draft::new(parts, asking, (*number, Uuid::nil())));
        let drafts = drafts.collect::<Result<_, _>>();
        drafts.map_err(|error| unprotected(&error))
    }

    /// The delegation of each number, if all of them can be asked now.
    fn check(&self, tx: &mut Tx<'_>) -> Result<HashMap<Tn, Uuid>, ChangeError> {
        let account = self.scope.must_know(tx, &self.new.account)?;
        if self.scope.reaches_below() {
            self.scope.must_be_in_good_standing(tx)?;
        }
        let numbers = &self.new.numbers;
        let facts = tx.facts(&self.ruled)?;
        let question = self.ruled.question(facts.lifetime);
        let held = holding_delegations(&question, &facts, numbers)
            .map_err(|denial| refused_wholly(&denial))?;
        let (mut delegations, mut refused) = (HashMap::new(), Vec::new());
        for (number, held) in numbers.iter().zip(held) {
            match held.map(|delegations| delegations.first().copied()) {
                Ok(Some(delegation)) => drop(delegations.insert(*number, delegation)),
                Ok(None) => {
                    let why = "authority without a delegation".to_owned();
                    return Err(StoreError::Corrupt(why).into());
                }
                Err(cause) => refused.push(RefusedStart {
                    number: *number,
                    cause: StartCause::NoAuthority(cause),
                }),
            }
        }
        // A number that the account has no authority over says nothing about its proofs.
        let mine = numbers.iter().copied();
        let mine: Vec<Tn> = mine.filter(|n| delegations.contains_key(n)).collect();
        let asked = AskedNumbers {
            account: &account,
            method: self.new.channel.method(),
            gateway: &self.gateway,
            numbers: &mine,
            by: self.asker(),
        };
        refused.extend(limited(tx, &self.settings, asked, self.ruled.now)?);
        if !refused.is_empty() {
            refused.sort_unstable_by_key(|one| one.number);
            return Err(ChangeError::CannotStart(CannotStart { refused }));
        }
        Ok(delegations)
    }

    /// Starts all proofs, or refuses all.
    fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<ControlProof>, ChangeError> {
        let delegations = self.check(tx)?;
        if self.override_reason.is_some() {
            let methods = Method::ALL.into_iter();
            let methods = methods.filter(|method| method.excludes(self.new.channel.method()));
            let methods: Vec<Method> = methods.collect();
            let (account, numbers) = (&self.new.account, &self.new.numbers);
            let how = (ProofEnd::Superseded, self.ruled.now);
            let ended = tx.end_pending_proofs_of(account, numbers, &methods, how)?;
            record_cancelled(tx, &self.event, &ended)?;
        }
        let mut drafts = if self.drafts.is_empty() {
            // It was refused a moment ago.
            self.draw()?
        } else {
            self.drafts.clone()
        };
        for draft in &mut drafts {
            let delegation = delegations.get(&draft.proof.number);
            draft.proof.delegation = delegation.copied().unwrap_or_default();
        }
        let why = self.override_reason.as_deref();
        Ok(insert(tx, &drafts, &self.event, why)?)
    }
}

/// A failure to protect a code is a failure of the service, like one of its database.
pub(super) fn unprotected(error: &CodeError) -> ChangeError {
    log::error!("a code is not available: {error}");
    ChangeError::Store(StoreError::Unavailable(error.to_string()))
}

/// Why none of the numbers can be asked.
fn refused_wholly(denial: &Denial) -> ChangeError {
    match denial {
        Denial::TooFragmented { limit } => ChangeError::TooFragmented { limit: *limit },
        // The account is suspended.
        Denial::NotTheCallers
        | Denial::ProofEnded(_)
        | Denial::Policy { .. }
        | Denial::ControlNotProven { .. }
        | Denial::NotAuthorized(_)
        | Denial::EndsTooSoon { .. }
        | Denial::SeveralSpcs(_)
        | Denial::NoCertificate(_)
        | Denial::KeyDistrusted(_)
        | Denial::NotStrict(_)
        | Denial::RenewalEnded
        | Denial::OutsideRenewal(_) => ChangeError::Forbidden,
    }
}
