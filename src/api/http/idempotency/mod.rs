//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a retried request gets the answer
//! of the first one, and is not carried out again.
//!
//! Two requests are the same if one tenant sends them with the same key, method, path with query,
//! and body. Decisions are stored: successes, and refusals of a well-formed request. Other answers
//! are not, so that the client can fix the request or retry it: malformed requests, insufficient
//! credentials, failures.
//!
//! PUT is idempotent anyway, and reads change nothing, so the key is ignored there.

mod answer;
pub(super) mod in_flight;
pub(super) mod openapi;

use std::sync::Arc;

use actix_web::http::header::{HeaderMap, HeaderName};
use actix_web::rt;
use actix_web::web::Data;
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse};
use chrono::TimeDelta;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::api::Service;
use crate::api::http::database_wait::blocking;
use crate::api::problem::Problem;
use crate::authority::{ChangeRequester, StoreError};
use crate::callers::{Seal, Seals};
use crate::domain::issuance::{KeyedRequest, Replay};
use crate::domain::{Caller, IdempotencyKey};
use answer::Answer;
pub(in crate::api) use answer::Finished;
use in_flight::{InFlight, InFlightGuard};
pub(in crate::api) use openapi::IdempotencyKeys;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Settings and state for handling idempotency keys.
#[derive(Debug)]
pub struct Idempotency {
    seals: Seals,
    keep: TimeDelta,
    lease: TimeDelta,
    in_flight: Arc<InFlight>,
}

impl Idempotency {
    /// Keeps answers for `keep` seconds. A request without an answer after `lease` seconds is
    /// considered abandoned, and a retry takes over its key.
    #[must_use]
    pub fn new(seals: Seals, keep: u32, lease: u32) -> Self {
        Self {
            seals,
            keep: TimeDelta::seconds(keep.into()),
            lease: TimeDelta::seconds(lease.into()),
            in_flight: Arc::default(),
        }
    }
}

/// When a request that is not one transaction claims its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum ClaimKey {
    /// Before the work starts.
    Before,
    /// In the transaction of the decision.
    WithDecision,
}

/// The digest of the body. Only requests with a key have it.
#[derive(Debug, Clone)]
struct BodyDigest(String);

/// Digests a body while it is read, if the request has a key.
#[derive(Debug)]
pub(in crate::api) struct Digesting(Option<Sha256>);

impl Digesting {
    pub(in crate::api) fn of(request: &HttpRequest) -> Self {
        let has_key = request.headers().contains_key(IDEMPOTENCY_KEY);
        Self(has_key.then(Sha256::new))
    }

    pub(in crate::api) fn take(&mut self, bytes: &[u8]) {
        if let Some(digest) = &mut self.0 {
            digest.update(bytes);
        }
    }

    pub(in crate::api) fn done(self, request: &HttpRequest) {
        if let Some(digest) = self.0 {
            let digest = BodyDigest(hex::encode(digest.finalize()));
            request.extensions_mut().insert(digest);
        }
    }
}

