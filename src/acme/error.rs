//! Why there is no certificate, and whose matter that is.

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

/// All that goes wrong between an enterprise, its authority and its CA.
#[derive(Debug, Error)]
pub enum AcmeError {
    #[error(transparent)]
    Outgoing(#[from] OutgoingError),
    #[error("the CA's answer has `{name}` that is no https URL: {url}")]
    Url { name: &'static str, url: String },
    #[error("the CA's answer to {what} cannot be used: {why}")]
    Malformed { what: &'static str, why: String },
    #[error("the CA answered {what} with status {status}{}", explained(.problem.as_deref()))]
    Status {
        what: &'static str,
        status: u16,
        problem: Option<Box<ProblemDocument>>,
    },
    #[error("the CA does not take the proof{}", explained(.problem.as_deref()))]
    ProofRefused {
        problem: Option<Box<ProblemDocument>>,
    },
    #[error("the CA has set the order to `{status}`{}", explained(.problem.as_deref()))]
    OrderRefused {
        status: String,
        problem: Option<Box<ProblemDocument>>,
    },
    #[error("the CA refuses each nonce that it has given out itself")]
    Nonces,
    #[error("the CA asks for agreement to its terms, {0}; read them, and agree with `--agree-tos`")]
    Terms(String),
    #[error("the CA asks for an external account binding; give `--eab-kid` and `--eab-key-file`")]
    NoBinding,
    #[error("the key of the external account binding is not base64url of at least 16 bytes")]
    BindingKey,
    #[error("the CA's directory offers no automatic renewal (STAR, RFC 8739)")]
    NoStar,
    #[error("the CA renews certificates of at least {0} seconds")]
    StarLifetime(u64),
    #[error("the CA renews for at most {0} seconds")]
    StarDuration(u64),
    #[error("the CA ended the automatic renewal{}", explained(.0.as_deref()))]
    StarEnded(Option<Box<ProblemDocument>>),
    #[error("the certificate that the CA issued is not the one that was ordered: {0}")]
    WrongCertificate(String),
    #[error("the key of the certificate is that of the ACME account (RFC 8555 §11.1 forbids it)")]
    SameKey,
    #[error("the authority does not vouch for these numbers, or not for this account{}", explained(Some(.0)))]
    Withheld(Box<ProblemDocument>),
    #[error("the authority answered with status {status}{}", explained(.problem.as_deref()))]
    Authority {
        status: u16,
        problem: Option<Box<ProblemDocument>>,
    },
    #[error("the authority's answer holds no token that can be used: {0}")]
    Token(#[from] LintError),
    #[error("the authority's answer cannot be used: {0}")]
    TokenAnswer(String),
    #[error("the token of the authority is for something else: {0}")]
    OtherToken(&'static str),
    #[error("the token of the authority expired at {}", rfc3339(.0))]
    TokenExpired(Time),
    #[error("not done within {seconds} seconds; it was waiting for {what}")]
    Late { what: &'static str, seconds: u64 },
    #[error(transparent)]
    Stopped(#[from] Stopped),
    #[error(transparent)]
    Key(#[from] SignerError),
    #[error("openssl: {0}")]
    OpenSsl(#[from] openssl::error::ErrorStack),
    /// What whoever redeems does beside it: writing files.
    #[error("{0}")]
    Files(String),
}

/// Whose matter an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The authority refuses: there is no right to a certificate any more. Asking again will not help.
    AuthorityRefuses,
    /// The CA refuses.
    CaRefuses,
    /// Somebody wants to stop.
    Stopped,
    /// Anything else, which another try may mend.
    Other,
}

impl AcmeError {
    /// Whose matter it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Withheld(_) => Kind::AuthorityRefuses,
            Self::ProofRefused { .. } | Self::OrderRefused { .. } | Self::StarEnded(_) => {
                Kind::CaRefuses
            }
            Self::Status { status, .. } if matches!(*status, 400..=428) => Kind::CaRefuses,
            Self::Stopped(_) => Kind::Stopped,
            _ => Kind::Other,
        }
    }
}

/// What an answer says of what went wrong (RFC 9457; RFC 8555 §6.7). Each text is a stranger's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ProblemDocument {
    #[serde(rename = "type")]
    pub kind: String,
    /// The authority's own code.
    pub code: String,
    pub detail: String,
    pub subproblems: Vec<Subproblem>,
}

/// One of several reasons.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Subproblem {
    pub code: String,
    pub detail: String,
}

impl ProblemDocument {
    /// Reads a body, if it is one.
    pub(super) fn read(body: &[u8]) -> Option<Box<Self>> {
        Self::of(strict_json::from_slice(body).ok()?)
    }

    /// Reads a member of an answer, if it is one.
    pub(super) fn of(value: Value) -> Option<Box<Self>> {
        serde_json::from_value(value).ok()
    }

    /// Whether it is this error of RFC 8555 §6.7.
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

fn explained(problem: Option<&ProblemDocument>) -> String {
    problem.map_or_else(String::new, |problem| format!(": {problem}"))
}
