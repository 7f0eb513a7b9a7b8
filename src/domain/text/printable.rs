//! A stranger's text, made safe to print.

/// Characters of a stranger's text that are shown.
const MAX_LENGTH: usize = 120;

/// The text, short, on one line, and with nothing in it that a terminal would obey.
#[must_use]
pub fn printable(text: &str) -> String {
    shortened(text, MAX_LENGTH)
}

/// As [`printable`], for texts that explain something: up to 500 characters.
#[must_use]
pub fn printable_long(text: &str) -> String {
    shortened(text, 500)
}

fn shortened(text: &str, longest: usize) -> String {
    let mut out: String = text
        .chars()
        .take(longest)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(longest).is_some() {
        out.push_str("..");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        assert_eq!(printable("a\u{1b}[2Jb\nc"), "a\\u{1b}[2Jb\\nc");
        assert_eq!(
            printable(&"x".repeat(121)),
            format!("{}..", "x".repeat(120))
        );
        assert_eq!(printable(&"x".repeat(120)), "x".repeat(120));
    }
}
