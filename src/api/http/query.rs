//! What stands in the address: names in the path, questions behind the `?`.

use std::fmt;

use actix_web::web::{Path, Query};
use actix_web::{FromRequest as _, HttpRequest};
use serde::de::{self, DeserializeOwned};
use serde::{Deserialize, Deserializer};
use utoipa::IntoParams;

use super::deserialize;
use crate::api::problem::Problem;
use crate::authority::Page;
use crate::domain::AccountId;
use crate::domain::tokens::grant::Jti;

const DEFAULT_LIMIT: u16 = 100;

/// The one name that stands in the path, decoded.
pub(in crate::api) fn name(request: &HttpRequest) -> Result<String, Problem> {
    let name = Path::<String>::extract(request).into_inner();
    name.map(Path::into_inner)
        .map_err(|_| Problem::no_such_route())
}

/// A row's id in the path. What is no id names no row.
pub(in crate::api) fn id(request: &HttpRequest, what: &str) -> Result<uuid::Uuid, Problem> {
    name(request)?.parse().map_err(|_| Problem::not_found(what))
}

/// The questions, of which none is unknown and none is put twice. A `+` is a `+`: no value here has a space.
pub(in crate::api) fn query<T: DeserializeOwned>(request: &HttpRequest) -> Result<T, Problem> {
    let text = request.query_string().replace('+', "%2B");
    let pairs = Query::<Vec<(String, String)>>::from_query(&text);
    let pairs = pairs.map_err(|_| malformed("what stands behind the `?` cannot be read"))?;
    let pairs = pairs.into_inner();
    // No parameter has any; PostgreSQL cannot even store one of them, which would look like a failure of its own.
    if pairs
        .iter()
        .any(|(_, value)| value.contains(char::is_control))
    {
        return Err(malformed("a control character stands behind the `?`"));
    }
    deserialize::parameters(pairs).map_err(malformed)
}

fn malformed(why: impl fmt::Display) -> Problem {
    Problem::malformed("malformed-query", why)
}

/// How many items at most.
#[derive(Debug, Clone, Copy)]
pub(in crate::api) struct PageLimit(u16);

impl PageLimit {
    pub(in crate::api) const fn get(self) -> u16 {
        self.0
    }
}

impl Default for PageLimit {
    fn default() -> Self {
        Self(DEFAULT_LIMIT)
    }
}

impl<'de> Deserialize<'de> for PageLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let limit = u16::deserialize(deserializer).ok();
        let limit = limit.filter(|limit| (1..=Page::MAX_LIMIT).contains(limit));
        let expected = format_args!("expected a whole number from 1 to {}", Page::MAX_LIMIT);
        limit.map(Self).ok_or_else(|| de::Error::custom(expected))
    }
}

/// Which page of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct PageQuery {
    /// How many items at most.
    #[param(minimum = 1, maximum = 1000, default = 100, value_type = Option<u16>)]
    limit: Option<PageLimit>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

impl PageQuery {
    /// The page that is asked for of a list whose items have such keys.
    pub(in crate::api) fn page(self, key: CursorKey) -> Result<Page, Problem> {
        page(self.limit, self.cursor, key)
    }
}

/// What items of a list are found by, and so what its cursors look like. One that looks otherwise was damaged on its way;
/// taken for what it is, it would hide items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum CursorKey {
    Account,
    /// The id of an API key.
    Caller,
    Jti,
    /// A place in a list, eight digits.
    Place,
    Uuid,
}

impl CursorKey {
    fn is(self, text: &str) -> bool {
        let all = |is: fn(&u8) -> bool| text.as_bytes().iter().all(is);
        match self {
            Self::Account => text.parse::<AccountId>().is_ok(),
            Self::Caller => text.len() == 16 && all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
            Self::Jti => Jti::parse(text).is_some(),
            Self::Place => text.len() == 8 && all(u8::is_ascii_digit),
            Self::Uuid => text.len() == 36 && text.parse::<uuid::Uuid>().is_ok(),
        }
    }
}

/// The page that these two ask for.
pub(in crate::api) fn page(
    limit: Option<PageLimit>,
    cursor: Option<String>,
    key: CursorKey,
) -> Result<Page, Problem> {
    let limit = limit.unwrap_or_default().get();
    match cursor {
        Some(cursor) if !key.is(&cursor) => {
            Err(malformed("`cursor` is not one that this service gave"))
        }
        cursor => Ok(Page::new(limit, cursor)),
    }
}
