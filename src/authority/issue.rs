//! Issuing a token (RFC 9447 §5, RFC 9448 §5.5 to §5.7).

use chrono::TimeDelta;
use thiserror::Error;

use super::change::{lane, lane_of};
use super::{Authority, Lifetimes, Signers, TooMany};
use crate::domain::clock::Time;
use crate::domain::grant::{Grant, Jti, Recorded};
use crate::domain::{AccountId, Caller, Denial, Role, TokenRequest};
use crate::signer::SignerError;
use crate::store::{Order, StoreError, new_id};
use crate::telemetry::{Outcome, trace_id};
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
        let outcome = self.decide_record_sign(caller, account, request).await;
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
        self.signers
            .as_deref()
            .ok_or(IssueError::NoSigner)?
            .fresh()?;
        let (lane, mut answers) = (lane(caller), Vec::with_capacity(requests.len()));
        let mut requests = requests.into_iter();
        loop {
            let (mut orders, mut places) = (Vec::new(), Vec::new());
            for (account, request) in requests.by_ref().take(ORDERED_IN_ONE_GO) {
                let order = self.limited_order(caller, account, request);
                places.push(order.map(|order| orders.push(order)));
            }
            if places.is_empty() {
                return Ok(answers);
            }
            let mut recorded = self.store.issue_all(&lane, orders).await.into_iter();
            for place in places {
                let outcome = match place.map(|()| recorded.next()) {
                    Ok(Some(Ok(Ok(grant)))) => self.sign(&grant).await,
                    Ok(Some(Ok(Err(denial)))) => Err(denial.into()),
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

    fn count(&self, outcome: &Result<Issued, IssueError>) {
        match outcome {
            Ok(_) => self.metrics.token(Outcome::Granted),
            Err(IssueError::Denied(denial)) => {
                self.metrics.token(Outcome::Denied);
                self.metrics.denial(denial.code());
            }
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
    ) -> Result<Issued, IssueError> {
        // 1. Policy, which needs no row of the inventory. Its denials are recorded too.
        // 2. What the token would say: the time, a fresh jti.
        let signers = self.signers.as_deref().ok_or(IssueError::NoSigner)?;
        signers.fresh()?;
        let lane = match caller.role {
            Role::Portal => lane_of(&account),
            Role::Admin | Role::Provisioner | Role::Account | Role::Auditor => lane(caller),
        };
        let order = self.limited_order(caller, account, request)?;
        // 3. to 5. Decide and record in one transaction; the answer comes after COMMIT.
        let grant = self.store.issue(&lane, order).await??;
        // 6. Sign what was recorded.
        self.sign(&grant).await
    }

    /// Signs a grant, and reads the token back by the verifier's rules before anybody gets it.
    async fn sign(&self, grant: &Recorded<Grant>) -> Result<Issued, IssueError> {
        let signers = self.signers.as_deref().ok_or(IssueError::NoSigner)?;
        let signer = signers.signer(&grant.get().chain)?;
        let token = signer.sign(grant).await?;
        verifier::lint(&token).map_err(|e| IssueError::Lint(e.to_string()))?;
        let grant = grant.get();
        Ok(Issued {
            token,
            jti: grant.jti.clone(),
            expires: grant.expires_at,
        })
    }

    /// The order for a token that will be signed, unless the account has asked too often. Who may not ask for an account
    /// uses up nothing of what others may ask for it.
    fn limited_order(
        &self,
        caller: &Caller,
        account: AccountId,
        request: TokenRequest,
    ) -> Result<Order, IssueError> {
        let mut order = self.order(caller, account, request);
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
        let now = self.clock.now();
        let lifetime = request.lifetime().unwrap_or(self.lifetimes.default);
        let is_carrier = self.carrier.account.as_ref() == Some(&account);
        let policy = self
            .policy
            .may_mint(caller, &account, is_carrier, &request, lifetime);
        let policy = policy.and_then(|()| self.within_bounds(lifetime));
        let signers = self.signers.as_deref();
        Order {
            jti: Jti::from_text(""),
            now,
            until: now + TimeDelta::seconds(lifetime.into()),
            horizon: now + TimeDelta::seconds(self.lifetimes.horizon.into()),
            minimum: self.lifetimes.minimum,
            chains: signers.map(Signers::candidates).unwrap_or_default(),
            spcs: self.carrier.spcs.clone(),
            caller: caller.id.clone(),
            caller_account: caller.confined_to().cloned(),
            request_id: caller.request_id,
            trace: trace_id(),
            audit_id: new_id(now),
            policy,
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
        })
    }
}

fn random() -> Result<[u8; 16], IssueError> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).map_err(|e| IssueError::Random(e.to_string()))?;
    Ok(bits)
}
