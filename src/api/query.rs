//! What stands in the address: names in the path, questions behind the `?`.

use actix_web::web::{Path, Query};
use actix_web::{FromRequest as _, HttpRequest};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use super::problem::Problem;
use crate::authority::Page;
use crate::domain::AccountId;
use crate::domain::grant::Jti;

const DEFAULT_LIMIT: u16 = 100;

/// The one name that stands in the path, decoded.
pub(super) fn name(request: &HttpRequest) -> Result<String, Problem> {
    let name = Path::<String>::extract(request).into_inner();
    name.map(Path::into_inner)
        .map_err(|_| Problem::no_such_route())
}

/// A row's id in the path. What is no id names no row.
pub(super) fn id(request: &HttpRequest, what: &str) -> Result<uuid::Uuid, Problem> {
    name(request)?.parse().map_err(|_| Problem::not_found(what))
}

/// The questions, of which none is unknown and none is put twice. A `+` is a `+`: no value here has a space.
pub(super) fn query<T: DeserializeOwned>(request: &HttpRequest) -> Result<T, Problem> {
    let text = request.query_string().replace('+', "%2B");
    let query =
        Query::<T>::from_query(&text).map_err(|e| Problem::malformed("malformed-query", e))?;
    Ok(query.into_inner())
}

/// Which page of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// How many items at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u16>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

impl PageQuery {
    /// The page that is asked for of a list whose items have such keys.
    pub(super) fn page(self, key: Key) -> Result<Page, Problem> {
        page(self.limit, self.cursor, key)
    }
}

/// What items of a list are found by, and so what its cursors look like. One that looks otherwise was damaged on its way;
/// taken for what it is, it would hide items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Account,
    /// The id of an API key.
    Caller,
    Jti,
    /// A place in a list, eight digits.
    Place,
    Uuid,
}

impl Key {
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
pub(super) fn page(limit: Option<u16>, cursor: Option<String>, key: Key) -> Result<Page, Problem> {
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=Page::MAX_LIMIT).contains(&limit) {
        let detail = format_args!("`limit` is 1 to {}", Page::MAX_LIMIT).to_string();
        return Err(Problem::malformed("malformed-query", detail));
    }
    match cursor {
        Some(cursor) if !key.is(&cursor) => Err(Problem::malformed(
            "malformed-query",
            "`cursor` is not one that this service gave",
        )),
        cursor => Ok(Page::new(limit, cursor)),
    }
}
