//! The `Idempotency-Key` of a request, which makes it safe to retry
//! (draft-ietf-httpapi-idempotency-key-header).

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The most characters of a key.
const MAX_LENGTH: usize = 255;

/// A key: 1 to 255 visible ASCII characters.
///
/// The draft writes it as an RFC 9651 string, in double quotes; most clients send it bare. Both
/// spell the same key.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

/// Why a text is not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum IdempotencyKeyError {
    #[error("an Idempotency-Key has 1 to {MAX_LENGTH} characters")]
    Length,
    #[error("an Idempotency-Key has only visible ASCII characters, without spaces")]
    Character,
    #[error(
        "an Idempotency-Key is bare, or a string in double quotes with `\\\"` and `\\\\` as the only escapes, and nothing after it"
    )]
    Quotes,
}

impl IdempotencyKey {
    /// The key without its quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IdempotencyKey {
    type Err = IdempotencyKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let key = match text.strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None if text.contains('"') => return Err(IdempotencyKeyError::Quotes),
            None => text.to_owned(),
        };
        if !key.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(IdempotencyKeyError::Character);
        }
        if !(1..=MAX_LENGTH).contains(&key.len()) {
            return Err(IdempotencyKeyError::Length);
        }
        Ok(Self(key))
    }
}

impl fmt::Debug for IdempotencyKey {
    /// Without the key, which is text of the caller and must not reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdempotencyKey(..)")
    }
}

/// The content of an RFC 9651 §3.3.3 string whose opening quote has been removed.
fn unquoted(text: &str) -> Result<String, IdempotencyKeyError> {
    let (mut key, mut rest) = (String::new(), text.chars());
    loop {
        match rest.next() {
            Some('"') if rest.as_str().is_empty() => return Ok(key),
            Some('\\') => match rest.next() {
                Some(escaped @ ('"' | '\\')) => key.push(escaped),
                Some(_) | None => return Err(IdempotencyKeyError::Quotes),
            },
            Some('"') | None => return Err(IdempotencyKeyError::Quotes),
            Some(c) => key.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Result<String, IdempotencyKeyError> {
        Ok(text.parse::<IdempotencyKey>()?.0)
    }

    #[test]
    fn bare_and_quoted_are_one_key() {
        let uuid = "8e03978e-40d5-43dd-bc93-6894a57f9324";
        assert_eq!(key(uuid).as_deref(), Ok(uuid));
        assert_eq!(key(&format!("\"{uuid}\"")).as_deref(), Ok(uuid));
        assert_eq!(key("\"a\\\"b\\\\c\"").as_deref(), Ok("a\"b\\c"));
        assert_eq!(key("a\\b,c;d").as_deref(), Ok("a\\b,c;d"));
        assert_eq!(key(&"x".repeat(255)), Ok("x".repeat(255)));
        assert_eq!(
            key(&format!("\"{}\"", "x".repeat(255))),
            Ok("x".repeat(255))
        );
    }

    #[test]
    fn nothing_else_is_a_key() {
        for (text, error) in [
            ("", IdempotencyKeyError::Length),
            ("\"\"", IdempotencyKeyError::Length),
            (&"x".repeat(256), IdempotencyKeyError::Length),
            ("a b", IdempotencyKeyError::Character),
            ("a, b", IdempotencyKeyError::Character),
            ("\"a b\"", IdempotencyKeyError::Character),
            ("ä", IdempotencyKeyError::Character),
            ("a\u{7f}", IdempotencyKeyError::Character),
            ("a\u{1b}[31m", IdempotencyKeyError::Character),
            ("\"a\u{0}\"", IdempotencyKeyError::Character),
            ("\"", IdempotencyKeyError::Quotes),
            ("\"a", IdempotencyKeyError::Quotes),
            ("a\"", IdempotencyKeyError::Quotes),
            ("a\"b", IdempotencyKeyError::Quotes),
            ("\"a\"b", IdempotencyKeyError::Quotes),
            ("\"a\";p=1", IdempotencyKeyError::Quotes),
            ("\"a\", \"b\"", IdempotencyKeyError::Quotes),
            ("\"a\\\"", IdempotencyKeyError::Quotes),
            ("\"a\\b\"", IdempotencyKeyError::Quotes),
        ] {
            assert_eq!(key(text), Err(error), "{text:?}");
        }
    }
}
