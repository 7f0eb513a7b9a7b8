//! One request and its answer, as the connection sees them.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_http::error::PayloadError;
use actix_http::{Payload, Request};
use actix_web::body::{BodySize, MessageBody};
use actix_web::web::Bytes;
use futures_core::Stream;

use super::flow::{Flow, Stage};

/// How much of an answer is handed to the HTTP library at once. It copies what it is given into the
/// buffer of the connection.
pub(super) const PIECE_BYTES: usize = 16 * 1024;

/// A request that is being answered. It ends when it is dropped: with the last byte of the answer,
/// or with the connection.
#[derive(Debug)]
pub(super) struct Exchange(Option<Rc<Flow>>);

impl Exchange {
    /// Begins with the head of a request, and observes how its body is read.
    pub(super) fn begin(request: &mut Request) -> Self {
        let flow = request.conn_data::<Rc<Flow>>().cloned();
        if let Some(flow) = &flow {
            flow.enter(Stage::Answering);
            match request.take_payload() {
                Payload::None => {}
                body @ (Payload::H1 { .. } | Payload::Stream { .. }) => {
                    let flow = Rc::clone(flow);
                    let payload = Box::pin(RequestBody { body, flow });
                    *request.payload() = Payload::Stream { payload };
                }
            }
        }
        Self(flow)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let Some(flow) = &self.0 {
            flow.enter(Stage::Idle);
        }
    }
}

/// The body of a request. More is read from the connection only when a handler waits for it.
struct RequestBody {
    body: Payload,
    flow: Rc<Flow>,
}

impl Stream for RequestBody {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = Pin::new(&mut self.body).poll_next(cx);
        self.flow.enter(match next {
            Poll::Pending => Stage::Body,
            Poll::Ready(_) => Stage::Answering,
        });
        next
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if self.flow.stage() == Stage::Body {
            self.flow.enter(Stage::Answering);
        }
    }
}

/// The body of an answer, in pieces of bounded size.
pub(super) struct ResponseBody<B> {
    body: Pin<Box<B>>,
    /// What is left of the last piece of `body`.
    rest: Bytes,
    _exchange: Exchange,
}

impl<B: MessageBody> ResponseBody<B> {
    pub(super) fn new(body: B, exchange: Exchange) -> Self {
        Self {
            body: Box::pin(body),
            rest: Bytes::new(),
            _exchange: exchange,
        }
    }
}

impl<B: MessageBody> MessageBody for ResponseBody<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, B::Error>>> {
        if self.rest.is_empty() {
            match self.body.as_mut().poll_next(cx) {
                Poll::Ready(Some(Ok(bytes))) => self.rest = bytes,
                other @ (Poll::Ready(Some(Err(_)) | None) | Poll::Pending) => return other,
            }
        }
        let length = self.rest.len().min(PIECE_BYTES);
        Poll::Ready(Some(Ok(self.rest.split_to(length))))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn next(body: &mut ResponseBody<Vec<u8>>) -> Option<Bytes> {
        match Pin::new(body).poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(Ok(bytes))) => Some(bytes),
            Poll::Ready(None) => None,
            other @ (Poll::Ready(Some(Err(_))) | Poll::Pending) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_large_answer_is_handed_over_in_pieces_and_unchanged() {
        let whole: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
        let flow = Rc::new(Flow::new());
        flow.enter(Stage::Answering);
        let exchange = Exchange(Some(Rc::clone(&flow)));
        let mut body = ResponseBody::new(whole.clone(), exchange);
        assert_eq!(body.size(), BodySize::Sized(100_000));
        let mut received = Vec::new();
        while let Some(piece) = next(&mut body) {
            assert!((1..=PIECE_BYTES).contains(&piece.len()));
            received.extend_from_slice(&piece);
        }
        assert_eq!(received, whole);
        assert_eq!(flow.stage(), Stage::Answering);
        drop(body);
        assert_eq!(flow.stage(), Stage::Idle);
    }
}
