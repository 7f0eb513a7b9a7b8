//! Issuing a token (RFC 9447 §5, RFC 9448 §5.5 to §5.7).

use chrono::TimeDelta;
use thiserror::Error;
use uuid::Uuid;

use super::policy::{self, MintContext, TokenContext};
use super::{Authority, Lifetimes, Signers, TooMany};
use crate::domain::clock::Time;
use crate::domain::decision::policy_trace::PolicyTrace;
use crate::domain::issuance::{KeyedRequest, MintOrder, RuledRequest};
use crate::domain::tokens::grant::{Grant, Jti, Recorded};
use crate::domain::{AccountId, Caller, Denial, TokenRequest, new_id};
use crate::signer::SignerError;
use crate::store::{StoreError, Verdict};
use crate::telemetry::MintOutcome;
use crate::verifier;

/// How many tokens of a bulk are signed before other tasks get their turn.
const MAX_SIGNED_AT_ONCE: usize = 50;

/// How many requests of a bulk wait for the writer at one time: about as many as one transaction takes.
const MAX_GROUP: usize = 250;

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
    #[error("no random bits could be obtained: {0}")]
    Random(String),
    /// What was signed would not be accepted by our own verifier.
    #[error("the signed token is malformed: {0}")]
    Lint(String),
}

/// A token that is asked for.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) account: AccountId,
    pub(super) request: TokenRequest,
    /// The right to renew that it is asked by.
    pub(super) renewal: Option<Uuid>,
    pub(super) keyed: Option<KeyedRequest>,
}

impl Authority {
    /// Issues a token: decides, records, commits, and then signs. With an idempotency key, the request holds that key from
    /// then on; a grant that was recorded for the key before, and whose token was not answered, is signed in place of a new
    /// one.
    ///
    /// # Errors
    /// [`IssueError`]; a grant without a token may then be in the ledger, a token without a grant never is.
    /// [`StoreError::Replay`] in it if the key was used before.
    pub async fn issue(
        &self,
        caller: &Caller,
        account: AccountId,
        request: TokenRequest,
        keyed: Option<KeyedRequest>,
    ) -> Result<Issued, IssueError> {
        let wanted = Wanted {
            account,
            request,
            renewal: None,
            keyed,
        };
        self.issue_one(caller, wanted).await
    }

    /// Issues many tokens, each for itself. The answers are in the order of the requests. Others have their turn in between,
    /// so this need not be one transaction.
    ///
    /// A bulk with an idempotency key holds that key already. Each of its requests has a key of its own, so that what was
    /// recorded of an unfinished bulk is not recorded twice.
    ///
    /// # Errors
    /// [`IssueError`] if nothing could be decided; a request that is denied is one of the answers, and so is one that comes
    /// too often, or that the store cannot take after others were.
    pub async fn issue_all(
        &self,
        caller: &Caller,
        requests: Vec<(AccountId, TokenRequest)>,
        keyed: Option<&KeyedRequest>,
    ) -> Result<Vec<Result<Issued, IssueError>>, IssueError> {
        self.signers_ready()?;
        let mut answers = Vec::with_capacity(requests.len());
        let mut requests = requests.into_iter().enumerate();
        loop {
            let group = requests.by_ref().take(MAX_GROUP);
            let group: Vec<Wanted> = group
                .map(|(index, (account, request))| Wanted {
                    account,
                    request,
                    renewal: None,
                    keyed: keyed.map(|bulk| bulk.part(index)),
                })
                .collect();
            if group.is_empty() {
                return Ok(answers);
            }
            // In the lane of the caller, so that a bulk for many accounts is no more turns.
            let lane = |order: &MintOrder| order.ruled.actor.lane();
            for outcome in self.issuance_cycle(caller, group, lane).await {
                match outcome {
                    // Nothing is answered yet, so all of it can be retried.
                    Err(error @ IssueError::Store(_)) if answers.is_empty() => return Err(error),
                    outcome => answers.push(self.counted(outcome)),
                }
            }
        }
    }

    /// Issues one token, on its own account or by a right to renew.
    ///
    /// # Errors
    /// [`IssueError`].
    pub(super) async fn issue_one(
        &self,
        caller: &Caller,
        wanted: Wanted,
    ) -> Result<Issued, IssueError> {
        let cycle = self.issuance_cycle(caller, vec![wanted], MintOrder::lane);
        let outcome = cycle.await.pop();
        self.counted(outcome.unwrap_or_else(|| Err(unanswered())))
    }

    /// The issuance cycle, for a group of requests: each is decided for itself, and has one answer, in their order.
    async fn issuance_cycle(
        &self,
        caller: &Caller,
        group: Vec<Wanted>,
        lane: impl Fn(&MintOrder) -> String,
    ) -> Vec<Result<Issued, IssueError>> {
        let (mut orders, mut ordered) = (Vec::with_capacity(group.len()), Vec::new());
        for wanted in group {
            // 1. Policy, which needs no row of the inventory. Its denials are recorded too.
            let ruled = self.ruled(caller, wanted.account, wanted.request, wanted.renewal);
            let order = async {
                self.must_know_right(caller, &ruled).await?;
                // 2. The signer is ready, and the account does not ask too often.
                self.signers_ready()?;
                self.must_be_within_rate(&ruled)?;
                // 3. The order, complete: with the id that the token will have.
                complete(ruled, wanted.keyed)
            };
            ordered.push(order.await.map(|order| orders.push(order)));
        }
        // 4. Decide and record, in one transaction if possible. The verdicts come after COMMIT.
        let lane = orders.first().map(lane).unwrap_or_default();
        let mut verdicts = self.store.issue(&lane, orders).await.into_iter();
        let mut answers = Vec::with_capacity(ordered.len());
        for order in ordered {
            let answer = async {
                order?;
                let grant = granted(verdicts.next())?;
                // 5. Sign what was recorded.
                let token = self.sign(&grant).await?;
                // 6. Lint: the verifier must accept the token before anyone gets it.
                lint(token, grant.get())
            };
            answers.push(answer.await);
            if answers.len() % MAX_SIGNED_AT_ONCE == 0 {
                // A thousand signatures take a while, and other tasks wait for this thread.
                tokio::task::yield_now().await;
            }
        }
        answers
    }

