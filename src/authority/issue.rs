//! Issues tokens (RFC 9447 §5, RFC 9448 §5.5 to §5.7). `issuance_cycle` is the whole path of a
//! request; around it are its entry points and its steps.

use thiserror::Error;
use uuid::Uuid;

use super::{Authority, TooMany};
use crate::domain::clock::Time;
use crate::domain::control::codes::Codes;
use crate::domain::control::sample;
use crate::domain::issuance::{KeyedRequest, MintOrder, RuledRequest};
use crate::domain::tokens::grant::{Grant, Jti, Recorded};
use crate::domain::{AccountId, Caller, Denial, TokenRequest, new_id};
use crate::signer::SignerError;
use crate::store::{StoreError, Verdict};
use crate::telemetry::MintOutcome;
use crate::verifier;

/// How many tokens of a bulk request are signed before other tasks get a turn.
const MAX_SIGNED_AT_ONCE: usize = 50;

/// How many requests of a bulk are queued for the writer at one time: about as many as one
/// transaction takes.
const MAX_GROUP: usize = 250;

/// A signed token, whose grant is in the ledger.
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    /// The JWT in compact serialization.
    pub token: String,
    pub jti: Jti,
    pub expires: Time,
}

impl std::fmt::Debug for Issued {
    /// Omits the token, which is for its owner alone (RFC 9448 §10).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued")
            .field("jti", &self.jti)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// Why no token was issued.
#[derive(Debug, Error)]
pub enum IssueError {
    #[error(transparent)]
    Denied(#[from] Denial),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The account exceeds its rate limit.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The service runs without a signing key.
    #[error(
        "no signing key is configured; set signer.dir, or signer.key_file and signer.chain_file"
    )]
    NoSigner,
    #[error("the random generator of the system failed: {0}")]
    Random(String),
    /// The service's own verifier rejects the token.
    #[error("the signed token is malformed: {0}")]
    Lint(String),
}

/// A request for one token, for which the caller is not yet known to be authorized.
#[derive(Debug)]
pub(super) struct IssueRequest {
    pub(super) account: AccountId,
    pub(super) token: TokenRequest,
    /// The renewal right that the caller uses, if any.
    pub(super) renewal: Option<Uuid>,
    pub(super) keyed: Option<KeyedRequest>,
}

impl Authority {
    /// Issues a token: decides, records, commits, and only then signs. With an idempotency key, the
    /// request claims that key. If a grant was recorded for the key before, but its token was never
    /// sent, that grant is signed instead of a new one.
    ///
    /// # Errors
    /// [`StoreError::Replay`] if the key was used before. After other errors there may be a grant
    /// without a token, but never a token without a grant.
    pub async fn issue(
        &self,
        caller: &Caller,
        account: AccountId,
        request: TokenRequest,
        keyed: Option<KeyedRequest>,
    ) -> Result<Issued, IssueError> {
        let request = IssueRequest {
            account,
            token: request,
            renewal: None,
            keyed,
        };
        self.issue_one(caller, request).await
    }

    /// Issues many tokens, each decided separately. The answers are in the order of the requests. A
    /// bulk need not be one transaction, so other requests are served in between.
    ///
    /// A bulk with an idempotency key has already claimed it. Each of its requests has a key of its
    /// own, so retrying an unfinished bulk does not record a grant twice.
    ///
    /// # Errors
    /// If nothing could be decided. Only the store can fail the whole bulk, and only before the
    /// first request is answered. Every later failure, and any denial or refusal by the rate limit,
    /// is the answer to its request.
    pub async fn issue_all(
        &self,
        caller: &Caller,
        requests: Vec<(AccountId, TokenRequest)>,
        keyed: Option<&KeyedRequest>,
    ) -> Result<Vec<Result<Issued, IssueError>>, IssueError> {
        self.must_be_able_to_sign()?;
        let mut answers = Vec::with_capacity(requests.len());
        let mut requests = requests.into_iter().enumerate();
        loop {
            let group = requests.by_ref().take(MAX_GROUP);
            let group: Vec<IssueRequest> = group
                .map(|(index, (account, token))| IssueRequest {
                    account,
                    token,
                    renewal: None,
                    keyed: keyed.map(|bulk| bulk.part(index)),
                })
                .collect();
            if group.is_empty() {
                return Ok(answers);
            }
            // Queue a bulk under its caller: however many accounts it covers, it gets one turn, not
            // one each.
            let lane = |order: &MintOrder| order.ruled.actor.lane();
            for outcome in self.issuance_cycle(caller, group, lane).await {
                match outcome {
                    // No request has been answered yet, so the client can retry the whole bulk.
                    Err(error @ IssueError::Store(_)) if answers.is_empty() => return Err(error),
                    outcome => answers.push(self.counted(outcome)),
                }
            }
        }
    }

