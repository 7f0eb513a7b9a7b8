//! Denials: why a well-formed request gets no token. Their codes are part of the API: stable,
//! kebab-case.

use std::fmt::{self, Write as _};

use thiserror::Error;

use super::control_lack::ControlLack;
use super::policy_trace::PolicyTrace;
use crate::domain::clock::{Time, rfc3339};
use crate::domain::credentials::api_key::CredentialEnd;
use crate::domain::inventory::Reason;
use crate::domain::inventory::departure::DepartureKind;
use crate::domain::inventory::withdrawal::{DELEGATION_ENDED, KEY_DISTRUSTED};
use crate::domain::numbers::number::NumberRange;
use crate::domain::numbers::spc::Spc;
use crate::domain::tokens::claims::NotStrict;

/// Why there is no token, although the request is well-formed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Denial {
    /// Invalid credentials, or an account that is unknown, suspended or another caller's (RFC 9448
    /// §5.5). One answer for all, so that a caller cannot tell them apart.
    #[error("the credentials do not give access to this account")]
    NotTheCallers,
    /// The credential expired or was revoked between authentication and the decision. Has the code
    /// of [`Self::NotTheCallers`].
    #[error("the credentials became invalid while the request was waiting: {0}")]
    ProofEnded(CredentialEnd),
    /// A policy forbids the request, or none permits it; a policy can bring its own code. A limit
    /// in the configuration is reported in the same way, and then names no policy.
    #[error("{detail}")]
    Policy {
        code: String,
        detail: String,
        by: PolicyTrace,
    },
    /// A policy asks for proofs of control that are missing, or too old.
    #[error("{detail}; {lack}")]
    ControlNotProven {
        detail: String,
        by: PolicyTrace,
        lack: Box<ControlLack>,
    },
    /// The account has no authority for at least one entry of the list (RFC 9448 §5.6).
    #[error("the account has no authority for {}", listed(.0))]
    NotAuthorized(Vec<RefusedPart>),
    /// The authority ends before a token of the minimum lifetime would.
    #[error("the authority ends at {}, too soon for the minimum token lifetime of {minimum} seconds", rfc3339(.until))]
    EndsTooSoon { until: Time, minimum: u32 },
    /// The numbers belong to several service provider codes. Each code has its own certificate, and
    /// a token has one signature.
    #[error(
        "the list needs the certificates of several service provider codes ({}); request one token for each",
        .0.iter().map(Spc::as_str).collect::<Vec<_>>().join(", ")
    )]
    SeveralSpcs(Vec<Spc>),
    /// The service has no valid certificate for this code: a fault of the service, not of the
    /// request.
    #[error("the service has no valid certificate for the service provider code {0}")]
    NoCertificate(Spc),
    /// The key of every certificate for this code is distrusted.
    #[error(
        "the signing key for the service provider code {0} is distrusted, and no other can sign; add a new key and its certificate"
    )]
    KeyDistrusted(Spc),
    /// Well-formed in the legacy dialect, but the account is strict, so malformed for this account.
    #[error("{0}")]
    NotStrict(NotStrict),
    /// The standing right to renew was revoked or has expired.
    #[error("the right to renew has ended")]
    RenewalEnded,
    /// The request goes beyond the right to renew.
    #[error("the right to renew does not cover {0}")]
    OutsideRenewal(Beyond),
    /// The list overlaps more inventory rows than one decision evaluates.
    #[error(
        "the list overlaps too many rows of the inventory ({limit} at most, fewer for a list of many entries); request \
         fewer numbers at once"
    )]
    TooFragmented { limit: usize },
}

