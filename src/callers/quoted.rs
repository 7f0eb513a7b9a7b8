//! Header fields with parts that can be in double quotes.

/// Splits at each separator outside of quotes, in which `\` escapes the next character. `None` if a
/// quote is not closed.
pub(super) fn split_outside_quotes(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c if c == separator && !quoted => {
                parts.push(&text[start..at]);
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (!quoted).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hide_separators() {
        let split = |text| split_outside_quotes(text, ',');
        assert_eq!(split(r#"a="1,2\",3",b"#), Some(vec![r#"a="1,2\",3""#, "b"]));
        assert_eq!(split(""), Some(vec![""]));
        assert_eq!(split(r#"a="1,2\"#), None);
    }
}
