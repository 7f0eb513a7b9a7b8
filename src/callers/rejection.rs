//! Why what a request offers proves nobody. Callers are told nothing of it: it goes into the log and, as one word, into a
//! metric. Nothing here repeats what was offered.

use thiserror::Error;

use super::AuthError;
use crate::domain::credentials::api_key::CredentialEnd;
use crate::domain::words::words;
use crate::store::StoreError;

/// Why nobody is proven, for the operator.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Rejection {
    #[error("nothing was offered")]
    Missing,
    #[error("the request has two Authorization fields")]
    TwoFields,
    #[error("the Authorization field is not `Bearer` and a key or token")]
    Scheme,
    #[error(
        "a client certificate that is mapped to a caller and an Authorization field: two proofs prove nothing"
    )]
    TwoProofs,

    #[error("the API key `{key}` is {fault}")]
    ApiKey { key: String, fault: KeyFault },

    #[error("who logs in at the facade has shown no API key, or that of another user")]
    Login,
    #[error("the access token of the facade is {0}")]
    Session(SessionFault),

    #[error("the token is {0}")]
    Token(TokenFault),
    #[error("the keys of the token's issuer cannot be had")]
    NoKeys,

    #[error("the certificate is {0}")]
    Certificate(CertificateFault),
    /// The fingerprint helps to write the mapping that is missing.
    #[error("the certificate with the SHA-256 fingerprint {0} is mapped to no caller")]
    Unmapped(String),

    #[error(
        "the header field with a client certificate comes from a peer that is not in proxy.addresses"
    )]
    Unnamed,
    #[error("the proxy sent the header field with a client certificate twice")]
    HeaderTwice,
    #[error("the proxy's header field holds no client certificate in the configured encoding")]
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
    #[error("not valid any more: {0}")]
    Ended(CredentialEnd),
    #[error("presented from an address that it does not work from")]
    Address,
}

/// What is wrong with an access token of the facade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SessionFault {
    #[error("none")]
    Form,
    #[error("expired")]
    Expired,
    #[error("not one of a secret that the API key has now")]
    Proof,
}

/// What is wrong with an access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TokenFault {
    #[error("longer than oauth.issuers.*.max_token_bytes")]
    Long,
    #[error("no JWS of three parts in base64url")]
    Form,
    #[error("not made of JSON objects without duplicate members")]
    Json,
    #[error("of an issuer that is not configured")]
    Issuer,
    #[error("signed by an algorithm that is not allowed for its issuer")]
    Algorithm,
    #[error("of another type than oauth.issuers.*.token_type")]
    Type,
    #[error("one that asks for an extension, brings its own key or says where to fetch one")]
    Header,
    #[error("signed by a key that its issuer does not publish")]
    UnknownKey,
    #[error("signed by a key that its issuer publishes for other uses or algorithms")]
    UnsuitedKey,
    #[error("not signed by the key that it names")]
    Signature,
    #[error("meant for another audience")]
    Audience,
    #[error("one whose exp, iat or nbf is missing or no whole number of seconds")]
    Times,
    #[error("expired")]
    Expired,
    #[error("not valid yet")]
    NotYetValid,
    #[error("one that lives longer than oauth.issuers.*.max_lifetime")]
    Lifetime,
    #[error("one without a subject that can be named")]
    Subject,
    #[error("bound to a key (cnf), which is not checked here")]
    Bound,
    #[error("one whose claims give no role, or more than one")]
    Role,
    #[error("one whose claims give accounts that its role cannot speak for")]
    Accounts,
}

/// What is wrong with a client certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CertificateFault {
    #[error("not taken here, since client_certificates.ca_file is not set")]
    NotTaken,
    #[error("none that OpenSSL can read")]
    Unreadable,
    /// In the words of OpenSSL.
    #[error("not vouched for by client_certificates.ca_file: {0}")]
    Path(&'static str),
    #[error("not for TLS clients: its extended key usage does not name clientAuth")]
    Usage,
    #[error("mapped to more than one caller")]
    Ambiguous,
}

impl Rejection {
    /// The kind of proof that failed and why, each one word of a fixed set.
    pub(super) const fn labels(&self) -> [&'static str; 2] {
        match self {
            Self::Missing => ["none", "missing"],
            Self::TwoFields => ["authorization", "two-fields"],
            Self::Scheme => ["authorization", "scheme"],
            Self::TwoProofs => ["authorization", "two-proofs"],
            Self::ApiKey { fault, .. } => ["api-key", fault.label()],
            Self::Login => ["login", "form"],
            Self::Session(fault) => ["login", fault.as_str()],
            Self::Token(fault) => ["access-token", fault.as_str()],
            Self::NoKeys => ["access-token", "no-keys"],
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
    fn from(refusal: Rejection) -> Self {
        match refusal {
            Rejection::Missing => Self::Missing,
            Rejection::NoKeys => Self::NoKeys,
            Rejection::Store(error) => Self::Store(error),
            Rejection::TwoFields
            | Rejection::Scheme
            | Rejection::TwoProofs
            | Rejection::ApiKey { .. }
            | Rejection::Login
            | Rejection::Session(_)
            | Rejection::Token(_)
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
        Proof = "session-proof",
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
            Self::Usage => "usage",
            Self::Ambiguous => "ambiguous",
        }
    }
}
