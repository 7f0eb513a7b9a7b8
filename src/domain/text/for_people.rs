//! Texts for people, which callers choose: names, labels, references and reasons. Two of them that
//! look alike must not differ by characters that no one can see.
//!
//! Not covered: letters of different scripts that look alike, and the two ways to write an accented
//! letter. A text is stored as it was sent, and never used as a key.

use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};
use thiserror::Error;

/// The most characters in a text for people.
pub const MAX_TEXT: usize = 256;

/// Characters that have a visible class in Unicode, and no glyph: the blank of Braille, joiners and
/// fillers of scripts, a notehead of nothing, hieroglyphic controls, and the sign for an object.
const BLANK: [char; 7] = [
    '\u{2800}',
    '\u{2d7f}',
    '\u{1107f}',
    '\u{16fe4}',
    '\u{1d159}',
    '\u{13440}',
    '\u{fffc}',
];

/// Why a text is not a name, a reference or a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TextError {
    #[error("has more than {MAX_TEXT} characters")]
    Long,
    #[error("has a control character or an invisible one, U+{:04X}", u32::from(*.0))]
    Hidden(char),
    #[error("starts or ends with a space, or has two in a row")]
    Spaces,
}

/// Checks a text for people.
///
/// # Errors
/// [`TextError`] if it is too long, has characters that a database cannot store, that a terminal
/// would interpret or that no one can see, or differs from another text by spaces only.
pub fn text_for_people(text: &str) -> Result<String, TextError> {
    if text.chars().count() > MAX_TEXT {
        return Err(TextError::Long);
    }
    if let Some(hidden) = text.chars().find(|c| is_hidden(*c)) {
        return Err(TextError::Hidden(hidden));
    }
    if text.starts_with(' ') || text.ends_with(' ') || text.contains("  ") {
        return Err(TextError::Spaces);
    }
    Ok(text.to_owned())
}

/// Whether a character cannot be seen, or cannot be told from a space, or controls what displays
/// it: control and format characters, which include tags and those that change the writing
/// direction; line and paragraph separators; all spaces but U+0020; code points for private use or
/// without a meaning; and what is ignored in display, such as variation selectors and the fillers
/// of Hangul (Unicode, `General_Category` and `Default_Ignorable_Code_Point`).
#[must_use]
pub fn is_hidden(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    match CodePointMapData::<GeneralCategory>::new().get(c) {
        GeneralCategory::Control
        | GeneralCategory::Format
        | GeneralCategory::PrivateUse
        | GeneralCategory::Surrogate
        | GeneralCategory::Unassigned
        | GeneralCategory::LineSeparator
        | GeneralCategory::ParagraphSeparator
        | GeneralCategory::SpaceSeparator => true,
        _ => BLANK.contains(&c) || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_people_write_are_taken() {
        for text in [
            "",
            "Acme, Inc. (Order #17) <ops@acme.example>",
            "Société Générale de Téléphonie",
            "Dvořák & Søn",
            // An accent of its own.
            "Socie\u{301}te\u{301}",
            "Ελληνικά, Русский, 日本電信電話株式会社, 한국통신, עברית, العربية, हिन्दी, ไทย",
            "½ € – ☎ 😀",
            &"é".repeat(MAX_TEXT),
        ] {
            assert_eq!(text_for_people(text), Ok(text.to_owned()));
        }
    }

    #[test]
    fn what_no_one_can_see_is_refused() {
        for (hidden, what) in [
            ('\0', "null"),
            ('\u{2d7f}', "Tifinagh consonant joiner"),
            ('\u{16fe4}', "Khitan small script filler"),
            ('\u{1d159}', "musical symbol null notehead"),
            ('\t', "tab"),
            ('\n', "line feed"),
            ('\u{7f}', "delete"),
            ('\u{85}', "next line"),
            ('\u{a0}', "no-break space"),
            ('\u{ad}', "soft hyphen"),
            ('\u{34f}', "combining grapheme joiner"),
            ('\u{61c}', "Arabic letter mark"),
            ('\u{115f}', "Hangul choseong filler"),
            ('\u{1160}', "Hangul jungseong filler"),
            ('\u{17b4}', "Khmer inherent vowel"),
            ('\u{180b}', "Mongolian variation selector"),
            ('\u{180e}', "Mongolian vowel separator"),
            ('\u{2003}', "em space"),
            ('\u{200b}', "zero width space"),
            ('\u{200d}', "zero width joiner"),
            ('\u{200e}', "left-to-right mark"),
            ('\u{2028}', "line separator"),
            ('\u{2029}', "paragraph separator"),
            ('\u{202e}', "right-to-left override"),
            ('\u{2060}', "word joiner"),
            ('\u{2065}', "unassigned, ignored in display"),
            ('\u{2066}', "left-to-right isolate"),
            ('\u{2800}', "braille blank"),
            ('\u{3000}', "ideographic space"),
            ('\u{3164}', "Hangul filler"),
            ('\u{e000}', "private use"),
            ('\u{fe0f}', "variation selector 16"),
            ('\u{feff}', "zero width no-break space"),
            ('\u{ffa0}', "halfwidth Hangul filler"),
            ('\u{fff9}', "interlinear annotation anchor"),
            ('\u{ffff}', "noncharacter"),
            ('\u{1d173}', "musical symbol begin beam"),
            ('\u{e0001}', "language tag"),
            ('\u{e0041}', "tag letter"),
            ('\u{e0100}', "variation selector 17"),
            ('\u{f0000}', "private use"),
            ('\u{10ffff}', "noncharacter"),
        ] {
            for text in [format!("Acme{hidden}"), format!("Ac{hidden}me")] {
                assert_eq!(
                    text_for_people(&text),
                    Err(TextError::Hidden(hidden)),
                    "{what}"
                );
            }
        }
        let message = TextError::Hidden('\u{feff}').to_string();
        assert_eq!(
            message,
            "has a control character or an invisible one, U+FEFF"
        );
    }

    #[test]
    fn spaces_do_not_make_a_difference() {
        for text in [" Acme", "Acme ", " ", "Acme  Inc"] {
            assert_eq!(text_for_people(text), Err(TextError::Spaces), "{text:?}");
        }
        assert_eq!(text_for_people(&"x".repeat(257)), Err(TextError::Long));
    }
}
