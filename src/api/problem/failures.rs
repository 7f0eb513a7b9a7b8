//! Failures of the service, and requests that repeat an idempotency key.

use actix_web::error::BlockingError;
use actix_web::http::{StatusCode, header};

use super::{Problem, RETRY_AFTER};
use crate::api::routes::health::CheckView;
use crate::authority::StoreError;
use crate::authority::import::ImportError;
use crate::callers::SealError;
use crate::domain::issuance::Replay;

impl Problem {
    /// The answer of `/readyz` while no token can be issued.
    pub(in crate::api) fn not_ready(checks: Vec<CheckView>) -> Self {
        let mut problem = Self::unavailable(&"not ready");
        problem.0.cause = None;
        problem.0.checks = checks;
        problem
    }

    /// The limit of concurrent requests is reached.
    pub(in crate::api) fn too_busy() -> Self {
        Self::unavailable(&"too many concurrent requests")
    }

    /// There are more token requests than can be answered in time. It is expected, and counted, so
    /// it is not logged.
    pub(in crate::api) fn overloaded() -> Self {
        let mut problem = Self::unavailable(&"overloaded")
            .with_detail("there are more token requests than can be answered in time; retry later");
        problem.0.cause = None;
        problem
    }

    /// A request of a bulk was left without an answer, which is a bug.
    pub(in crate::api) fn unanswered() -> Self {
        Self::internal(&"a request of a bulk was not answered")
    }
}

/// For an import that does not start. Once it has started, its job reports the errors.
impl From<ImportError> for Problem {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Refused(refused) => refused.into(),
            ImportError::Table(_)
            | ImportError::Lines(_)
            | ImportError::EndsTooMuch { .. }
            | ImportError::MayBeCut { .. }
            | ImportError::EndsTooManyRows { .. }
            | ImportError::UnderWay
            | ImportError::Lost => Self::malformed(error.code(), &error),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::ProofEnded => Self::forbidden(),
            StoreError::Busy | StoreError::Unavailable(_) => Self::unavailable(&error),
            StoreError::Corrupt(_) => Self::internal(&error),
            StoreError::Replay(replay) => replay.into(),
        }
    }
}

impl From<Replay> for Problem {
    fn from(replay: Replay) -> Self {
        let problem = match &replay {
            // `http::idempotency` sends the stored answer instead of this one, if there is one.
            Replay::Answered(_) | Replay::InFlight => Self::new(
                StatusCode::CONFLICT,
                "idempotency-key-in-flight",
                "The request is still in progress",
            )
            .with_header(header::RETRY_AFTER, RETRY_AFTER),
            Replay::OtherRequest => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "The key was used for another request",
            ),
            Replay::GrantEnded => {
                Self::new(StatusCode::CONFLICT, "grant-ended", "The grant has ended")
            }
        };
        let mut problem = problem.with_detail(&replay);
        problem.0.replay = Some(replay);
        problem
    }
}

impl From<SealError> for Problem {
    fn from(error: SealError) -> Self {
        Self::internal(&error)
    }
}

impl From<BlockingError> for Problem {
    fn from(error: BlockingError) -> Self {
        Self::unavailable(&error)
    }
}
