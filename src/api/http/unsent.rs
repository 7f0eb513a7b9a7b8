//! Bounds the memory of large answers: of those being made, and of those that clients have not read
//! yet.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::ResponseError as _;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::rt::time::timeout;
use actix_web::web::{Bytes, Data};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::api::Service;
use crate::api::problem::Problem;

/// Answers from this size on are counted, in bytes. Smaller ones are bounded by the number of
/// connections.
const LARGE: u64 = 64 * 1024;
/// Bytes of all large answers that are not sent yet.
const MAX_UNSENT: u64 = 16 * 1024 * 1024;
/// How many answers that may be large are made at the same time. Until its size is known, an answer
/// takes several times that: as rows, as their views, and as text.
const MADE_AT_ONCE: usize = 8;
/// How long a request waits for others whose answers are being made.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// Marks an answer whose body is a part of the program, so that it takes no memory of its own.
#[derive(Debug)]
pub(in crate::api) struct SharedBody;

/// The large answers that are being made, and those that are not sent yet.
#[derive(Debug)]
pub struct UnsentAnswers {
    bytes: AtomicU64,
    making: Arc<Semaphore>,
}

/// Held while an answer that may be large is made, until its size is counted.
pub(super) type Making = Option<OwnedSemaphorePermit>;

/// A large answer, until it is sent or its connection ends.
#[derive(Debug)]
struct Held {
    answers: Arc<UnsentAnswers>,
    bytes: u64,
}

impl Default for UnsentAnswers {
    fn default() -> Self {
        Self {
            bytes: AtomicU64::new(0),
            making: Arc::new(Semaphore::new(MADE_AT_ONCE)),
        }
    }
}

impl UnsentAnswers {
    /// Whether clients that do not read must be disconnected sooner.
    #[must_use]
    pub fn are_many(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) >= MAX_UNSENT / 2
    }

    fn hold(self: &Arc<Self>, bytes: u64) -> (Held, bool) {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let held = Held {
            answers: Arc::clone(self),
            bytes,
        };
        (held, before.saturating_add(bytes) <= MAX_UNSENT)
    }

    /// Waits until the answer to this request may be made, if it may be large. Requests that can
    /// change something never wait.
    pub(super) async fn make(&self, request: &ServiceRequest) -> Result<Making, Problem> {
        if !may_be_large(request) {
            return Ok(None);
        }
        let permit = timeout(MAX_WAIT, Arc::clone(&self.making).acquire_owned()).await;
        let permit = permit.ok().and_then(Result::ok);
        permit.map(Some).ok_or_else(Problem::too_busy)
    }
}

/// Whether the request may be for a long list or the history of a number. Without a query a list
/// has its default length, so it is short; an export is made in pieces.
fn may_be_large(request: &ServiceRequest) -> bool {
    let path = request.match_info().as_str();
    let is_long = !request.query_string().is_empty() || path.starts_with("/v1/numbers/");
    request.method().is_safe() && is_long
}

impl Drop for Held {
    fn drop(&mut self) {
        self.answers.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Counts a large answer until it is sent. One that would exceed the bound is refused, unless its
/// request may have changed something: that answer must not be lost. Returns whether it is refused.
pub(in crate::api) fn hold(response: ServiceResponse<BoxBody>) -> (ServiceResponse<BoxBody>, bool) {
    let bytes = match response.response().body().size() {
        BodySize::Sized(bytes) if bytes >= LARGE => bytes,
        BodySize::Sized(_) | BodySize::None | BodySize::Stream => return (response, false),
    };
    let service = response.request().app_data::<Data<Service>>();
    let (Some(service), None) = (
        service,
        response.response().extensions().get::<SharedBody>(),
    ) else {
        return (response, false);
    };
    let (held, fits) = service.under_way.unsent().hold(bytes);
    if !fits && response.request().method().is_safe() {
        let (request, _) = response.into_parts();
        let refusal = Problem::too_busy().error_response();
        return (ServiceResponse::new(request, refusal), true);
    }
    let response = response.map_body(|_, body| BoxBody::new(HeldBody { body, _held: held }));
    (response, false)
}

struct HeldBody {
    body: BoxBody,
    _held: Held,
}

impl MessageBody for HeldBody {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[actix_web::test]
    async fn few_large_answers_are_made_at_once_and_changes_never_wait() {
        let answers = UnsentAnswers::default();
        let list = TestRequest::get().uri("/v1/grants?limit=1000");
        let change = TestRequest::post().uri("/v1/tokens?x=1");
        let (list, change) = (list.to_srv_request(), change.to_srv_request());
        let mut making = Vec::new();
        for _ in 0..MADE_AT_ONCE {
            making.push(answers.make(&list).await.expect("a permit"));
        }
        assert!(answers.make(&list).await.is_err());
        assert!(matches!(answers.make(&change).await, Ok(None)));
        making.pop();
        assert!(matches!(answers.make(&list).await, Ok(Some(_))));
    }

    #[test]
    fn large_answers_are_counted_until_they_are_sent() {
        let answers = Arc::new(UnsentAnswers::default());
        let (half, fits) = answers.hold(MAX_UNSENT / 2);
        assert!(fits && answers.are_many());
        let (rest, fits) = answers.hold(MAX_UNSENT / 2);
        assert!(fits);
        let (more, fits) = answers.hold(1);
        assert!(!fits);
        drop((half, more));
        assert!(answers.are_many());
        drop(rest);
        assert!(!answers.are_many());
        assert_eq!(answers.bytes.load(Ordering::Relaxed), 0);
    }
}