impl Denial {
    /// The code if no policy permits, or if the policy that forbids has no code of its own.
    pub const POLICY: &str = "policy";
    /// The code if a policy could not be evaluated.
    pub const POLICY_ERROR: &str = "policy-error";
    /// The code of a policy that asks for control. Its refusals name the numbers.
    pub const CONTROL_NOT_PROVEN: &str = "control-not-proven";
    /// Codes that are reserved for the rules of the service. A policy cannot use them.
    pub const CODES_OF_RULES: [&str; 12] = [
        "forbidden",
        "not-authorized",
        "ends-too-soon",
        "several-spcs",
        "no-certificate",
        KEY_DISTRUSTED,
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
            Self::ControlNotProven { .. } => Self::CONTROL_NOT_PROVEN,
            Self::NotAuthorized(_) => "not-authorized",
            Self::EndsTooSoon { .. } => "ends-too-soon",
            Self::SeveralSpcs(_) => "several-spcs",
            Self::NoCertificate(_) => "no-certificate",
            Self::KeyDistrusted(_) => KEY_DISTRUSTED,
            Self::NotStrict(NotStrict::TkValue(_)) => "malformed-tkvalue",
            Self::NotStrict(NotStrict::Fingerprint(_)) => "malformed-fingerprint",
            Self::RenewalEnded => "renewal-ended",
            Self::OutsideRenewal(_) => "outside-renewal",
            Self::TooFragmented { .. } => "too-fragmented",
        }
    }

    /// The policies that decided, if a policy denied.
    #[must_use]
    pub fn policies(&self) -> &[String] {
        self.ruled_by().map_or(&[], PolicyTrace::ids)
    }

    /// What is recorded of the policies that decided, if a policy denied.
    #[must_use]
    pub const fn ruled_by(&self) -> Option<&PolicyTrace> {
        match self {
            Self::Policy { by, .. } | Self::ControlNotProven { by, .. } => Some(by),
            Self::NotTheCallers
            | Self::ProofEnded(_)
            | Self::NotAuthorized(_)
            | Self::EndsTooSoon { .. }
            | Self::SeveralSpcs(_)
            | Self::NoCertificate(_)
            | Self::KeyDistrusted(_)
            | Self::NotStrict(_)
            | Self::RenewalEnded
            | Self::OutsideRenewal(_)
            | Self::TooFragmented { .. } => None,
        }
    }

    /// The refused entries, if entries were refused.
    #[must_use]
    pub fn refusals(&self) -> &[RefusedPart] {
        match self {
            Self::NotAuthorized(refusals) => refusals,
            Self::ControlNotProven { lack, .. } => &lack.refused,
            Self::NotTheCallers
            | Self::ProofEnded(_)
            | Self::Policy { .. }
            | Self::EndsTooSoon { .. }
            | Self::SeveralSpcs(_)
            | Self::NoCertificate(_)
            | Self::KeyDistrusted(_)
            | Self::NotStrict(_)
            | Self::RenewalEnded
            | Self::OutsideRenewal(_)
            | Self::TooFragmented { .. } => &[],
        }
    }
}

/// How a request goes beyond a right to renew.
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
            Self::List => "this list",
            Self::Fingerprint => "this key",
            Self::Ca => "CA certificates",
            Self::Lifetime => "so long a lifetime",
        })
    }
}

/// A refused part of a list, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedPart {
    pub subject: Subject,
    pub cause: RefusalCause,
}

/// The part of a list that was refused: numbers, or a service provider code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    Numbers(NumberRange),
    Spc(Spc),
}

/// Why a part of a list was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalCause {
    /// Not delegated to the account, or not now.
    NotDelegated,
    /// A reseller that delegated the number, or one further up the chain, is suspended.
    LenderSuspended,
    /// The account delegated the number further and kept no right to it.
    LentOn,
    /// Not allocated to the carrier, or not now.
    NotAllocated,
    /// Allocated to the carrier, but an exclusion covers it now.
    Excluded(Reason),
    /// The delegation does not allow CA certificates.
    CaNotDelegated,
    /// The service provider code is not one of the carrier's.
    SpcNotHeld,
    /// A policy asks for a proof of control: there is none that counts, or it is too old.
    ControlNotProven { age: Option<u64> },
    /// The delegation ended for the number when it left; since it is back, it has to be delegated
    /// anew.
    DelegationEnded { kind: DepartureKind, at: Time },
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
            Self::ControlNotProven { .. } => Denial::CONTROL_NOT_PROVEN,
            Self::DelegationEnded { .. } => DELEGATION_ENDED,
        }
    }
}

impl fmt::Display for RefusalCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotDelegated => f.write_str("not delegated to this account now"),
            Self::LenderSuspended => f.write_str("delegated by a suspended reseller"),
            Self::LentOn => {
                f.write_str("delegated further by this account, which kept no right to it")
            }
            Self::NotAllocated => f.write_str("not held by the carrier now"),
            Self::Excluded(reason) => write!(f, "currently excluded: {}", reason.as_str()),
            Self::CaNotDelegated => f.write_str("delegated without the right to CA certificates"),
            Self::SpcNotHeld => f.write_str("not a service provider code of the carrier"),
            Self::ControlNotProven { age: None } => {
                f.write_str("no proof of control counts for it")
            }
            Self::ControlNotProven { age: Some(age) } => write!(
                f,
                "its proof of control, {age} seconds old, is not accepted"
            ),
            Self::DelegationEnded { kind, at } => write!(
                f,
                "the delegation ended for it when it {} on {}; delegate it anew",
                match kind {
                    DepartureKind::PortedOut => "was ported out",
                    DepartureKind::Aging => "went out of service",
                    DepartureKind::Returned => "was returned",
                    DepartureKind::Acquired => "came to the carrier again",
                },
                rfc3339(at)
            ),
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

/// The first few refused parts. A message is for people; the full list is in `refusals`.
pub(super) fn listed(refusals: &[RefusedPart]) -> String {
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
