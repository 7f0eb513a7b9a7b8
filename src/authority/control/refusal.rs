//! Why numbers are not asked: for each number its own reason.

use std::fmt::{self, Write as _};

use thiserror::Error;

use crate::domain::Tn;
use crate::domain::clock::{Time, rfc3339};
use crate::domain::control::proof::Method;
use crate::domain::decision::denial::RefusalCause;

/// How many numbers a message names. It is for people; the full list is in `refused`.
const MAX_NAMED: usize = 3;

/// Numbers that cannot be asked now. None of the request was.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct CannotStart {
    /// At least one.
    pub refused: Vec<RefusedStart>,
}

/// A number that cannot be asked now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusedStart {
    pub number: Tn,
    pub cause: StartCause,
}

/// Why a number cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartCause {
    /// The account has no authority over it, so there is nothing to prove.
    NoAuthority(RefusalCause),
    /// It was asked, and the code can still come back.
    Pending { until: Time },
    /// A limit is reached: in how many seconds it can be asked.
    TooMany { limit: ProofLimit, seconds: u32 },
}

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofLimit {
    Number,
    Account,
    /// What one customer of the carrier, with all accounts below, can use of a gateway.
    Customer(Method),
    /// What all accounts together can use of a gateway.
    Gateway(Method),
}

impl StartCause {
    /// The stable code of the API.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoAuthority(cause) => cause.code(),
            Self::Pending { .. } => CannotStart::PENDING,
            Self::TooMany { .. } => CannotStart::TOO_MANY,
        }
    }
}

impl CannotStart {
    /// The code if the account has no authority over a number.
    pub const NO_AUTHORITY: &str = "not-authorized";
    /// The code if a number was asked already.
    pub const PENDING: &str = "proof-pending";
    /// The code if a limit is reached.
    pub const TOO_MANY: &str = "too-many-proofs";

    /// The code of the whole refusal: that of the reason which waiting helps least.
    #[must_use]
    pub fn code(&self) -> &'static str {
        let any = |is: fn(&StartCause) -> bool| self.refused.iter().any(|one| is(&one.cause));
        if any(|cause| matches!(cause, StartCause::NoAuthority(_))) {
            Self::NO_AUTHORITY
        } else if any(|cause| matches!(cause, StartCause::Pending { .. })) {
            Self::PENDING
        } else {
            Self::TOO_MANY
        }
    }

    /// In how many seconds no limit is in the way any more.
    #[must_use]
    pub fn retry_after(&self) -> u32 {
        let seconds = self.refused.iter().map(|one| match one.cause {
            StartCause::TooMany { seconds, .. } => seconds,
            StartCause::NoAuthority(_) | StartCause::Pending { .. } => 0,
        });
        seconds.max().unwrap_or_default().max(1)
    }
}

impl fmt::Display for CannotStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.refused.iter().take(MAX_NAMED);
        let mut text = named
            .map(|one| format!("{} ({})", one.number, one.cause))
            .collect::<Vec<_>>()
            .join(", ");
        if self.refused.len() > MAX_NAMED {
            let _ = write!(text, " and {} more", self.refused.len() - MAX_NAMED);
        }
        write!(f, "no number was asked, because of {text}")
    }
}

impl fmt::Display for StartCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAuthority(cause) => cause.fmt(f),
            Self::Pending { until } => {
                write!(f, "a code can still be returned until {}", rfc3339(until))
            }
            Self::TooMany { limit, seconds } => write!(
                f,
                "{}; retry in {seconds} s",
                match limit {
                    ProofLimit::Number => "it was asked too often",
                    ProofLimit::Account => "too many numbers of the account were asked",
                    ProofLimit::Customer(Method::Sms) =>
                        "too many messages were sent for the customer",
                    ProofLimit::Customer(Method::Voice) =>
                        "too many calls were made for the customer",
                    ProofLimit::Customer(Method::Sip) =>
                        "too many SIP messages were sent for the customer",
                    ProofLimit::Gateway(Method::Sms) => "too many messages were sent",
                    ProofLimit::Gateway(Method::Voice) => "too many calls were made",
                    ProofLimit::Gateway(Method::Sip) => "too many SIP messages were sent",
                }
            ),
        }
    }
}
