//! Request bodies: strict JSON, and the parts that several bodies have in common.

use std::fmt::Display;
use std::future::{Ready, ready};
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderMap};
use actix_web::rt::time::timeout;
use actix_web::web::{self, Data};
use actix_web::{FromRequest, HttpRequest};
use serde::{Deserialize, de};
use serde_json::Value;
use serde_json::error::Category;
use utoipa::openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

use super::deserialize::{self, Fault, FromMembers, Members};
use super::idempotency::Digesting;
use super::time::Instant;
use crate::api::Service;
use crate::api::problem::Problem;
use crate::domain::numbers::block;
use crate::domain::text::strict_json;
use crate::domain::{InventoryRange, NumberRange, Time, Tn};

/// How an error calls the body as a whole.
const THE_BODY: &str = "the body";

/// Numbers: either `block`, or `start` and `count`.
#[derive(Debug, ToSchema)]
#[schema(as = Numbers)]
#[serde(untagged)]
pub(in crate::api) enum NumbersBody {
    Block(BlockBody),
    Range(RangeBody),
}

/// All numbers of a block.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NumberBlock)]
pub(in crate::api) struct BlockBody {
    /// Block notation: country code first, groups separated by `.`, `-` or space, then one or more
    /// `X`.
    #[schema(example = "1.212.555.1XXX")]
    block: String,
}

/// Numbers that follow one another.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NumberRange)]
pub(in crate::api) struct RangeBody {
    #[schema(value_type = String, example = "+12125551000")]
    start: Tn,
    #[schema(minimum = 1, example = 1000)]
    count: u64,
}

/// When a row is valid.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewWindow)]
pub(in crate::api) struct WindowBody {
    /// The default is now.
    valid_from: Option<Instant>,
    /// Without it, the row has no planned end.
    valid_until: Option<Instant>,
}

/// When a row ends.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = End)]
pub(in crate::api) struct UntilBody {
    /// The default is now.
    at: Option<Instant>,
}

/// A body of bytes in the OpenAPI document. That of a `Vec<u8>` would be an array of numbers.
#[derive(Debug)]
pub(in crate::api) struct BinaryBody;

impl PartialSchema for BinaryBody {
    fn schema() -> RefOr<Schema> {
        let bytes = ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)));
        bytes.into()
    }
}

impl ToSchema for BinaryBody {}

impl FromMembers for NumbersBody {
    fn known() -> Vec<&'static str> {
        [BlockBody::known(), RangeBody::known()].concat()
    }

    fn take_from(members: &mut Members) -> Result<Self, Fault> {
        if !members.contains_key("block") {
            return RangeBody::take_from(members).map(Self::Range);
        }
        if members.contains_key("start") || members.contains_key("count") {
            let both = "`block` replaces `start` and `count`; give one or the other";
            return Err(de::Error::custom(both));
        }
        BlockBody::take_from(members).map(Self::Block)
    }
}

impl NumbersBody {
    pub(in crate::api) fn range(&self) -> Result<NumberRange, Fault> {
        match self {
            Self::Block(BlockBody { block }) => {
                block::parse(block).map_err(|e| Fault::malformed("block", e))
            }
            Self::Range(RangeBody { start, count }) => {
                NumberRange::new(*start, *count).map_err(|e| Fault::malformed("count", e))
            }
        }
    }

    /// Numbers to write into the inventory.
    pub(in crate::api) fn inventory_range(&self) -> Result<InventoryRange, Fault> {
        let name = match self {
            Self::Block(_) => "block",
            Self::Range(_) => "start",
        };
        let numbers = self.range()?;
        numbers.try_into().map_err(|e| Fault::malformed(name, e))
    }
}

impl WindowBody {
    pub(in crate::api) fn valid_from(&self) -> Option<Time> {
        self.valid_from.map(|from| from.0)
    }

    pub(in crate::api) fn valid_until(&self) -> Option<Time> {
        self.valid_until.map(|until| until.0)
    }
}

impl UntilBody {
    pub(in crate::api) fn at(&self) -> Option<Time> {
        self.at.map(|at| at.0)
    }
}

/// An empty object.
#[derive(Debug, Deserialize)]
struct Nothing {}

/// A body that is not read yet, because the caller is authenticated first.
pub(in crate::api) struct Body {
    request: HttpRequest,
    payload: web::Payload,
}

impl FromRequest for Body {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let payload = web::Payload::from_request(request, payload).into_inner();
        ready(
            payload
                .map_err(|e| Problem::internal(&e))
                .map(|payload| Self {
                    request: request.clone(),
                    payload,
                }),
        )
    }
}

