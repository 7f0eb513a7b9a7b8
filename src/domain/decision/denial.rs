//! Business refusals. Their codes are part of the API: stable, kebab-case.

use std::fmt::{self, Write as _};

use thiserror::Error;

use super::policy_trace::PolicyTrace;
use crate::domain::clock::{Time, rfc3339};
use crate::domain::credentials::api_key::CredentialEnd;
use crate::domain::inventory::Reason;
use crate::domain::numbers::number::NumberRange;
use crate::domain::numbers::spc::Spc;
use crate::domain::tokens::claims::NotStrict;

/// Why there is no token, although the request was well-formed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Denial {
    /// One answer for credentials that prove nothing, an account that is unknown, suspended or somebody else's
    /// (RFC 9448 §5.5), so that none of these can be told apart.
    #[error("the credentials do not give access to this account")]
    NotTheCallers,
    /// What proved the caller has ended before the request was decided. Answered as the one before.
    #[error("the credentials ended while the request waited: {0}")]
    ProofEnded(CredentialEnd),
    /// A policy forbids it, or none permits it; the code is the policy's own. Or the configuration does, and then no policy
    /// is named.
    #[error("{detail}")]
    Policy {
        code: String,
        detail: String,
        by: PolicyTrace,
    },
    /// Entries that the account has no authority for (RFC 9448 §5.6); at least one.
    #[error("the account has no authority for {}", listed(.0))]
    NotAuthorized(Vec<RefusedPart>),
    /// Less is left than the shortest lifetime of a token.
    #[error("the authority ends at {}, too soon for a token of {minimum} seconds", rfc3339(.until))]
    EndsTooSoon { until: Time, minimum: u32 },
    /// A token has one signature, and these codes have a certificate each.
    #[error(
        "the list needs the certificates of several service provider codes ({}); ask for one token for each of them",
        .0.iter().map(Spc::as_str).collect::<Vec<_>>().join(", ")
    )]
    SeveralSpcs(Vec<Spc>),
    /// Not the asker's fault: the service has no certificate in force for this code.
    #[error("there is no certificate in force for the service provider code {0}")]
    NoCertificate(Spc),
    /// Well-formed in another dialect than the account's, so for this account it is malformed.
    #[error("{0}")]
    NotStrict(NotStrict),
    /// The standing right to renew was taken back, or its time is over.
    #[error("the right to renew has ended")]
    RenewalEnded,
    /// What is asked is not what the right to renew is for.
    #[error("the right to renew is for {0}")]
    OutsideRenewal(Beyond),
    /// More rows of the inventory touch the list than one decision may weigh.
    #[error(
        "the list touches more than {limit} rows of the inventory; ask for fewer numbers at once"
    )]
    TooFragmented { limit: usize },
}

impl Denial {
    /// The code of a policy that says none, and where no policy permits.
    pub const POLICY: &str = "policy";
    /// The code where a policy could not be evaluated.
    pub const POLICY_ERROR: &str = "policy-error";
    /// Codes that say more than a policy can know, so that no policy has them.
    pub const CODES_OF_RULES: [&str; 11] = [
        "forbidden",
        "not-authorized",
        "ends-too-soon",
        "several-spcs",
        "no-certificate",
        "too-fragmented",
        "malformed-tkvalue",
        "malformed-fingerprint",
        "renewal-ended",
        "outside-renewal",
        Self::POLICY_ERROR,
    ];

