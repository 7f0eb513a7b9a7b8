//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a request that came before is answered as it was then,
//! and nothing is done twice.
//!
//! Two requests are one if a tenant sends them with one key, and method, path with query, and body are the same. What was
//! decided is kept: that it was done, and refusals that weigh the request against what is known. What decides nothing is
//! not kept, so that it can be mended or tried again: malformed requests, credentials that give no access, failures.
//!
//! PUT says what is to be and can be repeated anyway, and what reads has no need: there the key is not looked at.

mod answer;
pub(super) mod in_flight;
pub(super) mod openapi;

use std::sync::Arc;

use actix_web::http::header::{HeaderMap, HeaderName};
use actix_web::rt;
use actix_web::web::{self, Data};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse};
use chrono::TimeDelta;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::api::Service;
use crate::api::problem::Problem;
use crate::authority::{ChangeRequester, StoreError};
use crate::callers::{Seal, Seals};
use crate::domain::issuance::{KeyedRequest, Replay};
use crate::domain::{Caller, IdempotencyKey};
use answer::Answer;
pub(in crate::api) use answer::Finished;
use in_flight::{AtWork, Turn};
pub(in crate::api) use openapi::Keys;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What keys are kept with.
#[derive(Debug)]
pub struct Idempotency {
    seals: Seals,
    keep: TimeDelta,
    lease: TimeDelta,
    at_work: Arc<AtWork>,
}

impl Idempotency {
    /// Keeps answers for so many seconds, and takes a request for gone that has had none for `lease` seconds.
    #[must_use]
    pub fn new(seals: Seals, keep: u32, lease: u32) -> Self {
        Self {
            seals,
            keep: TimeDelta::seconds(keep.into()),
            lease: TimeDelta::seconds(lease.into()),
            at_work: Arc::default(),
        }
    }
}

/// When a request that is done outside of one transaction takes its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum Takes {
    /// Before it is done.
    First,
    /// With the decision, which takes it.
    Deciding,
}

/// The digest of a body that was read; made of requests with a key alone.
#[derive(Debug, Clone)]
struct BodyDigest(String);

/// Digests a body as it comes, if the request has a key.
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

/// Does a change, once if the request has a key: its answer is kept in the transaction that does it.
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
        Begun::Before(response) => return Ok(response),
        Begun::First(keyed) => keyed,
    };
    let answered = Arc::new(Mutex::new(None));
    let (place, sealing) = (Arc::clone(&answered), keyed.sealing());
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
        let unseen = |error: &dyn ToString| StoreError::Corrupt(error.to_string());
        let answer = answer.map_err(|e| unseen(&e))?;
        let sealed = sealing.close(&answer).map_err(|e| unseen(&e))?;
        *place.lock() = Some(answer);
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

/// Does what is not one transaction, once if the request has a key: its answer is kept before it is given. With a key, it
/// is done to its end, also if whoever asked goes away.
pub(in crate::api) async fn request<F>(
    service: &Data<Service>,
    request: &HttpRequest,
    caller: &Caller,
    takes: Takes,
    work: F,
) -> Result<HttpResponse, Problem>
where
    F: AsyncFnOnce(Option<KeyedRequest>) -> Result<HttpResponse, Problem> + 'static,
{
    let keyed = match begin(service, request, caller).await? {
        Begun::Unkeyed => return work(None).await,
        Begun::Before(response) => return Ok(response),
        Begun::First(keyed) => keyed,
    };
    let service = service.clone();
    let to_its_end = async move {
        if takes == Takes::First {
            let took = service.authority.take_key(keyed.key.clone()).await;
            if let Err(error) = took {
                return keyed.settle(error.into());
            }
        }
        let outcome = work(Some(keyed.key.clone())).await;
        keyed.finish(&service, takes, outcome).await
    };
    let done = rt::spawn(to_its_end).await;
    done.map_err(|error| Problem::internal(&error))?
}

/// How a request begins.
enum Begun {
    /// It has no key.
    Unkeyed,
    /// It was answered before, with this.
    Before(HttpResponse),
    /// It is to be done, and holds its key.
    First(Keyed),
}

/// A request with a key that is to be done.
struct Keyed {
    key: KeyedRequest,
    seal: Seal,
    request_id: Uuid,
    _turn: Turn,
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
    let seal = idempotency.seals.seal(caller, &key)?;
    let at = service.authority.now();
    let key = KeyedRequest {
        name: seal.name().to_owned(),
        request: digest(request)?,
        holder: Uuid::new_v4(),
        at,
        lease_until: at + idempotency.lease,
        keep_until: at + idempotency.keep,
    };
    let turn = idempotency.at_work.enter(&key)?;
    let keyed = Keyed {
        key,
        seal,
        request_id: caller.request_id,
        _turn: turn,
    };
    let (authority, key) = (Arc::clone(&service.authority), keyed.key.clone());
    // Most that come again were answered, and need no writer.
    match web::block(move || authority.replay(&key)).await?? {
        Some(replay) => keyed.settle(replay.into()).map(Begun::Before),
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
        (Some(_), Some(_)) => Err(malformed(&"a request has one Idempotency-Key")),
        (Some(one), None) => {
            // What is no text has characters that no key has.
            let key = one.to_str().unwrap_or("\u{fffd}").parse();
            key.map(Some).map_err(|error| malformed(&error))
        }
    }
}

/// Tells the requests of one key apart.
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

/// Encrypts answers to one request.
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

    /// The answer of before, if that is what the problem is about.
    fn settle(&self, problem: Problem) -> Result<HttpResponse, Problem> {
        match problem.replay() {
            Some(Replay::Answered(sealed)) => {
                let bytes = self.seal.open(&self.key.request, sealed)?;
                Ok(Answer::from_bytes(&bytes)?.response_again())
            }
            Some(Replay::InFlight | Replay::OtherRequest | Replay::GrantEnded) | None => {
                Err(problem)
            }
        }
    }

    /// Keeps the answer, if anything was decided, and then gives it.
    async fn finish(
        self,
        service: &Service,
        takes: Takes,
        outcome: Result<HttpResponse, Problem>,
    ) -> Result<HttpResponse, Problem> {
        let response = match outcome {
            Ok(response) => response,
            Err(problem) if problem.is_final() => problem.render(self.request_id),
            Err(problem) => {
                if problem.replay().is_none() {
                    // What takes its key first may have done a part of its work.
                    let forget = takes == Takes::Deciding;
                    let key = self.key.clone();
                    // Without that, the next one waits until the lease is over.
                    let _ = service.authority.let_go_of_key(key, forget).await;
                }
                return self.settle(problem);
            }
        };
        let answer = Answer::of(response)?;
        let sealed = self.sealing().close(&answer)?;
        let kept = service.authority.keep_answer(self.key.clone(), sealed);
        match kept.await {
            Ok(()) => Ok(answer.response()),
            Err(error) => self.settle(error.into()),
        }
    }
}