    /// A request, once policy has ruled on it.
    pub(super) fn ruled(
        &self,
        caller: &Caller,
        account: AccountId,
        request: TokenRequest,
        renewal: Option<Uuid>,
    ) -> RuledRequest {
        let now = self.clock.now();
        let lifetime = self.lifetime_of(&request);
        let asked = self.asked(&account, &request, renewal, now);
        let ruling = self.policy.in_force().may_mint(caller, &asked);
        policy::log_failure(&ruling.by);
        let policy = ruling.verdict.and_then(|()| self.within_bounds(lifetime));
        let signers = self.signers.as_deref();
        RuledRequest {
            now,
            until: now + TimeDelta::seconds(lifetime.into()),
            horizon: now + TimeDelta::seconds(self.lifetimes.horizon.into()),
            minimum: self.lifetimes.minimum,
            chains: signers.map(Signers::candidates).unwrap_or_default(),
            spcs: self.carrier.spcs.clone(),
            actor: self.actor(caller),
            policy,
            policies: ruling.by,
            renewal,
            account,
            request,
        }
    }

    /// A request, as policies see it.
    pub(super) fn asked<'a>(
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
        }
    }

    fn lifetime_of(&self, request: &TokenRequest) -> u32 {
        request.lifetime().unwrap_or(self.lifetimes.default)
    }

    /// Refuses a lifetime outside the configured bounds, which no policy can widen.
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
            by: PolicyTrace::default(),
        })
    }

    fn signers_ready(&self) -> Result<(), IssueError> {
        let signers = self.signers.as_deref().ok_or(IssueError::NoSigner)?;
        Ok(signers.fresh()?)
    }

    /// Refuses a request of an account that asks too often. Who may not ask for an account uses up nothing of what others
    /// may ask for it.
    fn must_be_within_rate(&self, ruled: &RuledRequest) -> Result<(), IssueError> {
        if ruled.policy != Err(Denial::NotTheCallers) {
            self.limits.account(&ruled.account)?;
        }
        Ok(())
    }

    async fn sign(&self, grant: &Recorded<Grant>) -> Result<String, IssueError> {
        let signers = self.signers.as_deref().ok_or(IssueError::NoSigner)?;
        let signer = signers.signer(&grant.get().chain)?;
        Ok(signer.sign(grant).await?)
    }

    fn counted(&self, outcome: Result<Issued, IssueError>) -> Result<Issued, IssueError> {
        match &outcome {
            Ok(_) => self.metrics.token(MintOutcome::Granted),
            Err(error) => self.count_failure(error),
        }
        outcome
    }

    /// Counts why there is no token.
    pub(super) fn count_failure(&self, error: &IssueError) {
        match error {
            IssueError::Denied(denial) => {
                self.metrics.token(MintOutcome::Denied);
                self.metrics.denial(denial.code());
            }
            // Counted when it was answered.
            IssueError::Store(StoreError::Replay(_)) => {}
            IssueError::TooMany(too_many) => {
                self.metrics.token(MintOutcome::Denied);
                self.metrics.limited(too_many.limit.as_str());
            }
            IssueError::Signer(error) => {
                self.metrics.token(MintOutcome::Error);
                self.metrics.signature_failed(error.kind());
            }
            IssueError::Store(
                StoreError::ProofEnded
                | StoreError::Busy
                | StoreError::Unavailable(_)
                | StoreError::Corrupt(_),
            )
            | IssueError::NoSigner
            | IssueError::Random(_)
            | IssueError::Lint(_) => self.metrics.token(MintOutcome::Error),
        }
    }
}

fn complete(ruled: RuledRequest, keyed: Option<KeyedRequest>) -> Result<MintOrder, IssueError> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).map_err(|e| IssueError::Random(e.to_string()))?;
    Ok(MintOrder {
        jti: Jti::new(ruled.now, bits),
        audit_id: new_id(ruled.now),
        keyed,
        ruled,
    })
}

/// The grant of a verdict, which is in the database.
fn granted(verdict: Option<Result<Verdict, StoreError>>) -> Result<Recorded<Grant>, IssueError> {
    match verdict {
        Some(verdict) => Ok(verdict??),
        None => Err(unanswered()),
    }
}

fn unanswered() -> IssueError {
    StoreError::Unavailable("the order was not answered".to_owned()).into()
}

fn lint(token: String, grant: &Grant) -> Result<Issued, IssueError> {
    verifier::lint(&token, grant.dialect).map_err(|e| IssueError::Lint(e.to_string()))?;
    Ok(Issued {
        token,
        jti: grant.jti.clone(),
        expires: grant.expires_at,
    })
}