/// Makes a change, and at most once if the request has a key: the transaction of the change also
/// stores the answer.
pub(in crate::api) async fn change<T, R, E>(
    service: &Data<Service>,
    request: &HttpRequest,
    caller: &Caller,
    view: impl Fn(T) -> HttpResponse + Send + 'static,
    verb: impl AsyncFnOnce(ChangeRequester<'_, T, R>) -> Result<T, E>,
) -> Result<HttpResponse, Problem>
where
    T: Clone,
    R: Clone + Into<Problem>,
    E: Into<Problem>,
{
    let keyed = match begin(service, request, caller).await? {
        Begun::Unkeyed => return verb(caller.into()).await.map(view).map_err(Into::into),
        Begun::Replayed(response) => return Ok(response),
        Begun::First(keyed) => keyed,
    };
    // The transaction can run twice, so the answer of its last run counts.
    let answered = Arc::new(Mutex::new(None));
    let (slot, sealing) = (Arc::clone(&answered), keyed.sealing());
    let seal = Box::new(move |outcome: Result<&T, &R>| {
        let answer = match outcome {
            Ok(done) => Answer::of(view(done.clone())),
            Err(refused) => {
                let problem: Problem = refused.clone().into();
                if !problem.is_final() {
                    return Ok(None);
                }
                Answer::of(problem.render(sealing.request_id))
            }
        };
        let corrupt = |error: &dyn ToString| StoreError::Corrupt(error.to_string());
        let answer = answer.map_err(|e| corrupt(&e))?;
        let sealed = sealing.close(&answer).map_err(|e| corrupt(&e))?;
        *slot.lock() = Some(answer);
        Ok(Some(sealed))
    });
    let by = ChangeRequester::with_key(caller, keyed.key.clone(), seal);
    let outcome = verb(by).await.map_err(Into::into);
    let answer = answered.lock();
    match (outcome, &*answer) {
        (Ok(_), Some(answer)) => Ok(answer.response()),
        (Err(problem), Some(answer)) if problem.is_final() => Ok(answer.response()),
        (Ok(_), None) => Err(Problem::internal(&"a change was done without its answer")),
        (Err(problem), _) => keyed.settle(problem),
    }
}

/// Does work that is not one transaction, and at most once if the request has a key: the answer is
/// stored before it is sent. With a key, the work is completed even if the client disconnects.
pub(in crate::api) async fn request<F>(
    service: &Data<Service>,
    request: &HttpRequest,
    caller: &Caller,
    claim: ClaimKey,
    work: F,
) -> Result<HttpResponse, Problem>
where
    F: AsyncFnOnce(Option<KeyedRequest>) -> Result<HttpResponse, Problem> + 'static,
{
    let keyed = match begin(service, request, caller).await? {
        Begun::Unkeyed => return work(None).await,
        Begun::Replayed(response) => return Ok(response),
        Begun::First(keyed) => keyed,
    };
    let service = service.clone();
    let complete = async move {
        if claim == ClaimKey::Before {
            let claimed = service.authority.take_key(keyed.key.clone()).await;
            if let Err(error) = claimed {
                return keyed.settle(error.into());
            }
        }
        let outcome = work(Some(keyed.key.clone())).await;
        keyed.finish(&service, claim, outcome).await
    };
    let done = rt::spawn(complete).await;
    done.map_err(|error| Problem::internal(&error))?
}

/// What the key of a request says about it.
enum Begun {
    /// The request has no key.
    Unkeyed,
    /// The request was answered before, with this.
    Replayed(HttpResponse),
    /// The request has to be carried out, and holds its key.
    First(Keyed),
}

/// A request with a key, to be carried out.
struct Keyed {
    key: KeyedRequest,
    seal: Seal,
    request_id: Uuid,
    _guard: InFlightGuard,
}

async fn begin(
    service: &Data<Service>,
    request: &HttpRequest,
    caller: &Caller,
) -> Result<Begun, Problem> {
    let Some(key) = key_of(request.headers())? else {
        return Ok(Begun::Unkeyed);
    };
    let idempotency = &service.idempotency;
    let (seals, text) = (&idempotency.seals, key);
    let seal = seals.seal(caller, &text)?;
    let at = service.authority.now();
    let key = KeyedRequest {
        name: seal.name().to_owned(),
        request: digest(request)?,
        holder: Uuid::new_v4(),
        at,
        lease_until: at + idempotency.lease,
        keep_until: at + idempotency.keep,
    };
    let guard = idempotency.in_flight.enter(&key)?;
    let mut keyed = Keyed {
        key,
        seal,
        request_id: caller.request_id,
        _guard: guard,
    };
    // A key that was used before the secret of the API keys was changed keeps its name and its
    // seal, so that its request is still done once.
    if let Some(seal) = seals.previous_seal(caller, &text)? {
        let name = seal.name().to_owned();
        let key = KeyedRequest {
            name,
            ..keyed.key.clone()
        };
        let (authority, known) = (Arc::clone(&service.authority), key.clone());
        if blocking(move || authority.knows_key(&known)).await?? {
            (keyed.key, keyed.seal) = (key, seal);
        }
    }
    let (authority, key) = (Arc::clone(&service.authority), keyed.key.clone());
    // Most retries were answered before, so this read saves a pass through the writer.
    match blocking(move || authority.replay(&key)).await?? {
        Some(replay) => keyed.settle(replay.into()).map(Begun::Replayed),
        None => Ok(Begun::First(keyed)),
    }
}

/// The key of a request, if it has one.
fn key_of(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    let malformed = |why: &dyn std::fmt::Display| {
        Problem::malformed("malformed-idempotency-key", format_args!("{why}"))
    };
    let mut fields = headers.get_all(IDEMPOTENCY_KEY);
    match (fields.next(), fields.next()) {
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err(malformed(&"send one Idempotency-Key")),
        (Some(one), None) => {
            // U+FFFD is not allowed in a key, so that a value that is not ASCII is refused, too.
            let key = one.to_str().unwrap_or("\u{fffd}").parse();
            key.map(Some).map_err(|error| malformed(&error))
        }
    }
}

/// Identifies the request: another one with the same key is an error.
fn digest(request: &HttpRequest) -> Result<String, Problem> {
    let extensions = request.extensions();
    let body = extensions.get::<BodyDigest>();
    let body = body.ok_or_else(|| Problem::internal(&"the body was not digested"))?;
    let target = request.uri().path_and_query();
    let mut digest = Sha256::new();
    for part in [
        request.method().as_str(),
        target.map_or("", |target| target.as_str()),
        &body.0,
    ] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    Ok(hex::encode(digest.finalize()))
}

/// Encrypts the answer to one request.
struct AnswerSealing {
    seal: Seal,
    request: String,
    request_id: Uuid,
}

impl AnswerSealing {
    fn close(&self, answer: &Answer) -> Result<Vec<u8>, Problem> {
        Ok(self.seal.close(&self.request, &answer.to_bytes()?)?)
    }
}

impl Keyed {
    fn sealing(&self) -> AnswerSealing {
        AnswerSealing {
            seal: self.seal.clone(),
            request: self.key.request.clone(),
            request_id: self.request_id,
        }
    }

    /// The stored answer, if the problem says that there is one.
    fn settle(&self, problem: Problem) -> Result<HttpResponse, Problem> {
        match problem.replay() {
            Some(Replay::Answered(sealed)) => {
                let bytes = self.seal.open(&self.key.request, sealed)?;
                Ok(Answer::from_bytes(&bytes)?.replayed_response())
            }
            Some(Replay::InFlight | Replay::OtherRequest | Replay::GrantEnded) | None => {
                Err(problem)
            }
        }
    }

    /// Stores the answer if it is a decision, and then returns it.
    async fn finish(
        self,
        service: &Service,
        claim: ClaimKey,
        outcome: Result<HttpResponse, Problem>,
    ) -> Result<HttpResponse, Problem> {
        let response = match outcome {
            Ok(response) => response,
            Err(problem) if problem.is_final() => problem.render(self.request_id),
            Err(problem) => {
                if problem.replay().is_none() {
                    // Work that claims its key before it starts can be partly done.
                    let forget = claim == ClaimKey::WithDecision;
                    let key = self.key.clone();
                    // If this fails, a retry waits until the lease expires.
                    let _ = service.authority.let_go_of_key(key, forget).await;
                }
                return self.settle(problem);
            }
        };
        let answer = Answer::of(response)?;
        let sealed = self.sealing().close(&answer)?;
        let stored = service.authority.keep_answer(self.key.clone(), sealed);
        match stored.await {
            Ok(()) => Ok(answer.response()),
            Err(error) => self.settle(error.into()),
        }
    }
}
