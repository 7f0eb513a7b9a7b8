//! Why authentication failed, for the operator: the text is logged, and a label of it counted.
//! Callers do not learn it. Nothing here contains a secret or a token.

use thiserror::Error;

use super::AuthError;
use crate::domain::credentials::api_key::CredentialEnd;
use crate::domain::text::words::words;
use crate::store::StoreError;

/// Why authentication failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Rejection {
    #[error("the request has no credentials")]
    Missing,
    #[error("the request has two Authorization fields")]
    TwoFields,
    #[error("the Authorization field is not `Bearer` with an API key or access token")]
    Scheme,
    #[error(
        "the request has two credentials: an Authorization field, and a client certificate that is mapped to a caller"
    )]
    TwoCredentials,

    #[error("the API key `{key}` is {fault}")]
    ApiKey { key: String, fault: KeyFault },

    #[error("the login at the facade has no API key, or that of another user")]
    Login,
    #[error("the access token of the facade is {0}")]
    Session(SessionFault),

    #[error("the token is {0}")]
    Token(TokenFault),
    #[error(
        "the token is from `{claimed}`, but the issuer is configured as `{configured}`; they are compared byte for byte"
    )]
    IssuerSlash { claimed: String, configured: String },
    #[error("the keys of the token's issuer are not available")]
    NoKeys,
    #[error(
        "the token is signed with a key that its issuer may have published since its keys were loaded; they can be loaded again in {retry_after} seconds"
    )]
    KeyNotLoaded { retry_after: u32 },

    #[error("the certificate is {0}")]
    Certificate(CertificateFault),
    /// The fingerprint helps the operator to add the missing mapping.
    #[error("the certificate with the SHA-256 fingerprint {0} is not mapped to a caller")]
    Unmapped(String),

    #[error(
        "the header field with a client certificate comes from a peer that is not in `proxy.addresses`"
    )]
    Unnamed,
    #[error("the proxy sent the header field with a client certificate twice")]
    HeaderTwice,
    #[error("the proxy's header field is not a client certificate in the configured encoding")]
    HeaderMalformed,

    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is wrong with an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyFault {
    #[error("unknown")]
    Unknown,
    #[error("presented with a wrong secret")]
    Secret,
    #[error("no longer valid: {0}")]
    Ended(CredentialEnd),
    #[error("presented from an address that it does not allow")]
    Address,
}

/// What is wrong with an access token of the facade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SessionFault {
    #[error("malformed")]
    Form,
    #[error("expired")]
    Expired,
    #[error("not made with a current secret of the API key")]
    Mac,
}

/// What is wrong with an access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TokenFault {
    #[error("longer than `oauth.issuers.*.max_token_bytes`")]
    Long,
    #[error("not a JWS of three base64url parts")]
    Form,
    #[error("malformed: its header and claims must be JSON objects without duplicate members")]
    Json,
    #[error("from an issuer that is not configured")]
    Issuer,
    #[error("signed with an algorithm that is not allowed for its issuer")]
    Algorithm,
    #[error("not of the type in `oauth.issuers.*.token_type`")]
    Type,
    #[error(
        "not acceptable: its header requires an extension, or says that it is compressed, encrypted or not encoded"
    )]
    Header,
    #[error("signed with a key that its issuer does not publish")]
    UnknownKey,
    #[error("signed with a key that its issuer publishes for another use or algorithm")]
    UnsuitedKey,
    #[error("not signed with the key that it names")]
    Signature,
    #[error("meant for another audience")]
    Audience,
    #[error("without a claim in `oauth.issuers.*.required_claims`, or with another value of it")]
    RequiredClaim,
    #[error(
        "malformed: its `exp` or `iat` is missing, one of its times is not a number of seconds, or `exp` is not after `iat`"
    )]
    Times,
    #[error("expired")]
    Expired,
    #[error("not valid yet")]
    NotYetValid,
    #[error("valid for longer than `oauth.issuers.*.max_lifetime`")]
    Lifetime,
    #[error("without a usable subject (`sub`)")]
    Subject,
    #[error("bound to a key (`cnf`), which is not supported")]
    Bound,
    #[error("not usable: its claims give no role, or more than one")]
    Role,
    #[error("not usable: its claims give accounts that its role does not allow")]
    Accounts,
}

