//! Bodies: strict JSON, read member by member, so that each complaint names the member that it is about.

use std::future::{Ready, ready};
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderMap};
use actix_web::rt::time::timeout;
use actix_web::web::{self, Data};
use actix_web::{FromRequest, HttpRequest};
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use super::deserialize::{self, Id};
use super::idempotency::Digesting;
use super::time::Instant;
use crate::api::Service;
use crate::api::problem::Problem;
use crate::domain::accounts::account::text_for_people;
use crate::domain::numbers::block;
use crate::domain::text::strict_json;
use crate::domain::{NumberRange, Time, Tn};

/// Numbers: either `block`, or `start` and `count`.
#[derive(Debug, ToSchema)]
#[schema(as = Numbers)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes a body; `Members::range` reads it")]
pub(in crate::api) enum NumbersBody {
    Block {
        /// Block notation: country code first, groups separated by `.`, `-` or space, then one or more `X`.
        #[schema(example = "1.212.555.1XXX")]
        block: String,
    },
    Range {
        #[schema(example = "+12125551000")]
        start: String,
        #[schema(minimum = 1, example = 1000)]
        count: u64,
    },
}

/// When a row is to hold.
#[derive(Debug, ToSchema)]
#[schema(as = NewWindow)]
#[expect(dead_code, reason = "describes a body; `Members::time` reads it")]
pub(in crate::api) struct WindowBody {
    /// Now, if it is not said.
    valid_from: Option<Instant>,
    /// Without a known end, if it is not said.
    valid_until: Option<Instant>,
}

/// When a row is to end.
#[derive(Debug, ToSchema)]
#[schema(as = End)]
#[expect(dead_code, reason = "describes a body; `Members::time` reads it")]
pub(in crate::api) struct UntilBody {
    /// Now, if it is not said.
    at: Option<Instant>,
}

/// A body that is not read yet: who is asking is proven first.
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
    pub(in crate::api) async fn read(self) -> Result<Members, Problem> {
        let limit = self.limit(|service| service.max_body_bytes);
        self.read_up_to(limit).await
    }

    /// One JSON object with many requests in it, which may be longer.
    pub(in crate::api) async fn read_bulk(self) -> Result<Members, Problem> {
        let limit = self.limit(|service| service.max_bulk_body_bytes);
        self.read_up_to(limit).await
    }

    async fn read_up_to(self, limit: usize) -> Result<Members, Problem> {
        must_be_json(self.request.headers())?;
        members(&self.bytes(limit).await?)
    }

    fn limit(&self, of: impl Fn(&Service) -> usize) -> usize {
        let service = self.request.app_data::<Data<Service>>();
        service.map_or(0, |service| of(service))
    }

    /// One JSON object, or nothing at all, which is an object without members.
    pub(in crate::api) async fn read_if_any(self) -> Result<Members, Problem> {
        let typed = must_be_json(self.request.headers());
        let limit = self.limit(|service| service.max_body_bytes);
        let bytes = self.bytes(limit).await?;
        if bytes.is_empty() {
            return Ok(Members(Map::new()));
        }
        typed?;
        members(&bytes)
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
                "the body broke off, or is not in the transfer coding that it announces",
            )),
            Err(_) => Err(Problem::too_large(limit)),
        }
    }
}

/// `application/json`, with any parameters (RFC 8259 §11 defines none), and as it is.
fn must_be_json(headers: &HeaderMap) -> Result<(), Problem> {
    let mut types = headers.get_all(header::CONTENT_TYPE);
    let (Some(one), None) = (types.next(), types.next()) else {
        return Err(Problem::media_type(
            "a body is application/json, and its Content-Type says so",
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
            "a body is application/json, and its Content-Type says so",
        ));
    }
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Problem::media_type("a body is not compressed"));
    }
    Ok(())
}

fn members(bytes: &[u8]) -> Result<Members, Problem> {
    let value = strict_json::from_slice(bytes)
        .map_err(|e| Problem::malformed("malformed-json", no_json(&e)))?;
    Members::of(value, "the body")
}

/// Where a body is no JSON, without the words of the library, which are made for those who write programs with it.
fn no_json(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    match error.classify() {
        // What `strict_json` says itself.
        Category::Data => error.to_string(),
        Category::Eof => "the body ends where its JSON does not".to_owned(),
        Category::Syntax | Category::Io => {
            format!("the body is not JSON: see line {line}, column {column}")
        }
    }
}

/// The members of an object that are not taken yet.
#[derive(Debug)]
pub(in crate::api) struct Members(Map<String, Value>);

impl Members {
    /// The members of `value`, which is called `what` if it has none.
    pub(in crate::api) fn of(value: Value, what: &str) -> Result<Self, Problem> {
        match value {
            Value::Object(members) => Ok(Self(members)),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => Err(Problem::malformed(
                "malformed-member",
                format_args!("{what} is not a JSON object"),
            )),
        }
    }

    pub(in crate::api) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(in crate::api) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The member, if it is there.
    pub(in crate::api) fn take<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<T>, Problem> {
        let value = self.0.shift_remove(name);
        let parsed = value.map(|value| deserialize::json(value).map_err(|e| wrong(name, &e)));
        parsed.transpose()
    }

    /// The member, if it is there and not null.
    pub(in crate::api) fn take_if_set<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<T>, Problem> {
        Ok(self.take::<Option<T>>(name)?.flatten())
    }

    /// The member, which must be there.
    pub(in crate::api) fn need<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
    ) -> Result<T, Problem> {
        let missing = || {
            Problem::malformed(
                "missing-member",
                format_args!("the member `{name}` is missing"),
            )
        };
        self.take(name)?.ok_or_else(missing)
    }

    /// A text for people, if it is there and not null.
    pub(in crate::api) fn text(&mut self, name: &'static str) -> Result<Option<String>, Problem> {
        let text = self.take_if_set::<String>(name)?;
        let taken = text.map(|text| text_for_people(&text).map_err(|e| wrong(name, &e)));
        taken.transpose()
    }

    /// An instant, if it is there and not null.
    pub(in crate::api) fn time(&mut self, name: &'static str) -> Result<Option<Time>, Problem> {
        Ok(self.take_if_set::<Instant>(name)?.map(|instant| instant.0))
    }

    /// The id of a row, if it is there and not null.
    pub(in crate::api) fn id(&mut self, name: &'static str) -> Result<Option<Uuid>, Problem> {
        Ok(self.take_if_set::<Id>(name)?.map(|id| id.0))
    }

    /// Numbers: `{"start","count"}` or `{"block"}`.
    pub(in crate::api) fn range(&mut self) -> Result<NumberRange, Problem> {
        if !self.has("block") {
            let start: Tn = self.need("start")?;
            return NumberRange::new(start, self.need("count")?).map_err(|e| wrong("count", &e));
        }
        if self.has("start") || self.has("count") {
            let both = "`block` stands in place of `start` and `count`, not beside them";
            return Err(Problem::malformed("malformed-member", both));
        }
        block::parse(&self.need::<String>("block")?).map_err(|e| wrong("block", &e))
    }

    /// Refuses whatever was not taken.
    pub(in crate::api) fn done(self) -> Result<(), Problem> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => {
                let shown: String = name.chars().take(40).collect();
                Err(Problem::malformed(
                    "unknown-member",
                    format_args!("the member `{shown}` is not known here"),
                ))
            }
        }
    }
}

/// A complaint about one member.
pub(in crate::api) fn wrong(name: &str, why: &dyn std::fmt::Display) -> Problem {
    Problem::malformed("malformed-member", format_args!("`{name}`: {why}"))
}
