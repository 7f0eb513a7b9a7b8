//! Issuing a token (RFC 9447 §5, RFC 9448 §5.5 to §5.7).

use chrono::TimeDelta;
use thiserror::Error;

use super::{Authority, Lifetimes, Signers};
use crate::domain::clock::Time;
use crate::domain::grant::{Grant, Jti, Recorded};
use crate::domain::{AccountId, Caller, Denial, TokenRequest};
use crate::signer::SignerError;
use crate::store::{Order, StoreError, new_id};
use crate::telemetry::Outcome;
use crate::verifier;

/// How many tokens of a bulk are signed before others get their turn.
const SIGNED_IN_ONE_GO: usize = 50;

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

    /// Decides and records many requests, each for itself, in one transaction, and then signs. The answers are in the order
    /// of the requests.
    ///
    /// # Errors
    /// [`IssueError`] if nothing could be decided; a request that is denied is one of the answers.
    pub async fn issue_all(
        &self,
        caller: &Caller,
        requests: Vec<(AccountId, TokenRequest)>,
    ) -> Result<Vec<Result<Issued, IssueError>>, IssueError> {
        self.signers
            .as_deref()
            .ok_or(IssueError::NoSigner)?
            .fresh()?;
        let mut orders = Vec::with_capacity(requests.len());
        for (account, request) in requests {
            let mut order = self.order(caller, account, request);
            order.jti = Jti::new(order.now, random()?);
            orders.push(order);
        }
        let recorded = self.store.issue_all(orders).await?;
        let mut answers = Vec::with_capacity(recorded.len());
        for (place, verdict) in (1..).zip(recorded) {
            let outcome = match verdict {
                Ok(grant) => self.sign(&grant).await,
                Err(denial) => Err(denial.into()),
            };
            self.count(&outcome);
            answers.push(outcome);
            if place % SIGNED_IN_ONE_GO == 0 {
                // A thousand signatures take a while, and others wait for this thread.
                tokio::task::yield_now().await;
            }
        }
        Ok(answers)
    }

    fn count(&self, outcome: &Result<Issued, IssueError>) {
        match outcome {
            Ok(_) => self.metrics.token(Outcome::Granted),
            Err(IssueError::Denied(denial)) => {
                self.metrics.token(Outcome::Denied);
                self.metrics.denial(denial.code());
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
        let mut order = self.order(caller, account, request);
        order.jti = Jti::new(order.now, random()?);
        // 3. to 5. Decide and record in one transaction; the answer comes after COMMIT.
        let grant = self.store.issue(order).await??;
        // 6. Sign what was recorded.
        self.sign(&grant).await
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
            request_id: caller.request_id,
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
