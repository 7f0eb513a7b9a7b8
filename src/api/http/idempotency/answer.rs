//! A stored answer: status, header fields and body, byte for byte.

use actix_web::HttpResponse;
use actix_web::body::MessageBody as _;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::web::Bytes;
use serde::{Deserialize, Serialize};

use crate::api::problem::Problem;

const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Marks an answer that is complete except for the headers of the request, such as its id.
#[derive(Debug, Clone, Copy)]
pub(in crate::api) struct Finished;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    head: Head,
    body: Bytes,
}

/// The first line of a stored answer. The body follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    status: u16,
    headers: Vec<(String, String)>,
}

impl Answer {
    /// A handler's answer, before the middleware adds the headers of the request.
    ///
    /// # Errors
    /// If it is a failure of the service, which must not be stored, or a stream.
    pub(super) fn of(response: HttpResponse) -> Result<Self, Problem> {
        if response.status().is_server_error() {
            return Err(Problem::internal(
                &"a failure cannot be stored as an answer",
            ));
        }
        let status = response.status().as_u16();
        let text = |(name, value): (&HeaderName, &HeaderValue)| {
            let value = value.to_str().map_err(|e| Problem::internal(&e))?;
            Ok((name.as_str().to_owned(), value.to_owned()))
        };
        let headers = response.headers().iter().map(text);
        let headers = headers.collect::<Result<_, Problem>>()?;
        let body = response.into_body().try_into_bytes();
        let body = body.map_err(|_| Problem::internal(&"a streamed answer cannot be stored"))?;
        let head = Head { status, headers };
        Ok(Self { head, body })
    }

    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, Problem> {
        let mut bytes = serde_json::to_vec(&self.head).map_err(|e| Problem::internal(&e))?;
        bytes.push(b'\n');
        bytes.extend_from_slice(&self.body);
        Ok(bytes)
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, Problem> {
        let cut = bytes.iter().position(|byte| *byte == b'\n');
        let cut = cut.ok_or_else(|| Problem::internal(&"a stored answer has no head"))?;
        let head = serde_json::from_slice(&bytes[..cut]).map_err(|e| Problem::internal(&e))?;
        let body = Bytes::copy_from_slice(&bytes[cut + 1..]);
        Ok(Self { head, body })
    }

    /// The first answer.
    pub(super) fn response(&self) -> HttpResponse {
        let status = StatusCode::from_u16(self.head.status);
        let mut response = HttpResponse::build(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
        for (name, value) in &self.head.headers {
            response.append_header((name.as_str(), value.as_str()));
        }
        let mut response = response.body(self.body.clone());
        response.extensions_mut().insert(Finished);
        response
    }

    /// The repeated answer, which is marked by a header.
    pub(super) fn replayed_response(&self) -> HttpResponse {
        let mut response = self.response();
        let replayed = HeaderValue::from_static("true");
        response.headers_mut().insert(REPLAYED, replayed);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_kept_byte_for_byte() {
        let response = HttpResponse::Created()
            .insert_header(("location", "/v1/delegations/1"))
            .content_type("application/json")
            .body("{\n\"a\": \"\u{e4}\"}\n");
        let answer = Answer::of(response).expect("an answer");
        let bytes = answer.to_bytes().expect("bytes");
        assert_eq!(Answer::from_bytes(&bytes).expect("an answer"), answer);
        let again = answer.replayed_response();
        assert_eq!(again.status(), StatusCode::CREATED);
        let header = |name: &str| again.headers().get(name).map(HeaderValue::as_bytes);
        assert_eq!(header("location"), Some(&b"/v1/delegations/1"[..]));
        assert_eq!(header("content-type"), Some(&b"application/json"[..]));
        assert_eq!(header("idempotency-replayed"), Some(&b"true"[..]));
        assert!(Answer::from_bytes(b"{}").is_err() && Answer::from_bytes(b"\n").is_err());
    }
}
