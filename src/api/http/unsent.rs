//! Bounds the memory of large answers that clients have not read yet.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use actix_web::ResponseError as _;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::ServiceResponse;
use actix_web::web::{Bytes, Data};

use crate::api::Service;
use crate::api::problem::Problem;

/// Answers from this size on are counted, in bytes. Smaller ones are bounded by the number of
/// connections.
const LARGE: u64 = 64 * 1024;
/// Bytes of all large answers that are not sent yet.
const MAX_UNSENT: u64 = 16 * 1024 * 1024;

/// Marks an answer whose body is a part of the program, so that it takes no memory of its own.
#[derive(Debug)]
pub(in crate::api) struct SharedBody;

/// The large answers that are not sent yet.
#[derive(Debug, Default)]
pub struct UnsentAnswers(AtomicU64);

/// A large answer, until it is sent or its connection ends.
#[derive(Debug)]
struct Held {
    answers: Arc<UnsentAnswers>,
    bytes: u64,
}

impl UnsentAnswers {
    /// Whether clients that do not read must be disconnected sooner.
    #[must_use]
    pub fn are_many(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= MAX_UNSENT / 2
    }

    fn hold(self: &Arc<Self>, bytes: u64) -> (Held, bool) {
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
        let held = Held {
            answers: Arc::clone(self),
            bytes,
        };
        (held, before.saturating_add(bytes) <= MAX_UNSENT)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.answers.0.fetch_sub(self.bytes, Ordering::Relaxed);
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
    use super::*;

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
        assert_eq!(answers.0.load(Ordering::Relaxed), 0);
    }
}
