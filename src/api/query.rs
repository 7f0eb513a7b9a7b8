//! What stands in the address: names in the path, questions behind the `?`.

use actix_web::web::{Path, Query};
use actix_web::{FromRequest as _, HttpRequest};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use super::problem::Problem;
use crate::authority::Page;

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
    /// The page that a list of questions asks for.
    pub(super) fn page(self) -> Result<Page, Problem> {
        page(self.limit, self.cursor)
    }
}

/// The page that these two ask for.
pub(super) fn page(limit: Option<u16>, cursor: Option<String>) -> Result<Page, Problem> {
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=Page::MAX_LIMIT).contains(&limit) {
        let detail = format_args!("`limit` is 1 to {}", Page::MAX_LIMIT).to_string();
        return Err(Problem::malformed("malformed-query", detail));
    }
    // Keys of rows are ids of accounts, UUIDs and jti.
    let is_cursor = |text: &String| {
        (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._~-".contains(&b))
    };
    match cursor {
        Some(cursor) if !is_cursor(&cursor) => Err(Problem::malformed(
            "malformed-query",
            "`cursor` is not one that this service gave",
        )),
        cursor => Ok(Page::new(limit, cursor)),
    }
}
