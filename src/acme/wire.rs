//! The objects of RFC 8555 §7.1, reduced to what TNAuthList orders need. Unknown members are
//! ignored, as §7.1 requires of clients.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::AcmeError;
use super::error::ProblemDocument;
use crate::domain::TnAuthList;
use crate::domain::text::printable::printable;
use crate::domain::text::strict_json;
use crate::outgoing::HttpsUrl;

/// The identifier type of RFC 9448 §3.
pub(super) const TN_AUTH_LIST: &str = "TNAuthList";

/// RFC 8555 §7.1.1.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DirectoryBody {
    pub(super) new_nonce: String,
    pub(super) new_account: String,
    pub(super) new_order: String,
    #[serde(default)]
    pub(super) meta: Meta,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Meta {
    pub(super) terms_of_service: Option<String>,
    pub(super) external_account_required: bool,
    /// RFC 8739 §3.2.
    #[serde(rename = "auto-renewal")]
    pub(super) auto_renewal: Option<AutoRenewalMeta>,
}

/// RFC 8739 §3.2: the limits of automatic renewal, in seconds.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct AutoRenewalMeta {
    pub(super) min_lifetime: u64,
    pub(super) max_duration: u64,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Identifier {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) value: String,
}

impl Identifier {
    /// Whether it is this list, byte for byte (RFC 9448 §6, step 6). Some CAs repeat it in padded
    /// base64; the bytes are compared, so the text can be no other list.
    pub(super) fn is(&self, list: &TnAuthList) -> bool {
        let text = self.value.trim_end_matches('=');
        let is_padded_right =
            [text.len(), text.len().next_multiple_of(4)].contains(&self.value.len());
        let is_list = |decoded: Result<Vec<u8>, _>| decoded.is_ok_and(|der| der == list.as_der());
        self.kind == TN_AUTH_LIST
            && is_padded_right
            && (is_list(URL_SAFE_NO_PAD.decode(text)) || is_list(STANDARD_NO_PAD.decode(text)))
    }
}

/// RFC 8555 §7.1.3, RFC 8739 §3.1.
#[derive(Debug, Deserialize)]
pub(super) struct OrderBody {
    pub(super) status: String,
    #[serde(default)]
    pub(super) identifiers: Vec<Identifier>,
    #[serde(default)]
    pub(super) authorizations: Vec<String>,
    #[serde(default)]
    pub(super) finalize: Option<String>,
    #[serde(default)]
    pub(super) certificate: Option<String>,
    #[serde(rename = "star-certificate", default)]
    pub(super) star_certificate: Option<String>,
    #[serde(rename = "auto-renewal", default)]
    pub(super) auto_renewal: Option<Value>,
    #[serde(default)]
    pub(super) error: Option<Value>,
}

/// RFC 8555 §7.1.4.
#[derive(Debug, Deserialize)]
pub(super) struct AuthorizationBody {
    pub(super) identifier: Identifier,
    pub(super) status: String,
    #[serde(default)]
    pub(super) challenges: Vec<ChallengeBody>,
}

/// RFC 8555 §8, RFC 9447 §3. `token-authority` is deliberately not read: the authority is
/// configured, and a CA must not redirect the client and its API key to another one.
#[derive(Debug, Deserialize)]
pub(super) struct ChallengeBody {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) url: String,
    #[serde(default)]
    pub(super) status: Option<String>,
    #[serde(rename = "tkauth-type", default)]
    pub(super) tkauth_type: Option<String>,
    #[serde(default)]
    pub(super) error: Option<Value>,
}

impl AuthorizationBody {
    /// The error of the first challenge that has one.
    pub(super) fn problem(&mut self) -> Option<Box<ProblemDocument>> {
        let mut errors = self.challenges.iter_mut().filter_map(|c| c.error.take());
        errors.find_map(ProblemDocument::of)
    }
}

/// Parses JSON into an object of this module, and refuses duplicate members.
pub(super) fn read<T: DeserializeOwned>(what: &'static str, body: &[u8]) -> Result<T, AcmeError> {
    let malformed = |e: serde_json::Error| AcmeError::Malformed {
        what,
        why: printable(&e.to_string()),
    };
    let value = strict_json::from_slice(body).map_err(malformed)?;
    serde_json::from_value(value).map_err(malformed)
}

/// Parses a URL in a response of the CA.
pub(super) fn url(name: &'static str, text: &str) -> Result<HttpsUrl, AcmeError> {
    text.parse().map_err(|_| AcmeError::Url {
        name,
        url: printable(text),
    })
}