impl Body {
    /// One JSON object.
    pub(in crate::api) async fn read<T: FromMembers>(self) -> Result<T, Problem> {
        let limit = self.limit(|service| service.max_body_bytes);
        self.read_up_to(limit).await
    }

    /// One JSON object with many requests, for which the limit is higher.
    pub(in crate::api) async fn read_bulk<T: FromMembers>(self) -> Result<T, Problem> {
        let limit = self.limit(|service| service.max_bulk_body_bytes);
        self.read_up_to(limit).await
    }

    /// One JSON object; `None` if the body or the object is empty.
    pub(in crate::api) async fn read_if_any<T: FromMembers>(self) -> Result<Option<T>, Problem> {
        match self.value_if_any().await? {
            Some(value) => Ok(Some(deserialize::object(value, THE_BODY)?)),
            None => Ok(None),
        }
    }

    /// No body, or an empty object.
    pub(in crate::api) async fn read_nothing(self) -> Result<(), Problem> {
        self.read_if_any::<Nothing>().await.map(|_| ())
    }

    async fn read_up_to<T: FromMembers>(self, limit: usize) -> Result<T, Problem> {
        must_be_json(self.request.headers())?;
        let value = json(&self.bytes(limit).await?)?;
        Ok(deserialize::object(value, THE_BODY)?)
    }

    async fn value_if_any(self) -> Result<Option<Value>, Problem> {
        let typed = must_be_json(self.request.headers());
        let limit = self.limit(|service| service.max_body_bytes);
        let bytes = self.bytes(limit).await?;
        if bytes.is_empty() {
            return Ok(None);
        }
        typed?;
        let value = json(&bytes)?;
        let no_members = value.as_object().is_some_and(Members::is_empty);
        Ok((!no_members).then_some(value))
    }

    fn limit(&self, of: impl Fn(&Service) -> usize) -> usize {
        let service = self.request.app_data::<Data<Service>>();
        service.map_or(0, |service| of(service))
    }

    async fn bytes(self, limit: usize) -> Result<web::Bytes, Problem> {
        let announced = self.request.headers().get(header::CONTENT_LENGTH);
        let announced = announced.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|length| length > limit) {
            return Err(Problem::too_large(limit));
        }
        let service = self.request.app_data::<Data<Service>>();
        let deadline = service.map_or(Duration::ZERO, |service| service.request_timeout);
        let read = timeout(deadline, self.payload.to_bytes_limited(limit)).await;
        match read.map_err(|_| Problem::too_slow())? {
            Ok(Ok(bytes)) => {
                let mut digesting = Digesting::of(&self.request);
                digesting.take(&bytes);
                digesting.done(&self.request);
                Ok(bytes)
            }
            Ok(Err(_)) => Err(Problem::malformed(
                "malformed-body",
                "the body is truncated, or does not match its Transfer-Encoding",
            )),
            Err(_) => Err(Problem::too_large(limit)),
        }
    }
}

/// `application/json` with any parameters (RFC 8259 §11 defines none), and not compressed.
fn must_be_json(headers: &HeaderMap) -> Result<(), Problem> {
    let mut types = headers.get_all(header::CONTENT_TYPE);
    let (Some(one), None) = (types.next(), types.next()) else {
        return Err(Problem::media_type(
            "send the body as JSON, with `Content-Type: application/json`",
        ));
    };
    let essence = one
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default();
    if !essence.trim().eq_ignore_ascii_case("application/json") {
        return Err(Problem::media_type(
            "send the body as JSON, with `Content-Type: application/json`",
        ));
    }
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Problem::media_type(
            "send the body uncompressed, without `Content-Encoding`",
        ));
    }
    Ok(())
}

fn json(bytes: &[u8]) -> Result<Value, Problem> {
    strict_json::from_slice(bytes).map_err(|e| Problem::malformed("malformed-json", json_error(&e)))
}

/// Says where a body is not JSON. The messages of the library are for Rust programmers.
fn json_error(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    match error.classify() {
        // The message is from `strict_json`.
        Category::Data => error.to_string(),
        Category::Eof => "the body ends before its JSON does".to_owned(),
        Category::Syntax | Category::Io => {
            format!("the body is not JSON: see line {line}, column {column}")
        }
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        let code = fault.code();
        match &fault {
            Fault::Missing(_) | Fault::Unknown { .. } => {
                Self::malformed(code, format_args!("the member {fault}"))
            }
            Fault::Malformed { .. } => Self::malformed(code, fault),
        }
    }
}

/// A problem with one member.
pub(in crate::api) fn wrong(name: &str, why: impl Display) -> Problem {
    Fault::malformed(name, why).into()
}
