//! Why a certificate was not obtained, and which side is responsible.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use super::wait::Stopped;
use crate::domain::clock::{Time, rfc3339};
use crate::domain::text::printable::{printable, printable_long};
use crate::domain::text::strict_json;
use crate::outgoing::OutgoingError;
use crate::signer::SignerError;
use crate::verifier::LintError;

/// The code of an authority that refuses because control of numbers is not proven.
const CONTROL_NOT_PROVEN: &str = "control-not-proven";

/// Every error of the ACME client.
#[derive(Debug, Error)]
pub enum AcmeError {
    #[error(transparent)]
    Outgoing(#[from] OutgoingError),
    #[error("`{name}` in the CA's response is not an https URL: {url}")]
    Url { name: &'static str, url: String },
    #[error("the CA's response to {what} is malformed: {why}")]
    Malformed { what: &'static str, why: String },
    #[error("the CA answered {what} with status {status}{}", explained(.problem.as_deref()))]
    Status {
        what: &'static str,
        status: u16,
        problem: Option<Box<ProblemDocument>>,
    },
    #[error("the CA did not accept the token{}", explained(.problem.as_deref()))]
    TokenRefused {
        problem: Option<Box<ProblemDocument>>,
    },
    #[error("the CA set the order to `{status}`{}", explained(.problem.as_deref()))]
    OrderRefused {
        status: String,
        problem: Option<Box<ProblemDocument>>,
    },
    #[error("the CA repeatedly refused nonces that it had issued itself")]
    Nonces,
    #[error(
        "the CA requires agreement to its terms of service, {0}; read them, and agree with `--agree-tos`"
    )]
    Terms(String),
    #[error("the CA requires an external account binding; set `--eab-kid` and `--eab-key-file`")]
    NoBinding,
    #[error("the key of the external account binding must be base64url of at least 16 bytes")]
    BindingKey,
    #[error("the CA does not support automatic renewal (STAR, RFC 8739)")]
    NoStar,
    #[error(
        "the CA automatically renews only certificates that are valid for at least {0} seconds"
    )]
    StarLifetime(u64),
    #[error("the CA automatically renews certificates for at most {0} seconds")]
    StarDuration(u64),
    #[error("the CA ended the automatic renewal{}", explained(.0.as_deref()))]
    StarEnded(Option<Box<ProblemDocument>>),
    #[error("the order is `{0}`, and only a `valid` one can be canceled")]
    NotCancelable(String),
    #[error("the issued certificate does not match the order: {0}")]
    WrongCertificate(String),
    #[error("the certificate and the ACME account have the same key, which RFC 8555 §11.1 forbids")]
    SameKey,
    #[error("the authority refused to issue a token{}{}", explained(Some(.0)), help(.0))]
    Withheld(Box<ProblemDocument>),
    #[error("the authority answered with status {status}{}", explained(.problem.as_deref()))]
    Authority {
        status: u16,
        problem: Option<Box<ProblemDocument>>,
    },
    #[error("the authority issued a malformed token: {0}")]
    Token(#[from] LintError),
    #[error("the authority's response is malformed: {0}")]
    TokenAnswer(String),
    #[error("the authority issued a token for {0}")]
    OtherToken(&'static str),
    #[error("the authority issued a token that expired at {}", rfc3339(.0))]
    TokenExpired(Time),
    #[error("timed out after {seconds} seconds while waiting for {what}")]
    Late { what: &'static str, seconds: u64 },
    #[error(transparent)]
    Stopped(#[from] Stopped),
    #[error(transparent)]
    Key(#[from] SignerError),
    #[error("OpenSSL: {0}")]
    OpenSsl(#[from] openssl::error::ErrorStack),
    /// An error of the caller, such as a file that cannot be written.
    #[error("{0}")]
    Files(String),
}

/// Which side is responsible for an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The authority refuses, because the enterprise has no authority for the numbers. A retry will
    /// not help.
    AuthorityRefuses,
    /// The authority refuses until control of the numbers is proven again.
    ControlNotProven,
    /// The CA refuses.
    CaRefuses,
    /// The client was asked to stop.
    Stopped,
    /// Any other error. A retry can succeed.
    Other,
}

impl AcmeError {
    /// Which side is responsible.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Withheld(problem) if problem.is_about_control() => Kind::ControlNotProven,
            Self::Withheld(_) => Kind::AuthorityRefuses,
            Self::TokenRefused { .. }
            | Self::OrderRefused { .. }
            | Self::StarEnded(_)
            | Self::NotCancelable(_) => Kind::CaRefuses,
            Self::Status { status, .. } if matches!(*status, 400..=428) => Kind::CaRefuses,
            Self::Stopped(_) => Kind::Stopped,
            _ => Kind::Other,
        }
    }
}

impl AcmeError {
    /// Adds the reason that an earlier answer gave, if this error has none.
    pub(super) fn explained_by(self, earlier: Self) -> Self {
        match (self, earlier) {
            (
                Self::OrderRefused {
                    status,
                    problem: None,
                },
                Self::Status { problem, .. },
            ) => Self::OrderRefused { status, problem },
            (Self::TokenRefused { problem: None }, Self::Status { problem, .. }) => {
                Self::TokenRefused { problem }
            }
            (this, _) => this,
        }
    }
}

/// The problem document of a response (RFC 9457; RFC 8555 §6.7). Its texts are untrusted input.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ProblemDocument {
    #[serde(rename = "type")]
    pub kind: String,
    /// The problem code, which only an authority sends.
    pub code: String,
    pub detail: String,
    pub subproblems: Vec<Subproblem>,
}

/// One of several reasons (RFC 8555 §6.7.1).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Subproblem {
    pub code: String,
    pub detail: String,
}

impl ProblemDocument {
    /// Parses a response body; `None` if it is not a problem document.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Box<Self>> {
        Self::of(strict_json::from_slice(body).ok()?)
    }

    /// Parses a member of a response; `None` if it is not a problem document.
    pub(super) fn of(value: Value) -> Option<Box<Self>> {
        serde_json::from_value(value).ok()
    }

    /// Whether an authority refuses because control of numbers is not proven.
    fn is_about_control(&self) -> bool {
        self.code == CONTROL_NOT_PROVEN
    }

    /// Whether the `type` is this error of RFC 8555 §6.7.
    pub(super) fn is(&self, name: &str) -> bool {
        self.kind.strip_prefix("urn:ietf:params:acme:error:") == Some(name)
    }
}

impl fmt::Display for ProblemDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.rsplit(':').next().unwrap_or_default();
        let name = if self.code.is_empty() {
            kind
        } else {
            &self.code
        };
        write!(f, "{}: {}", printable(name), printable_long(&self.detail))?;
        for each in self.subproblems.iter().take(10) {
            write!(
                f,
                "; {}: {}",
                printable(&each.code),
                printable_long(&each.detail)
            )?;
        }
        Ok(())
    }
}

/// What helps if control is not proven.
fn help(problem: &ProblemDocument) -> &'static str {
    if problem.is_about_control() {
        "; if the authority asks the numbers by SIP, run `tn-authority control-agent` with the same `--account-key`"
    } else {
        ""
    }
}

fn explained(problem: Option<&ProblemDocument>) -> String {
    problem.map_or_else(String::new, |problem| format!(": {problem}"))
}
