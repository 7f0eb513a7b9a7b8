//! How strictly an account's requests are read. Strict by default; some older CAs, and the clients made for them, write
//! some things in another way, and compare what they get with what they wrote.

use crate::domain::words::words;

/// How strictly an account's requests are read, and what its tokens may look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Dialect {
    /// RFC 9448 and nothing else: `tkvalue` in base64url without padding, `fingerprint` in upper-case hex, that of the
    /// RFC 7638 thumbprint.
    #[default]
    Strict,
    /// Also `tkvalue` in padded standard base64, which the token then repeats character for character; `fingerprint` of the
    /// SubjectPublicKeyInfo, which looks the same and is repeated too; and a fingerprint in lower-case hex, which is put
    /// into its canonical form.
    Legacy,
}

words! {
    /// The word of the API and the database.
    impl Display, FromStr, Serialize, Deserialize for Dialect {
        Strict = "strict",
        Legacy = "legacy",
    }
}
