//! Issuing a token (RFC 9447 §5, RFC 9448 §5.5 to §5.7).

use chrono::TimeDelta;
use thiserror::Error;
use uuid::Uuid;

use super::policy::{self, MintContext, TokenContext};
use super::{Authority, Lifetimes, Signers, TooMany};
use crate::domain::clock::Time;
use crate::domain::decision::policy_trace::Deciding;
use crate::domain::tokens::grant::{Grant, Jti, Recorded};
use crate::domain::tokens::renewal::Renewal;
use crate::domain::{AccountId, Caller, Denial, Role, TokenRequest};
use crate::signer::SignerError;
use crate::store::{Acting, Attempt, Order, StoreError, Verdict, lane_of, new_id};
use crate::telemetry::Outcome;
use crate::verifier;

/// How many tokens of a bulk are signed before others get their turn.
const SIGNED_IN_ONE_GO: usize = 50;

/// How many requests of a bulk wait for the writer at one time: about as many as one transaction takes.
const ORDERED_IN_ONE_GO: usize = 250;

/// A token that is in the ledger.
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    /// The JWT, in compact serialization.
    pub token: String,
    pub jti: Jti,
    pub expires: Time,
}

impl std::fmt::Debug for Issued {
    /// Without the token, which is for its owner alone (RFC 9448 §10).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued")
            .field("jti", &self.jti)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// Why there is no token.
#[derive(Debug, Error)]
pub enum IssueError {
    #[error(transparent)]
    Denied(#[from] Denial),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The account has asked too often.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The service runs without a key.
    #[error(
        "no signing key is configured; set signer.dir, or signer.key_file and signer.chain_file"
    )]
    NoSigner,
    #[error("random bits cannot be had: {0}")]
    Random(String),
    /// What was signed would not be accepted by our own verifier.
    #[error("the signed token is malformed: {0}")]
    Lint(String),
}

impl Authority {
    /// Decides, records, commits, and then signs.
    ///
    /// # Errors
    /// [`IssueError`]; a grant without a token may then be in the ledger, a token without a grant never is.
    pub async fn issue(
        &self,
        caller: &Caller,
        account: AccountId,
        request: TokenRequest,
    ) -> Result<Issued, IssueError> {
        let outcome = self
            .decide_record_sign(caller, account, request, None)
            .await;
        self.count(&outcome);
        outcome
    }

    /// The same for a request that may come again, and that holds its key from then on. A grant that was recorded for the
    /// key before, and whose token nobody has, is signed in place of a new one.
    ///
    /// # Errors
    /// [`IssueError`]; [`StoreError::Repeated`] in it if the request was here before.
    pub async fn issue_once(
        &self,
        caller: &Caller,
        account: AccountId,
        request: TokenRequest,
        attempt: Attempt,
    ) -> Result<Issued, IssueError> {
        let outcome = self
            .decide_record_sign(caller, account, request, Some(attempt))
            .await;
        self.count(&outcome);
        outcome
    }

    /// Decides and records many requests, each for itself, and signs what was granted. The answers are in the order of the
    /// requests. Others have their turn in between, so this need not be one transaction.
    ///
    /// # Errors
    /// [`IssueError`] if nothing could be decided; a request that is denied is one of the answers, and so is one that comes
    /// too often, or that the store cannot take after others were.
    pub async fn issue_all(
        &self,
        caller: &Caller,
        requests: Vec<(AccountId, TokenRequest)>,
    ) -> Result<Vec<Result<Issued, IssueError>>, IssueError> {
        self.issue_each(caller, requests, None).await
    }

    /// The same for a bulk that may come again, and that holds its key already. Each of its requests has a key of its own,
    /// so that what was recorded of an unfinished bulk is not recorded twice.
    ///
    /// # Errors
    /// [`IssueError`] if nothing could be decided.
    pub async fn issue_all_once(
        &self,
        caller: &Caller,
        requests: Vec<(AccountId, TokenRequest)>,
        attempt: &Attempt,
    ) -> Result<Vec<Result<Issued, IssueError>>, IssueError> {
        self.issue_each(caller, requests, Some(attempt)).await
    }

