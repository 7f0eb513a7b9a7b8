//! How the text of a short message is encoded: the GSM default alphabet (3GPP TS 23.038 §6.2.1)
//! where it has all characters, otherwise UCS-2.

/// The default alphabet, in the order of its codes. 0x1B is the escape to the extension.
const BASIC: [char; 128] = [
    '@', '£', '$', '¥', 'è', 'é', 'ù', 'ì', 'ò', 'Ç', '\n', 'Ø', 'ø', '\r', 'Å', 'å', //
    'Δ', '_', 'Φ', 'Γ', 'Λ', 'Ω', 'Π', 'Ψ', 'Σ', 'Θ', 'Ξ', '\u{1b}', 'Æ', 'æ', 'ß', 'É', //
    ' ', '!', '"', '#', '¤', '%', '&', '\'', '(', ')', '*', '+', ',', '-', '.', '/', //
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', ':', ';', '<', '=', '>', '?', //
    '¡', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K', 'L', 'M', 'N', 'O', //
    'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z', 'Ä', 'Ö', 'Ñ', 'Ü', '§', //
    '¿', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', //
    'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z', 'ä', 'ö', 'ñ', 'ü', 'à',
];
const ESCAPE: u8 = 0x1b;
/// The extension (§6.2.1.1).
const EXTENSION: [(char, u8); 10] = [
    ('\u{c}', 0x0a),
    ('^', 0x14),
    ('{', 0x28),
    ('}', 0x29),
    ('\\', 0x2f),
    ('[', 0x3c),
    ('~', 0x3d),
    (']', 0x3e),
    ('|', 0x40),
    ('€', 0x65),
];

/// An encoded text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Encoded {
    /// One octet a septet, as SMPP carries it.
    Gsm(Vec<u8>),
    /// Big-endian UTF-16, which is UCS-2 but for characters beyond the basic plane.
    Ucs2(Vec<u8>),
}

/// Encodes a text in the alphabet that has all of it.
pub(super) fn encode(text: &str) -> Encoded {
    let mut septets = Vec::with_capacity(text.len());
    for c in text.chars() {
        match gsm(c) {
            Some((Some(escape), code)) => septets.extend([escape, code]),
            Some((None, code)) => septets.push(code),
            None => {
                let units = text.encode_utf16().flat_map(u16::to_be_bytes);
                return Encoded::Ucs2(units.collect());
            }
        }
    }
    Encoded::Gsm(septets)
}

/// Whether the GSM default alphabet has all characters of a text.
pub(super) fn is_gsm(text: &str) -> bool {
    text.chars().all(|c| gsm(c).is_some())
}

/// The code of a character, after the escape if it is in the extension.
fn gsm(c: char) -> Option<(Option<u8>, u8)> {
    // The escape is no character.
    let basic = BASIC.iter().position(|basic| *basic == c && c != '\u{1b}');
    if let Some(code) = basic.and_then(|code| u8::try_from(code).ok()) {
        return Some((None, code));
    }
    let extension = EXTENSION.iter().find(|(extension, _)| *extension == c);
    extension.map(|(_, code)| (Some(ESCAPE), *code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_alphabet_is_that_of_the_standard() {
        let codes = |text| match encode(text) {
            Encoded::Gsm(codes) => codes,
            Encoded::Ucs2(_) => panic!("{text} is not GSM"),
        };
        assert_eq!(codes("@£$¥"), [0, 1, 2, 3]);
        assert_eq!(
            codes("Az09 àÉ¿§"),
            [0x41, 0x7a, 0x30, 0x39, 0x20, 0x7f, 0x1f, 0x60, 0x5f]
        );
        assert_eq!(codes("_ΔÄäÑñ"), [0x11, 0x10, 0x5b, 0x7b, 0x5d, 0x7d]);
        assert_eq!(codes("€[{"), [0x1b, 0x65, 0x1b, 0x3c, 0x1b, 0x28]);
        // Each code is there once.
        let different: std::collections::BTreeSet<char> = BASIC.into();
        assert_eq!(different.len(), 128);
    }

    #[test]
    fn what_it_lacks_makes_all_of_it_ucs_2() {
        assert_eq!(encode("aç"), Encoded::Ucs2(vec![0, 0x61, 0, 0xe7]));
        assert_eq!(encode("😀"), Encoded::Ucs2(vec![0xd8, 0x3d, 0xde, 0]));
        for text in ["ç", "`", "\u{1b}", "ж", "a\tb"] {
            assert!(!is_gsm(text), "{text}");
        }
        assert!(is_gsm("123456 is the code of ACME & Söhne."));
    }
}
