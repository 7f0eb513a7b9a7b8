//! Makes untrusted text safe to print.

use super::for_people::is_hidden;

/// The most characters of untrusted text that are shown.
const MAX_LENGTH: usize = 120;

/// The text on one line, shortened, with control characters escaped so that a terminal does not
/// interpret them.
#[must_use]
pub fn printable(text: &str) -> String {
    shortened(text, MAX_LENGTH)
}

/// As [`printable`], but up to 500 characters, for texts that explain something.
#[must_use]
pub fn printable_long(text: &str) -> String {
    shortened(text, 500)
}

fn visible(c: char) -> String {
    if is_hidden(c) && c != '\n' && c != '\t' && c != '\r' {
        c.escape_unicode().to_string()
    } else {
        c.escape_debug().to_string()
    }
}

fn shortened(text: &str, longest: usize) -> String {
    let mut out: String = text.chars().take(longest).map(visible).collect();
    if text.chars().nth(longest).is_some() {
        out.push_str("..");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(printable("a\u{3164}\u{feff}"), "a\\u{3164}\\u{feff}");
        assert_eq!(printable("a\u{1b}[2Jb\nc"), "a\\u{1b}[2Jb\\nc");
        assert_eq!(
            printable(&"x".repeat(121)),
            format!("{}..", "x".repeat(120))
        );
        assert_eq!(printable(&"x".repeat(120)), "x".repeat(120));
    }
}
