//! Parameters in the URL: path parameters, query parameters, and pagination.

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

/// The only path parameter, decoded.
pub(in crate::api) fn name(request: &HttpRequest) -> Result<String, Problem> {
    let name = Path::<String>::extract(request).into_inner();
    name.map(Path::into_inner)
        .map_err(|_| Problem::no_such_route())
}

/// A row's id in the path. A malformed id names no row, so it is answered with 404.
pub(in crate::api) fn id(request: &HttpRequest, what: &str) -> Result<uuid::Uuid, Problem> {
    name(request)?.parse().map_err(|_| Problem::not_found(what))
}

/// Parses the query parameters; an unknown or repeated one is an error. A `+` means itself and not
/// a space, because timestamps and numbers have a `+` and no value has a space.
pub(in crate::api) fn query<T: DeserializeOwned>(request: &HttpRequest) -> Result<T, Problem> {
    let text = request.query_string().replace('+', "%2B");
    let pairs = Query::<Vec<(String, String)>>::from_query(&text);
    let pairs = pairs.map_err(|_| malformed("the query string is malformed"))?;
    let pairs = pairs.into_inner();
    // No value has one, and PostgreSQL cannot store U+0000, which would look like its failure.
    if pairs
        .iter()
        .any(|(_, value)| value.contains(char::is_control))
    {
        return Err(malformed("the query string contains a control character"));
    }
    deserialize::parameters(pairs).map_err(malformed)
}

fn malformed(why: impl fmt::Display) -> Problem {
    Problem::malformed("malformed-query", why)
}

/// The maximum number of items on a page.
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

/// Selects a page of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct PageQuery {
    /// The maximum number of items.
    #[param(minimum = 1, maximum = 1000, default = 100, value_type = Option<u16>)]
    limit: Option<PageLimit>,
    /// The `next_cursor` of the previous page.
    cursor: Option<String>,
}

impl PageQuery {
    /// The requested page of a list whose items have keys of this kind.
    pub(in crate::api) fn page(self, key: CursorKey) -> Result<Page, Problem> {
        page(self.limit, self.cursor, key)
    }
}

/// The kind of key that a list is sorted by, which determines the form of its cursors. A cursor of
/// another form was damaged on the way, and using it would skip items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum CursorKey {
    Account,
    /// The id of an API key.
    Caller,
    Jti,
    /// An index into a list, eight digits.
    Place,
    Uuid,
}

impl CursorKey {
    fn matches(self, text: &str) -> bool {
        let all = |test: fn(&u8) -> bool| text.as_bytes().iter().all(test);
        match self {
            Self::Account => text.parse::<AccountId>().is_ok(),
            Self::Caller => text.len() == 16 && all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
            Self::Jti => Jti::parse(text).is_some(),
            Self::Place => text.len() == 8 && all(u8::is_ascii_digit),
            Self::Uuid => text.len() == 36 && text.parse::<uuid::Uuid>().is_ok(),
        }
    }
}

/// The page that these parameters select.
pub(in crate::api) fn page(
    limit: Option<PageLimit>,
    cursor: Option<String>,
    key: CursorKey,
) -> Result<Page, Problem> {
    let limit = limit.unwrap_or_default().get();
    match cursor {
        Some(cursor) if !key.matches(&cursor) => {
            Err(malformed("`cursor` is not a `next_cursor` of this list"))
        }
        cursor => Ok(Page::new(limit, cursor)),
    }
}
