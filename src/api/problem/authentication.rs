//! Errors of authentication, and of managing API keys.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};

use super::{CHALLENGE, Problem};
use crate::callers::{ApiKeyError, AuthError};

/// `Retry-After` in seconds, while the keys of an issuer are not available. Longer than for other
/// failures, because keys are fetched at intervals, however often clients retry.
const RETRY_AFTER_NO_KEYS: HeaderValue = HeaderValue::from_static("10");

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Missing => {
                Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Unauthorized")
                    .with_detail(AuthError::Missing)
                    .with_header(header::WWW_AUTHENTICATE, CHALLENGE)
            }
            AuthError::Invalid => Self::forbidden(),
            AuthError::NoKeys => Self::unavailable_for(&error, RETRY_AFTER_NO_KEYS),
            AuthError::KeyNotLoaded { retry_after } => {
                Self::unavailable_for(&error, HeaderValue::from(retry_after))
            }
            AuthError::Store(error) => error.into(),
        }
    }
}

impl From<ApiKeyError> for Problem {
    fn from(error: ApiKeyError) -> Self {
        let (status, code, title) = match error {
            ApiKeyError::Forbidden => return Self::forbidden(),
            ApiKeyError::NotFound => return Self::not_found("API key"),
            ApiKeyError::Store(error) => return error.into(),
            ApiKeyError::OpenSsl(_) => return Self::unavailable(&error),
            ApiKeyError::RoleAccounts(_) | ApiKeyError::ManyAccounts => (
                StatusCode::BAD_REQUEST,
                "role-and-accounts",
                "Role and accounts do not match",
            ),
            ApiKeyError::ManyNetworks | ApiKeyError::LongOverlap => (
                StatusCode::BAD_REQUEST,
                "malformed-member",
                "Malformed request",
            ),
            ApiKeyError::Past(_) => (
                StatusCode::BAD_REQUEST,
                "window-over",
                "Invalid time window",
            ),
            ApiKeyError::UnknownAccount(_) => {
                (StatusCode::CONFLICT, "unknown-account", "No such account")
            }
            ApiKeyError::Ended(_) => (StatusCode::CONFLICT, "key-ended", "The API key has ended"),
        };
        Self::new(status, code, title).with_detail(&error)
    }
}