    async fn issue_each(
        &self,
        caller: &Caller,
        requests: Vec<(AccountId, TokenRequest)>,
        attempt: Option<&Attempt>,
    ) -> Result<Vec<Result<Issued, IssueError>>, IssueError> {
        self.signers
            .as_deref()
            .ok_or(IssueError::NoSigner)?
            .fresh()?;
        let lane = Acting::new(caller, &self.clock).lane();
        let mut answers = Vec::with_capacity(requests.len());
        let mut requests = requests.into_iter().enumerate();
        loop {
            let (mut orders, mut places) = (Vec::new(), Vec::new());
            for (place, (account, request)) in requests.by_ref().take(ORDERED_IN_ONE_GO) {
                let mut order = self.order(caller, account, request);
                order.attempt = attempt.map(|attempt| attempt.part(place));
                let order = self.limited(order);
                places.push(order.map(|order| orders.push(order)));
            }
            if places.is_empty() {
                return Ok(answers);
            }
            let mut recorded = self.store.issue_all(&lane, orders).await.into_iter();
            for place in places {
                let outcome = match place.map(|()| recorded.next()) {
                    Ok(Some(Ok(verdict))) => self.sign_what_was_granted(Ok(verdict)).await,
                    // Nothing is decided yet, so all of it can come again.
                    Ok(Some(Err(error))) if answers.is_empty() => return Err(error.into()),
                    Ok(Some(Err(error))) => Err(error.into()),
                    Ok(None) => Err(StoreError::Unavailable("not answered".to_owned()).into()),
                    Err(error) => Err(error),
                };
                self.count(&outcome);
                answers.push(outcome);
                if answers.len() % SIGNED_IN_ONE_GO == 0 {
                    // A thousand signatures take a while, and others wait for this thread.
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    pub(super) fn count(&self, outcome: &Result<Issued, IssueError>) {
        match outcome {
            Ok(_) => self.metrics.token(Outcome::Granted),
            Err(IssueError::Denied(denial)) => {
                self.metrics.token(Outcome::Denied);
                self.metrics.denial(denial.code());
            }
            // Counted when it was answered.
            Err(IssueError::Store(StoreError::Repeated(_))) => {}
            Err(IssueError::TooMany(too_many)) => {
                self.metrics.token(Outcome::Denied);
                self.metrics.limited(too_many.limit.as_str());
            }
            Err(error) => {
                self.metrics.token(Outcome::Error);
                if let IssueError::Signer(error) = error {
                    self.metrics.signature_failed(error.kind());
                }
            }
        }
    }

    async fn decide_record_sign(
        &self,
        caller: &Caller,
        account: AccountId,
        request: TokenRequest,
        attempt: Option<Attempt>,
    ) -> Result<Issued, IssueError> {
        // 1. Policy, which needs no row of the inventory. Its denials are recorded too.
        let mut order = self.order(caller, account, request);
        order.attempt = attempt;
        self.record_and_sign(caller, order).await
    }

    /// What becomes of an order that policy has been asked about.
    pub(super) async fn record_and_sign(
        &self,
        caller: &Caller,
        order: Order,
    ) -> Result<Issued, IssueError> {
        // 2. What the token would say: the time, a fresh jti.
        let signers = self.signers.as_deref().ok_or(IssueError::NoSigner)?;
        signers.fresh()?;
        let lane = match caller.role {
            Role::Portal => lane_of(&order.account),
            Role::Admin | Role::Provisioner | Role::Account | Role::Auditor | Role::Renewer => {
                order.acting.lane()
            }
        };
        let order = self.limited(order)?;
        // 3. to 5. Decide and record in one transaction; the answer comes after COMMIT.
        let verdict = self.store.issue(&lane, order).await;
        // 6. Sign what was recorded.
        self.sign_what_was_granted(verdict).await
    }

    async fn sign_what_was_granted(
        &self,
        verdict: Result<Verdict, StoreError>,
    ) -> Result<Issued, IssueError> {
        self.sign(&verdict??).await
    }

    /// Signs a grant, and reads the token back by the verifier's rules before anybody gets it.
    async fn sign(&self, grant: &Recorded<Grant>) -> Result<Issued, IssueError> {
        let signers = self.signers.as_deref().ok_or(IssueError::NoSigner)?;
        let signer = signers.signer(&grant.get().chain)?;
        let token = signer.sign(grant).await?;
        let grant = grant.get();
        verifier::lint(&token, grant.dialect).map_err(|e| IssueError::Lint(e.to_string()))?;
        Ok(Issued {
            token,
            jti: grant.jti.clone(),
            expires: grant.expires_at,
        })
    }

    /// The order for a token that will be signed, unless the account has asked too often. Who may not ask for an account
    /// uses up nothing of what others may ask for it.
    fn limited(&self, mut order: Order) -> Result<Order, IssueError> {
        if order.policy != Err(Denial::NotTheCallers) {
            self.limits.account(&order.account)?;
        }
        order.jti = Jti::new(order.now, random()?);
        Ok(order)
    }

    /// The order for a token.
    pub(super) fn order(
        &self,
        caller: &Caller,
        account: AccountId,
        request: TokenRequest,
    ) -> Order {
        self.order_for(caller, account, request, None)
    }

    /// The order for a token by a right to renew, which the caller is one of those for.
    pub(super) fn order_by_right(
        &self,
        caller: &Caller,
        right: &Renewal,
        wanted: Option<TokenRequest>,
    ) -> Result<Order, IssueError> {
        let request = match wanted {
            // Perhaps in another spelling than that of the right, which the token repeats.
            Some(same) if right.covers(&same).is_ok() => {
                let lifetime = same.lifetime().unwrap_or(right.lifetime);
                same.living(lifetime)
            }
            // What else is asked is refused when it is decided, and stands in the trail as it was asked.
            Some(other) => other,
            None => {
                let pinned = right.request();
                pinned.map_err(|e| StoreError::Corrupt(e.to_string()))?
            }
        };
        Ok(self.order_for(caller, right.account.clone(), request, Some(right.id)))
    }

    fn order_for(
        &self,
        caller: &Caller,
        account: AccountId,
        request: TokenRequest,
        renewal: Option<Uuid>,
    ) -> Order {
        let now = self.clock.now();
        let lifetime = request.lifetime().unwrap_or(self.lifetimes.default);
        let is_carrier = self.carrier.account.as_ref() == Some(&account);
        let asked = MintContext {
            account: &account,
            is_carrier,
            token: TokenContext {
                renewal: renewal.is_some(),
                ..TokenContext::of(&request, lifetime, now)
            },
        };
        let ruling = self.policy.in_force().may_mint(caller, &asked);
        policy::log_failure(&ruling.by);
        let policy = ruling.verdict.and_then(|()| self.within_bounds(lifetime));
        let signers = self.signers.as_deref();
        Order {
            jti: Jti::from_text(""),
            now,
            until: now + TimeDelta::seconds(lifetime.into()),
            horizon: now + TimeDelta::seconds(self.lifetimes.horizon.into()),
            minimum: self.lifetimes.minimum,
            chains: signers.map(Signers::candidates).unwrap_or_default(),
            spcs: self.carrier.spcs.clone(),
            acting: Acting::new(caller, &self.clock),
            audit_id: new_id(now),
            policy,
            policies: ruling.by,
            attempt: None,
            renewal,
            account,
            request,
        }
    }

    fn within_bounds(&self, lifetime: u32) -> Result<(), Denial> {
        let Lifetimes {
            minimum, maximum, ..
        } = self.lifetimes;
        let detail = if lifetime < minimum {
            format!("a token lives for at least {minimum} seconds")
        } else if lifetime > maximum {
            format!("a token lives for at most {maximum} seconds")
        } else {
            return Ok(());
        };
        Err(Denial::Policy {
            code: "lifetime-not-allowed".to_owned(),
            detail,
            by: Deciding::default(),
        })
    }
}

fn random() -> Result<[u8; 16], IssueError> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).map_err(|e| IssueError::Random(e.to_string()))?;
    Ok(bits)
}
