//! Who may import whom: the rule of `src/lib.rs`, held against the sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each room, and the rooms that it may import. What starts a process may import every room.
const ROOMS: [(&str, &[&str]); 16] = [
    ("main", EVERY),
    ("commands", EVERY),
    ("app", EVERY),
    (
        "api",
        &[
            "callers",
            "authority",
            "tables",
            "webhooks",
            "domain",
            "telemetry",
        ],
    ),
    ("tables", &["domain"]),
    (
        "webhooks",
        &["authority", "store", "outgoing", "domain", "telemetry"],
    ),
    ("console", &["callers", "authority", "domain", "telemetry"]),
    (
        "authority",
        &[
            "store",
            "signer",
            "verifier",
            "tables",
            "domain",
            "telemetry",
        ],
    ),
    ("callers", &["store", "outgoing", "domain", "telemetry"]),
    ("store", &["domain", "telemetry"]),
    ("signer", &["domain", "telemetry"]),
    ("verifier", &["domain", "telemetry"]),
    ("acme", &["outgoing", "signer", "verifier", "domain"]),
    ("outgoing", &[]),
    ("config", &["domain", "telemetry"]),
    ("telemetry", &[]),
];
const EVERY: &[&str] = &[
    "commands",
    "app",
    "acme",
    "api",
    "console",
    "outgoing",
    "authority",
    "callers",
    "store",
    "tables",
    "signer",
    "verifier",
    "config",
    "telemetry",
    "webhooks",
    "domain",
];

/// What is known to few: a path, the files that may name it, and those that are left out because they are tests.
const KNOWN_TO_FEW: [(&str, &[&str]); 11] = [
    ("diesel", &["store"]),
    ("diesel_migrations", &["store"]),
    ("r2d2", &["store"]),
    ("actix_web", &["api", "app"]),
    (
        "openssl",
        &["signer", "verifier", "callers", "acme", "webhooks", "app"],
    ),
    ("josekit", &["signer", "verifier", "callers"]),
    ("cryptoki", &["signer"]),
    ("actix_tls", &["app"]),
    // Nothing that a caller says is fetched: one file asks others, and who uses it says what the configuration names.
    // Webhooks are told, behind their guard, and nothing of their answers is read.
    (
        "ureq",
        &["outgoing", "webhooks/guard.rs", "webhooks/send.rs"],
    ),
    // A token without its row cannot be: only the writer says that something is committed.
    (
        "after_commit",
        &[
            "store/writer/job.rs",
            "domain/tokens/grant.rs",
            "signer/tests.rs",
        ],
    ),
    // Time comes in as an argument everywhere else.
    ("Utc::now", &["domain/clock.rs"]),
];

/// Who holds no transaction of the store, not even in a closure whose argument has an inferred type: questions have names, as
/// methods of `authority`.
const WITHOUT_TRANSACTIONS: [&str; 2] = ["api", "console"];
/// What a transaction and its type are called everywhere.
const TRANSACTION: [&str; 2] = ["tx", "Tx"];

