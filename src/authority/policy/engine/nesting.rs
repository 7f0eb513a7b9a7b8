//! Bounds the nesting of a policy. Parsers are recursive, and deep nesting would overflow their
//! stack, so this check runs before a policy is parsed.

use super::files::TextFile;
use crate::authority::policy::error::PolicyFault;

/// How many brackets can be open at once.
const MAX_DEPTH: usize = 50;
/// How many operators, brackets and keywords such as `if` one policy can have. Each can add a
/// level. Commas cannot, so lists can be long.
const MAX_OPERATORS: usize = 2_000;
/// Keywords that can add a level.
const KEYWORDS: [&str; 7] = ["if", "then", "else", "in", "like", "has", "is"];

/// Refuses a file with a policy that is nested too deeply.
pub(in crate::authority::policy) fn check(file: &TextFile) -> Result<(), PolicyFault> {
    let (mut open, mut operators) = (0_usize, 0_usize);
    let bytes = file.text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let length = match byte {
            b'/' if bytes[at..].starts_with(b"//") => to_the_end_of(&bytes[at..], |b| b == b'\n'),
            b'"' => text(&bytes[at..]),
            b if b.is_ascii_alphanumeric() || *b == b'_' => {
                let word = to_the_end_of(&bytes[at..], |b| !b.is_ascii_alphanumeric() && b != b'_');
                let found = &bytes[at..at + word];
                operators += usize::from(KEYWORDS.iter().any(|known| known.as_bytes() == found));
                word
            }
            b'(' | b'[' | b'{' => {
                (open, operators) = (open + 1, operators + 1);
                1
            }
            b')' | b']' | b'}' => {
                open = open.saturating_sub(1);
                1
            }
            // A policy ends here, also if brackets are open: the parser reports that.
            b';' => {
                (open, operators) = (0, 0);
                1
            }
            byte => {
                operators += usize::from(b".&|+-*/%!<>=?".contains(byte));
                1
            }
        };
        if open > MAX_DEPTH || operators > MAX_OPERATORS {
            let why = format!(
                "a policy has at most {MAX_DEPTH} open brackets, and {MAX_OPERATORS} operators and brackets; split it into several"
            );
            return Err(PolicyFault::at(&file.name, &file.text, Some(at), why));
        }
        at += length;
    }
    Ok(())
}

fn to_the_end_of(bytes: &[u8], ends: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|b| ends(*b)).unwrap_or(bytes.len())
}

/// The length of a quoted string.
fn text(bytes: &[u8]) -> usize {
    let mut escaped = false;
    let end = bytes.iter().skip(1).position(|b| {
        let ends = *b == b'"' && !escaped;
        escaped = *b == b'\\' && !escaped;
        ends
    });
    end.map_or(bytes.len(), |end| end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_text(text: &str) -> Result<(), PolicyFault> {
        check(&TextFile {
            name: "a.cedar".to_owned(),
            text: text.to_owned(),
        })
    }

    #[test]
    fn depth_is_bounded_and_length_is_not() {
        let list = (0..5_000)
            .map(|n| format!("Account::\"a{n}\""))
            .collect::<Vec<_>>()
            .join(", ");
        let long =
            format!("permit (principal, action, resource) when {{ [{list}].contains(resource) }};");
        assert_eq!(check_text(&long), Ok(()));
        let many = "permit (principal, action, resource) when { 1 < 2 };\n".repeat(5_000);
        assert_eq!(check_text(&many), Ok(()));
        let quoted = format!(
            "// {}\n@id(\"{}\\\"{}\")",
            "(".repeat(100),
            "(".repeat(100),
            "[".repeat(100)
        );
        assert_eq!(check_text(&quoted), Ok(()));
        let deep = format!("\n{}", "(".repeat(51));
        assert_eq!(
            check_text(&deep).map_err(|fault| fault.at),
            Err(Some((2, 51)))
        );
        for operator in ["&&true", "+1", ".a", "-", " if", "!", " in x"] {
            assert!(check_text(&operator.repeat(2_001)).is_err(), "{operator}");
        }
    }
}
