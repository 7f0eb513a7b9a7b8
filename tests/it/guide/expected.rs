//! Output as a page shows it, compared with what was printed.
//!
//! What differs from run to run matches by its form: times, dates, UUIDs, hex with letters and digits, fingerprints, ports
//! of this machine, and long numbers. `..` stands for any text within a line; a line `..` for any lines. White space and
//! line breaks may differ, so that a page can wrap a long line.

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// A kind of text that differs from run to run: how to find it on the page, and what it may be instead.
const VARIABLE: [(&str, &str); 11] = [
    (r"\d{4}-\d\d-\d\dT[\d:.]+Z", r"\d{4}-\d\d-\d\dT[\d:.]+Z"),
    (
        r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b",
        r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    ),
    // A UUID that is cut off.
    (r"\b[0-9a-f]{8}-[0-9a-f-]*\.\.\.?", r"[0-9a-f]{8}-.*"),
    (r"\d{4}-\d\d-\d\d", r"\d{4}-\d\d-\d\d"),
    (
        r"\b(?:[0-9A-F]{2}:){2,}(?:[0-9A-F]{2}\b)?",
        r"(?:[0-9A-F]{2}:)+(?:[0-9A-F]{2})?",
    ),
    (r"\blocalhost:\d+", r"localhost:\d+"),
    (r"\b127\.0\.0\.1:\d+", r"127\.0\.0\.1:\d+"),
    // The time in seconds, or a number that is made from it.
    (r"\b1[789]\d{8}\b", r"\d{10}"),
    (r"\b\d{16,}\b", r"\d{16,}"),
    (r"\.\.\.?", r".*"),
    (r"[ \t]+", r"[ \t]+"),
];

static ANY_VARIABLE: LazyLock<Regex> = LazyLock::new(|| {
    let kinds: Vec<String> = VARIABLE
        .iter()
        .map(|(found, _)| format!("({found})"))
        .collect();
    // Hex is last: only code can say whether it has a letter and a digit.
    Regex::new(&format!(r"{}|\b([0-9a-f]{{8,}})", kinds.join("|"))).expect("a pattern")
});

/// Compares, and says where the two differ first.
pub fn compare(shown: &str, printed: &str) -> Result<(), String> {
    let mut pattern = r"^\s*".to_owned();
    for line in shown.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if line == ".." {
            pattern.push_str("(?s:.*)");
        } else {
            pattern.push_str(&line_pattern(line));
        }
        if !matches(&pattern, printed) {
            return Err(format!(
                "the page shows a line that was not printed there:\n{line}"
            ));
        }
        pattern.push_str(r"\s*");
    }
    pattern.push('$');
    if matches(&pattern, printed) {
        Ok(())
    } else {
        Err("more was printed than the page shows".to_owned())
    }
}

fn matches(pattern: &str, printed: &str) -> bool {
    Regex::new(pattern).expect("a pattern").is_match(printed)
}

fn line_pattern(line: &str) -> String {
    let mut pattern = String::new();
    let mut end = 0;
    for found in ANY_VARIABLE.captures_iter(line) {
        let text = found.get_match();
        pattern.push_str(&regex::escape(&line[end..text.start()]));
        pattern.push_str(&variable(&found));
        end = text.end();
    }
    pattern.push_str(&regex::escape(&line[end..]));
    pattern
}

fn variable(found: &Captures<'_>) -> String {
    let kind = (1..=VARIABLE.len()).find(|&group| found.get(group).is_some());
    if let Some(group) = kind {
        return VARIABLE[group - 1].1.to_owned();
    }
    let hex = &found[0];
    if hex.contains(|c: char| c.is_ascii_digit()) && hex.contains(|c: char| c.is_ascii_lowercase())
    {
        format!("[0-9a-f]{{{}}}", hex.len())
    } else {
        regex::escape(hex)
    }
}

#[test]
fn what_differs_from_run_to_run_matches_by_its_form() {
    let printed = "{\"id\":\"01a20be8-2930-7abc-8def-0123456789ab\",\"start\":\"+12125551000\",\"jti\":\"01a20be82d18ff\"}\n\
        SHA256 D5:B0:11 at 2026-11-24T05:54:55Z from http://localhost:33913\nthe end\n";
    for shown in [
        printed,
        "{\"id\":\"01b30be8-..\",\"start\":\"+12125551000\",..}\nSHA256 00:11:.. at 2027-01-01T00:00:00Z from http://localhost:8443\nthe end",
        "{..,\"start\":\"+12125551000\",\n  \"jti\":\"0000aaaa..\"}\n..\nthe end",
        "..",
    ] {
        assert_eq!(compare(shown, printed), Ok(()), "{shown}");
    }
    for shown in [
        "",
        "{..,\"start\":\"+12125551001\",..}\n..",
        "..\nthe beginning",
        "..\nthe",
        "{\"id\":..",
    ] {
        assert!(compare(shown, printed).is_err(), "{shown}");
    }
}