#[test]
fn every_room_imports_only_what_it_may() {
    let mut files = Vec::new();
    collect(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut files,
    );
    assert!(files.len() > 50, "only {} sources were found", files.len());
    let faults: Vec<String> = files
        .iter()
        .flat_map(|(name, path)| faults(name, &fs::read_to_string(path).expect(name)))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_forbidden_import_is_found() {
    for (file, source, fault) in [
        (
            "domain/number.rs",
            "use crate::store::Tx;",
            "`domain` imports `store`",
        ),
        (
            "domain/number.rs",
            "use crate::{\n    domain::Tn,\n    store::{Tx, self},\n};",
            "`domain` imports `store`",
        ),
        (
            "telemetry.rs",
            "fn f() { crate::domain::clock::from_unix(0); }",
            "`telemetry` imports `domain`",
        ),
        (
            "store/mod.rs",
            "use super::authority::Authority;",
            "`store` imports `authority`",
        ),
        (
            "store/tx.rs",
            "use super::super::authority::Authority;",
            "`store` imports `authority`",
        ),
        (
            "signer/mod.rs",
            "use crate::verifier;",
            "`signer` imports `verifier`",
        ),
        (
            "api/mod.rs",
            "use tn_authority::store::Store;",
            "`api` imports `store`",
        ),
        (
            "api/token.rs",
            "use diesel::prelude::*;",
            "`api` knows `diesel`",
        ),
        (
            "authority/issue.rs",
            "use ::openssl::x509::X509;",
            "`authority` knows `openssl`",
        ),
        (
            "authority/issue.rs",
            "extern crate josekit as jose;",
            "`authority` knows `josekit`",
        ),
        (
            "authority/issue.rs",
            "let r = Recorded::after_commit(grant);",
            "`authority` knows `after_commit`",
        ),
        (
            "store/mint/mod.rs",
            "let r = Recorded :: after_commit(grant);",
            "`store` knows `after_commit`",
        ),
        (
            "api/token.rs",
            "let now = chrono::Utc::now();",
            "`api` knows `Utc::now`",
        ),
        (
            "acme/session.rs",
            "use crate::authority::Authority;",
            "`acme` imports `authority`",
        ),
        (
            "acme/session.rs",
            "let agent = ureq::Agent::new_with_defaults();",
            "`acme` knows `ureq`",
        ),
        (
            "unheard_of/mod.rs",
            "use crate::domain::Tn;",
            "`unheard_of` is no room",
        ),
        (
            "api/routes/jobs.rs",
            "service.authority.read(&caller, |tx| list(tx, &page))",
            "`api` holds a transaction, `tx`",
        ),
        (
            "api/routes/jobs.rs",
            "let found = move |caller, tx| tx.list_jobs(&page);",
            "`api` holds a transaction, `tx`",
        ),
        (
            "api/routes/jobs.rs",
            "use crate::authority::Tx; fn f() {}",
            "`api` holds a transaction, `Tx`",
        ),
    ] {
        let found = faults(file, source);
        assert!(
            found.iter().any(|found| found.contains(fault)),
            "{fault} was not found in {source:?}: {found:?}"
        );
    }
    for (file, source) in [
        ("main.rs", "use tn_authority::store::Store;"),
        (
            "store/tx.rs",
            "use super::audit::AuditEvent; use diesel::prelude::*; use crate::telemetry::Metrics;",
        ),
        (
            "domain/number.rs",
            "//! Unlike crate::store, this room knows no diesel::Connection.\n/* crate::api */",
        ),
        (
            "domain/number.rs",
            "const TEXT: &str = \"crate::store \\\" diesel::x\"; const RAW: &str = r#\"\"crate::store\"#;",
        ),
        (
            "domain/number.rs",
            "const QUOTE: char = '\"'; fn f<'a>(x: &'a str) {} use crate::domain::Tn;",
        ),
        (
            "api/routes/jobs.rs",
            "// As |tx| tx.list_jobs(&page) does.\nlet found = service.authority.jobs(&caller, &page);",
        ),
        (
            "authority/queries.rs",
            "use crate::store::Tx; self.store.read(|tx| tx.list_jobs(page))",
        ),
        (
            "signer/key.rs",
            "use openssl::ec::EcKey; use crate::domain::{Tn, clock::Time};",
        ),
    ] {
        assert_eq!(faults(file, source), Vec::<String>::new(), "{source:?}");
    }
}

/// All `*.rs` of a folder, with their names below `src`.
fn collect(folder: &Path, files: &mut Vec<(String, PathBuf)>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let (_, name) = path
                .to_str()
                .expect("UTF-8")
                .rsplit_once("/src/")
                .expect("below src");
            files.push((name.to_owned(), path));
        }
    }
}

/// What a source does that it may not.
fn faults(file: &str, source: &str) -> Vec<String> {
    let room = file
        .split('/')
        .next()
        .unwrap_or(file)
        .trim_end_matches(".rs");
    if room == "lib" {
        return Vec::new();
    }
    let may = match ROOMS.iter().find(|(name, _)| *name == room) {
        Some((_, may)) => *may,
        None if room == "domain" => &[],
        None => return vec![format!("src/{file}: `{room}` is no room of src/lib.rs")],
    };
    let words = words(source);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let imported = imported(&words)
        .into_iter()
        .filter(|other| other != room && !may.contains(&other.as_str()));
    let imported = imported.map(|other| format!("src/{file}: `{room}` imports `{other}`"));
    let known = KNOWN_TO_FEW.iter().filter(|(path, _)| names(&words, path));
    let known = known.filter(|(_, files)| {
        !files
            .iter()
            .any(|allowed| *allowed == room || *allowed == file)
    });
    let known = known.map(|(path, _)| format!("src/{file}: `{room}` knows `{path}`"));
    let transactions = TRANSACTION
        .into_iter()
        .filter(|word| WITHOUT_TRANSACTIONS.contains(&room) && words.contains(word));
    let transactions =
        transactions.map(|word| format!("src/{file}: `{room}` holds a transaction, `{word}`"));
    imported.chain(known).chain(transactions).collect()
}

