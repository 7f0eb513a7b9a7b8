//! Texts stay readable: files of a size that can be read, lines that fit, a short README, and the trade's words.

use std::fs;
use std::path::Path;

use super::sources;

/// A longer file is two subjects.
const MAX_LINES: usize = 400;
/// Half of the files are not longer than this.
const MAX_MEDIAN: usize = 150;
/// Comments are wrapped as rustfmt wraps code, which it does not do itself.
const MAX_COLUMNS: usize = 100;

#[test]
fn no_source_file_is_too_long_to_read() {
    let mut lengths = lengths("src");
    lengths.sort();
    let (median, file) = &lengths[lengths.len() / 2];
    assert!(*median <= MAX_MEDIAN, "the median is {median}: {file}");
    lengths.extend(self::lengths("tests"));
    let long: Vec<_> = lengths.iter().filter(|(n, _)| *n > MAX_LINES).collect();
    assert!(long.is_empty(), "split these: {long:?}");
}

fn lengths(folder: &str) -> Vec<(usize, String)> {
    let files = sources(folder).into_iter();
    let lengths = files.map(|(file, text)| (text.lines().count(), file));
    lengths.collect()
}

#[test]
fn comments_are_wrapped() {
    let mut wide = Vec::new();
    for (file, text) in sources("src") {
        for (number, line) in (1..).zip(text.lines()) {
            let is_comment = line.trim_start().starts_with("//");
            if is_comment && line.chars().count() > MAX_COLUMNS {
                wide.push(format!("src/{file}:{number}"));
            }
        }
    }
    assert!(wide.is_empty(), "wrap these:\n{}", wide.join("\n"));
}

/// The word list of CONTRIBUTING.md has the words to use in their place.
#[test]
fn comments_and_messages_use_the_words_of_the_trade() {
    const PHRASES: [&str; 12] = [
        "whoever",
        "is had",
        "to be had",
        "come again",
        "comes again",
        "taken back",
        "take back",
        "is told of",
        "for good",
        "so many words",
        "gone on with",
        "it loans",
    ];
    let mut found = Vec::new();
    let mut search = |file: &str, text: &str| {
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.to_lowercase();
            let odd = PHRASES.iter().filter(|phrase| has_phrase(&line, phrase));
            found.extend(odd.map(|phrase| format!("{file}:{number}: {phrase}")));
        }
    };
    for (file, text) in sources("src") {
        search(&format!("src/{file}"), &text);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = fs::read_dir(root.join("deploy/guide")).expect("the guide");
    let pages = guide.map(|page| page.expect("a page").path());
    let others = ["README.md", "ARCHITECTURE.md", "deploy/openapi.json"];
    for path in pages.chain(others.map(|name| root.join(name))) {
        let text = fs::read_to_string(&path).expect("a text");
        search(&path.display().to_string(), &text);
    }
    assert!(found.is_empty(), "reword these:\n{}", found.join("\n"));
}

#[test]
fn the_readme_is_for_the_user_who_arrives() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).expect("the README");
    let lines = readme.lines().count();
    assert!(lines <= 200, "{lines} lines; the guide is for the rest");
}

/// Whether a line has these words, and not only as a part of longer ones.
fn has_phrase(line: &str, phrase: &str) -> bool {
    let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    line.match_indices(phrase).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + phrase.len()..]);
        !is_word(before.chars().next_back()) && !is_word(after.chars().next())
    })
}
