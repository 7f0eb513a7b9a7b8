//! Percent-encoding (RFC 3986 §2.1).

use percent_encoding::percent_decode;

/// The bytes of a percent-encoded text; `None` if a `%` is not followed by two hex digits. URL
/// decoders usually leave such a `%` unchanged, so one text could be read in several ways.
#[must_use]
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut escapes = text.split(|byte| *byte == b'%').skip(1);
    let complete = escapes.all(|rest| {
        let digits = rest.get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    complete.then(|| percent_decode(text).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percent_sign_is_followed_by_two_hex_digits() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("a b", b"a b"),
            ("%01%aB", b"\x01\xab"),
            ("%2541", b"%41"),
            ("+%2B", b"++"),
        ] {
            assert_eq!(decode(text.as_bytes()).as_deref(), Some(bytes), "{text}");
        }
        for wrong in ["%", "%4", "%zz", "a%", "%%41", "%4%41", "%+1", "%\u{e9}0"] {
            assert_eq!(decode(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
