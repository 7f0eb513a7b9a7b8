//! How strictly the requests of an account are parsed. Some older CAs, and clients written for
//! them, spell parts of a request differently and compare the token with what they wrote.

use crate::domain::text::words::words;

/// How strictly the requests of an account are parsed, and which spellings its tokens can repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Dialect {
    /// RFC 9448 only: `tkvalue` is base64url without padding, and `fingerprint` is the RFC 7638
    /// thumbprint in upper-case hex.
    #[default]
    Strict,
    /// Also accepts `tkvalue` in padded standard base64, which the token repeats character for
    /// character; a `fingerprint` of the SubjectPublicKeyInfo, which has the same form and is
    /// repeated too; and a fingerprint in lower-case hex, which the token has in upper case.
    Legacy,
}

words! {
    /// The name in the API and the database.
    impl Display, FromStr, Serialize, Deserialize for Dialect {
        Strict = "strict",
        Legacy = "legacy",
    }
}