    /// The stable code of the API.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::NotTheCallers | Self::ProofEnded(_) => "forbidden",
            Self::Policy { code, .. } => code,
            Self::NotAuthorized(_) => "not-authorized",
            Self::EndsTooSoon { .. } => "ends-too-soon",
            Self::SeveralSpcs(_) => "several-spcs",
            Self::NoCertificate(_) => "no-certificate",
            Self::NotStrict(NotStrict::TkValue(_)) => "malformed-tkvalue",
            Self::NotStrict(NotStrict::Fingerprint(_)) => "malformed-fingerprint",
            Self::RenewalEnded => "renewal-ended",
            Self::OutsideRenewal(_) => "outside-renewal",
            Self::TooFragmented { .. } => "too-fragmented",
        }
    }

    /// The policies that decided, if the denial is theirs.
    #[must_use]
    pub fn policies(&self) -> &[String] {
        match self {
            Self::Policy { by, .. } => by.ids(),
            Self::NotTheCallers
            | Self::ProofEnded(_)
            | Self::NotAuthorized(_)
            | Self::EndsTooSoon { .. }
            | Self::SeveralSpcs(_)
            | Self::NoCertificate(_)
            | Self::NotStrict(_)
            | Self::RenewalEnded
            | Self::OutsideRenewal(_)
            | Self::TooFragmented { .. } => &[],
        }
    }

    /// The entries that were refused, if the denial is about entries.
    #[must_use]
    pub fn refusals(&self) -> &[RefusedPart] {
        match self {
            Self::NotAuthorized(refusals) => refusals,
            Self::NotTheCallers
            | Self::ProofEnded(_)
            | Self::Policy { .. }
            | Self::EndsTooSoon { .. }
            | Self::SeveralSpcs(_)
            | Self::NoCertificate(_)
            | Self::NotStrict(_)
            | Self::RenewalEnded
            | Self::OutsideRenewal(_)
            | Self::TooFragmented { .. } => &[],
        }
    }
}

/// In what a request goes beyond a right to renew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beyond {
    List,
    Fingerprint,
    Ca,
    Lifetime,
}

impl fmt::Display for Beyond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::List => "another list of numbers",
            Self::Fingerprint => "another key",
            Self::Ca => "certificates that are no CA's",
            Self::Lifetime => "tokens that live shorter",
        })
    }
}

/// One part of a list that was refused, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedPart {
    pub subject: Subject,
    pub cause: RefusalCause,
}

/// What was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    Numbers(NumberRange),
    Spc(Spc),
}

/// Why it was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalCause {
    /// The account was lent no such number, or not now.
    NotDelegated,
    /// It was lent such a number by a reseller that is suspended, or whose own lender is.
    LenderSuspended,
    /// It has lent the number on, and kept no right to it.
    LentOn,
    /// The carrier holds no such number, or not now.
    NotAllocated,
    /// The carrier holds it, but may not use it now.
    Excluded(Reason),
    /// The delegation does not allow CA certificates.
    CaNotDelegated,
    /// The code is not one of the carrier's.
    SpcNotHeld,
}

impl RefusalCause {
    /// The stable code of the API.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotDelegated => "not-delegated",
            Self::LenderSuspended => "lender-suspended",
            Self::LentOn => "lent-on",
            Self::NotAllocated => "not-allocated",
            Self::Excluded(reason) => reason.as_str(),
            Self::CaNotDelegated => "ca-not-delegated",
            Self::SpcNotHeld => "spc-not-held",
        }
    }
}

impl fmt::Display for RefusalCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotDelegated => f.write_str("not lent to the account now"),
            Self::LenderSuspended => f.write_str("lent by a reseller that is suspended"),
            Self::LentOn => f.write_str("lent on by the account, which kept no right to it"),
            Self::NotAllocated => f.write_str("not held by the carrier now"),
            Self::Excluded(reason) => write!(f, "without authority now: {}", reason.as_str()),
            Self::CaNotDelegated => f.write_str("lent without the right to CA certificates"),
            Self::SpcNotHeld => f.write_str("not a service provider code of the carrier"),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Numbers(numbers) => write!(f, "{numbers}"),
            Self::Spc(spc) => write!(f, "service provider code {spc}"),
        }
    }
}

/// The first few, since a message is for people and the list is in `refusals`.
fn listed(refusals: &[RefusedPart]) -> String {
    let named = refusals.iter().take(3);
    let mut text = named
        .map(|r| format!("{} ({})", r.subject, r.cause))
        .collect::<Vec<_>>()
        .join(", ");
    if refusals.len() > 3 {
        let _ = write!(text, " and {} more", refusals.len() - 3);
    }
    text
}