/// The rooms that are named behind `crate::`, `tn_authority::` or `super::`, one by one or in braces.
fn imported(words: &[&str]) -> BTreeSet<String> {
    let is_room = |word: &&str| EVERY.contains(word);
    let mut rooms = BTreeSet::new();
    for (at, word) in words.iter().enumerate() {
        if !matches!(*word, "crate" | "tn_authority" | "super") || words.get(at + 1) != Some(&"::")
        {
            continue;
        }
        match words.get(at + 2) {
            Some(&"{") => {
                let mut depth = 0;
                for pair in words[at + 2..].windows(2) {
                    match pair[0] {
                        "{" => depth += 1,
                        "}" => depth -= 1,
                        _ => {}
                    }
                    if depth == 0 {
                        break;
                    }
                    if depth == 1 && matches!(pair[0], "{" | ",") && is_room(&pair[1]) {
                        rooms.insert(pair[1].to_owned());
                    }
                }
            }
            Some(next) if is_room(next) => {
                rooms.insert((*next).to_owned());
            }
            _ => {}
        }
    }
    rooms
}

/// Whether a path is named: a library as the start of one, anything else wherever it stands.
fn names(words: &[&str], path: &str) -> bool {
    let parts: Vec<&str> = path
        .split("::")
        .flat_map(|part| ["::", part])
        .skip(1)
        .collect();
    let is_library = parts.len() == 1 && path != "after_commit";
    (0..words.len()).any(|at| {
        let before = at.checked_sub(1).and_then(|at| words.get(at));
        let within = before == Some(&"::")
            && at
                .checked_sub(2)
                .and_then(|at| words.get(at))
                .is_some_and(|w| w.chars().all(is_name) && *w != "use");
        let named = words[at..].starts_with(&parts);
        let starts_a_path = words.get(at + parts.len()) == Some(&"::")
            || matches!(before, Some(&("use" | "crate" | "::")));
        named && (!is_library || (!within && starts_a_path))
    })
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The words and signs of a source, without its comments and texts.
fn words(source: &str) -> Vec<String> {
    let (mut words, mut rest) = (Vec::new(), source);
    while let Some(c) = rest.chars().next() {
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_text(rest) {
            let end = format!("\"{}", "#".repeat(hashes));
            let start = hashes + 2;
            rest[start..]
                .find(&end)
                .map_or(rest.len(), |found| start + found + end.len())
        } else if c == '"' {
            let mut escaped = false;
            let end = rest[1..].find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            end.map_or(rest.len(), |end| end + 2)
        } else if c == '\'' {
            character(rest)
        } else if is_name(c) {
            let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
            words.push(rest[..end].to_owned());
            end
        } else if rest.starts_with("::") {
            words.push("::".to_owned());
            2
        } else {
            if !c.is_whitespace() {
                words.push(c.to_string());
            }
            c.len_utf8()
        };
        rest = &rest[skip..];
    }
    words
}

/// How many `#` a raw text starts with, if one starts here.
fn raw_text(rest: &str) -> Option<usize> {
    let behind = rest.strip_prefix('r')?;
    let hashes = behind.len() - behind.trim_start_matches('#').len();
    behind[hashes..].starts_with('"').then_some(hashes)
}

/// How long a character is, or the mark of a lifetime.
fn character(rest: &str) -> usize {
    let mut inside = rest[1..].char_indices();
    match inside.next() {
        Some((_, '\\')) => rest[3..].find('\'').map_or(rest.len(), |end| end + 4),
        _ => match inside.next() {
            Some((at, '\'')) => at + 2,
            _ => 1,
        },
    }
}