    /// Issues one token, requested directly or by a renewal right.
    pub(super) async fn issue_one(
        &self,
        caller: &Caller,
        request: IssueRequest,
    ) -> Result<Issued, IssueError> {
        let cycle = self.issuance_cycle(caller, vec![request], MintOrder::lane);
        let outcome = cycle.await.pop();
        self.counted(outcome.unwrap_or_else(|| Err(unanswered())))
    }

    /// The issuance cycle, for a group of requests. Each is decided separately; the answers are in
    /// the order of the requests.
    ///
    /// Record before signing: a crash can leave a grant without a token, but never a token without
    /// a grant.
    async fn issuance_cycle(
        &self,
        caller: &Caller,
        group: Vec<IssueRequest>,
        lane: impl Fn(&MintOrder) -> String,
    ) -> Vec<Result<Issued, IssueError>> {
        let (mut orders, mut prepared) = (Vec::with_capacity(group.len()), Vec::new());
        for request in group {
            // Step 1: Ask the policies. If the set refers to rows, ask now only whether the caller
            // may address the account; the rest is asked in step 4. A denial is recorded there,
            // except of a renewal that the account must not learn of.
            let ruled = self.rule(caller, request.account, request.token, request.renewal);
            let order = async {
                self.must_know_renewal(caller, &ruled).await?;

                // Step 2: Check that this replica may sign now, and the account's rate limit.
                self.must_be_able_to_sign()?;
                self.must_be_within_rate(&ruled)?;

                // Step 3: Complete the order with the `jti` of its token. It is plain data now,
                // which the writer decides in whatever transaction takes it.
                complete(ruled, request.keyed, &*self.control.codes)
            };
            prepared.push(order.await.map(|order| orders.push(order)));
        }

        // Step 4: Decide and record all orders, in one transaction if possible. It reads what the
        // policies refer to, and asks them. There is a verdict for each order, and none before
        // COMMIT.
        let lane = orders.first().map(lane).unwrap_or_default();
        let mut verdicts = self.store.issue(&lane, orders).await.into_iter();

        let mut answers = Vec::with_capacity(prepared.len());
        for order in prepared {
            let answer = async {
                order?;
                let grant = committed_grant(verdicts.next())?;

                // Step 5: Sign. The signer accepts only a grant that is committed.
                let token = self.sign(&grant).await?;

                // Step 6: Lint. The verifier must accept the token before anyone gets it.
                lint(token, grant.get())
            };
            answers.push(answer.await);
            if answers.len() % MAX_SIGNED_AT_ONCE == 0 {
                // Signing a large group takes a while, and other tasks share this thread.
                tokio::task::yield_now().await;
            }
        }
        answers
    }

    fn must_be_able_to_sign(&self) -> Result<(), IssueError> {
        let signers = self.signers.as_deref().ok_or(IssueError::NoSigner)?;
        signers.fresh()?;
        self.must_not_be_refused()
    }

    /// Refuses a request that exceeds the account's rate limit. A caller that may not act for the
    /// account does not use up its limit.
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

    /// Counts a request that got no token.
    pub(super) fn count_failure(&self, error: &IssueError) {
        match error {
            IssueError::Denied(denial) => {
                self.metrics.token(MintOutcome::Denied);
                self.metrics.denial(denial.code());
            }
            // Counted when the first request with this key was answered.
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

fn complete(
    mut ruled: RuledRequest,
    keyed: Option<KeyedRequest>,
    codes: &dyn Codes,
) -> Result<MintOrder, IssueError> {
    if let Some(deferred) = ruled
        .deferred
        .as_mut()
        .filter(|deferred| deferred.sample > 0)
    {
        let bits = codes.sample_bits(&ruled.account, sample::day_of(ruled.now));
        deferred.bits = Some(bits.map_err(|e| IssueError::Random(e.to_string()))?);
    }
    let audit_id = new_id(ruled.now);
    Ok(MintOrder {
        jti: Jti::new(audit_id, random()?),
        audit_id,
        keyed,
        ruled,
    })
}

fn random<const N: usize>() -> Result<[u8; N], IssueError> {
    let mut bits = [0; N];
    getrandom::fill(&mut bits).map_err(|e| IssueError::Random(e.to_string()))?;
    Ok(bits)
}

/// The committed grant of a verdict.
fn committed_grant(
    verdict: Option<Result<Verdict, StoreError>>,
) -> Result<Recorded<Grant>, IssueError> {
    match verdict {
        Some(verdict) => Ok(verdict??),
        None => Err(unanswered()),
    }
}

fn unanswered() -> IssueError {
    StoreError::Unavailable("the writer did not answer the order".to_owned()).into()
}

fn lint(token: String, grant: &Grant) -> Result<Issued, IssueError> {
    verifier::lint(&token, grant.dialect).map_err(|e| IssueError::Lint(e.to_string()))?;
    Ok(Issued {
        token,
        jti: grant.jti.clone(),
        expires: grant.expires_at,
    })
}