/// What is wrong with a client certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CertificateFault {
    #[error("not accepted, because `client_certificates.ca_file` is not set")]
    NotTaken,
    #[error("not readable by OpenSSL")]
    Unreadable,
    /// With the message of OpenSSL.
    #[error("not trusted by `client_certificates.ca_file`: {0}")]
    Path(&'static str),
    #[error(
        "from a CA whose CRL has expired or is not valid yet; replace `client_certificates.crl_file`"
    )]
    Crl,
    #[error("not for TLS clients: its extended key usage lacks clientAuth")]
    Usage,
    #[error("mapped to more than one caller")]
    Ambiguous,
}

impl Rejection {
    /// The kind of credential and the reason, as labels of the metric.
    pub(super) const fn labels(&self) -> [&'static str; 2] {
        match self {
            Self::Missing => ["none", "missing"],
            Self::TwoFields => ["authorization", "two-fields"],
            Self::Scheme => ["authorization", "scheme"],
            Self::TwoCredentials => ["authorization", "two-proofs"],
            Self::ApiKey { fault, .. } => ["api-key", fault.label()],
            Self::Login => ["login", "form"],
            Self::Session(fault) => ["login", fault.as_str()],
            Self::Token(fault) => ["access-token", fault.as_str()],
            Self::IssuerSlash { .. } => ["access-token", "issuer-slash"],
            Self::NoKeys => ["access-token", "no-keys"],
            Self::KeyNotLoaded { .. } => ["access-token", "key-not-loaded"],
            Self::Certificate(fault) => ["certificate", fault.label()],
            Self::Unmapped(_) => ["certificate", "unmapped"],
            Self::Unnamed => ["certificate", "unnamed-peer"],
            Self::HeaderTwice => ["certificate", "header-twice"],
            Self::HeaderMalformed => ["certificate", "header-malformed"],
            Self::Store(_) => ["none", "store"],
        }
    }
}

impl From<TokenFault> for Rejection {
    fn from(fault: TokenFault) -> Self {
        Self::Token(fault)
    }
}

impl From<SessionFault> for Rejection {
    fn from(fault: SessionFault) -> Self {
        Self::Session(fault)
    }
}

impl From<CertificateFault> for Rejection {
    fn from(fault: CertificateFault) -> Self {
        Self::Certificate(fault)
    }
}

impl From<Rejection> for AuthError {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::Missing => Self::Missing,
            Rejection::NoKeys => Self::NoKeys,
            Rejection::KeyNotLoaded { retry_after } => Self::KeyNotLoaded { retry_after },
            Rejection::Store(error) => Self::Store(error),
            Rejection::TwoFields
            | Rejection::Scheme
            | Rejection::TwoCredentials
            | Rejection::ApiKey { .. }
            | Rejection::Login
            | Rejection::Session(_)
            | Rejection::Token(_)
            | Rejection::IssuerSlash { .. }
            | Rejection::Certificate(_)
            | Rejection::Unmapped(_)
            | Rejection::Unnamed
            | Rejection::HeaderTwice
            | Rejection::HeaderMalformed => Self::Invalid,
        }
    }
}

impl KeyFault {
    const fn label(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Secret => "wrong-secret",
            Self::Ended(ended) => ended.as_str(),
            Self::Address => "wrong-address",
        }
    }
}

words! {
    /// The label of the metric.
    for SessionFault {
        Form = "session-form",
        Expired = "session-expired",
        Mac = "session-proof",
    }
}

words! {
    /// The label of the metric.
    for TokenFault {
        Long = "long",
        Form = "form",
        Json = "json",
        Issuer = "issuer",
        Algorithm = "algorithm",
        Type = "type",
        Header = "header",
        UnknownKey = "unknown-key",
        UnsuitedKey = "unsuited-key",
        Signature = "signature",
        RequiredClaim = "required-claim",
        Audience = "audience",
        Times = "times",
        Expired = "expired",
        NotYetValid = "not-yet-valid",
        Lifetime = "lifetime",
        Subject = "subject",
        Bound = "bound",
        Role = "role",
        Accounts = "accounts",
    }
}

impl CertificateFault {
    const fn label(self) -> &'static str {
        match self {
            Self::NotTaken => "not-taken",
            Self::Unreadable => "unreadable",
            Self::Path(_) => "path",
            Self::Crl => "crl",
            Self::Usage => "usage",
            Self::Ambiguous => "ambiguous",
        }
    }
}
