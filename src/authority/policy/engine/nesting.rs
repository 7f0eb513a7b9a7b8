//! How deep a policy may be written. Whatever reads nested text goes down into it, and its stack has an end; so this is
//! looked at before anything reads a policy.

use super::files::TextFile;
use crate::authority::policy::error::PolicyFault;

/// How many brackets may be open at once.
const MAX_DEPTH: usize = 50;
/// How many operators, brackets and words such as `if` one policy may have. Each can make it one level deeper. Commas cannot,
/// so that lists may be long.
const MAX_JOINTS: usize = 2_000;
/// Words that join what stands beside them.
const WORDS: [&str; 7] = ["if", "then", "else", "in", "like", "has", "is"];

/// Refuses a file with a policy that is too deep.
pub(in crate::authority::policy) fn look(file: &TextFile) -> Result<(), PolicyFault> {
    let (mut open, mut joints) = (0_usize, 0_usize);
    let bytes = file.text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let length = match byte {
            b'/' if bytes[at..].starts_with(b"//") => to_the_end_of(&bytes[at..], |b| b == b'\n'),
            b'"' => text(&bytes[at..]),
            b if b.is_ascii_alphanumeric() || *b == b'_' => {
                let word = to_the_end_of(&bytes[at..], |b| !b.is_ascii_alphanumeric() && b != b'_');
                let found = &bytes[at..at + word];
                joints += usize::from(WORDS.iter().any(|known| known.as_bytes() == found));
                word
            }
            b'(' | b'[' | b'{' => {
                (open, joints) = (open + 1, joints + 1);
                1
            }
            b')' | b']' | b'}' => {
                open = open.saturating_sub(1);
                1
            }
            // Whatever is open, here a policy ends: what is wrong with it is for the parser to say.
            b';' => {
                (open, joints) = (0, 0);
                1
            }
            byte => {
                joints += usize::from(b".&|+-*/%!<>=?".contains(byte));
                1
            }
        };
        if open > MAX_DEPTH || joints > MAX_JOINTS {
            let why = format!(
                "a policy has at most {MAX_DEPTH} open brackets, and {MAX_JOINTS} operators and brackets; make several of it"
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

/// How long a text in quotes is.
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

    fn look_at(text: &str) -> Result<(), PolicyFault> {
        look(&TextFile {
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
        assert_eq!(look_at(&long), Ok(()));
        let many = "permit (principal, action, resource) when { 1 < 2 };\n".repeat(5_000);
        assert_eq!(look_at(&many), Ok(()));
        let quoted = format!(
            "// {}\n@id(\"{}\\\"{}\")",
            "(".repeat(100),
            "(".repeat(100),
            "[".repeat(100)
        );
        assert_eq!(look_at(&quoted), Ok(()));
        let deep = format!("\n{}", "(".repeat(51));
        assert_eq!(look_at(&deep).map_err(|fault| fault.at), Err(Some((2, 51))));
        for joint in ["&&true", "+1", ".a", "-", " if", "!", " in x"] {
            assert!(look_at(&joint.repeat(2_001)).is_err(), "{joint}");
        }
    }
}
