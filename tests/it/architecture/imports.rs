//! Which module may import which: the rule of ARCHITECTURE.md, checked against the sources.

use std::collections::BTreeSet;

use super::rust::{is_name, words};
use super::sources;

/// Each top-level module, and the modules that it may import. What starts a process may import every module.
const MODULES: [(&str, &[&str]); 20] = [
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
        &[
            "authority",
            "store",
            "outgoing",
            "regular_file",
            "domain",
            "telemetry",
        ],
    ),
    (
        "gateways",
        &[
            "authority",
            "store",
            "outgoing",
            "sip",
            "domain",
            "telemetry",
        ],
    ),
    ("console", &["callers", "authority", "domain", "telemetry"]),
    (
        "authority",
        &[
            "store",
            "signer",
            "verifier",
            "tables",
            "regular_file",
            "domain",
            "telemetry",
        ],
    ),
    (
        "callers",
        &["store", "outgoing", "regular_file", "domain", "telemetry"],
    ),
    ("store", &["domain", "telemetry"]),
    ("signer", &["regular_file", "domain", "telemetry"]),
    ("verifier", &["domain", "telemetry"]),
    ("acme", &["outgoing", "signer", "verifier", "domain"]),
    ("agent", &["acme", "sip", "outgoing", "domain"]),
    ("sip", &[]),
    ("outgoing", &[]),
    ("regular_file", &[]),
    ("config", &["domain", "telemetry"]),
    ("telemetry", &[]),
];
const EVERY: &[&str] = &[
    "commands",
    "app",
    "acme",
    "agent",
    "sip",
    "api",
    "console",
    "outgoing",
    "regular_file",
    "authority",
    "callers",
    "store",
    "tables",
    "signer",
    "verifier",
    "config",
    "telemetry",
    "webhooks",
    "gateways",
    "domain",
];

/// Libraries and functions that few modules may name: the path, and the modules or files that may.
#[rustfmt::skip]
const RESTRICTED: [(&str, &[&str]); 16] = [
    ("diesel", &["store"]),
    ("diesel_migrations", &["store"]),
    ("r2d2", &["store"]),
    ("actix_web", &["api", "app"]),
    // `store/refusal.rs` needs SCRAM, to learn why PostgreSQL refuses the service.
    ("openssl", &["signer", "verifier", "callers", "acme", "webhooks", "gateways", "app", "store/refusal.rs"]),
    ("josekit", &["signer", "verifier", "callers"]),
    ("cryptoki", &["signer"]),
    ("actix_tls", &["app"]),
    ("actix_http", &["app"]),
    ("actix_server", &["app"]),
    ("actix_service", &["app"]),
    ("rusmpp", &["gateways"]),
    ("tokio_openssl", &["gateways"]),
    // No URL from a caller is ever fetched: `outgoing` requests only what the configuration names. Webhooks go through
    // their guard, and their answers are not read.
    ("ureq", &["outgoing", "webhooks/guard.rs", "webhooks/send.rs"]),
    // Only the writer may say that a grant is committed, so that no token exists without its row.
    (
        "after_commit",
        &[
            "store/writer/job.rs",
            "domain/tokens/grant.rs",
            "signer/tests.rs",
        ],
    ),
    // Everywhere else, time is an argument.
    ("Utc::now", &["domain/clock.rs"]),
];

/// Modules that never hold a transaction of the store, not even in a closure with an inferred argument type: they call named
/// queries of `authority`.
const WITHOUT_TRANSACTIONS: [&str; 2] = ["api", "console"];
/// The names of a transaction and of its type, everywhere.
const TRANSACTION: [&str; 2] = ["tx", "Tx"];

#[test]
fn every_module_imports_only_what_it_may() {
    let faults: Vec<String> = sources("src")
        .iter()
        .flat_map(|(file, source)| faults(file, source))
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
            "extern crate josekit;",
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
            "`unheard_of` is not a module",
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
            "//! Unlike crate::store, this module knows no diesel::Connection.\n/* crate::api */",
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
        ("store/mint/mod.rs", "use super::tables::grants;"),
        ("store/mint/facts.rs", "use super::super::tables::grants;"),
        ("store/tx.rs", "use super::tables::grants;"),
        (
            "signer/key.rs",
            "use openssl::ec::EcKey; use crate::domain::{Tn, clock::Time};",
        ),
    ] {
        assert_eq!(faults(file, source), Vec::<String>::new(), "{source:?}");
    }
}

/// What a source imports or names although it must not.
fn faults(file: &str, source: &str) -> Vec<String> {
    let module = file
        .split('/')
        .next()
        .unwrap_or(file)
        .trim_end_matches(".rs");
    if module == "lib" {
        return Vec::new();
    }
    let may = match MODULES.iter().find(|(name, _)| *name == module) {
        Some((_, may)) => *may,
        None if module == "domain" => &[],
        None => {
            return vec![format!(
                "src/{file}: `{module}` is not a module of ARCHITECTURE.md"
            )];
        }
    };
    let words = words(source);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let imported = imported(file, &words)
        .into_iter()
        .filter(|other| other != module && !may.contains(&other.as_str()));
    let imported = imported.map(|other| format!("src/{file}: `{module}` imports `{other}`"));
    let known = RESTRICTED.iter().filter(|(path, _)| names(&words, path));
    let known = known.filter(|(_, files)| {
        !files
            .iter()
            .any(|allowed| *allowed == module || *allowed == file)
    });
    let known = known.map(|(path, _)| format!("src/{file}: `{module}` knows `{path}`"));
    let transactions = TRANSACTION
        .into_iter()
        .filter(|word| WITHOUT_TRANSACTIONS.contains(&module) && words.contains(word));
    let transactions =
        transactions.map(|word| format!("src/{file}: `{module}` holds a transaction, `{word}`"));
    imported.chain(known).chain(transactions).collect()
}

/// The top-level modules that are named after `crate::`, `tn_authority::` or as many `super::` as lead to the root of the
/// crate, one by one or in braces.
fn imported(file: &str, words: &[&str]) -> BTreeSet<String> {
    let is_module = |word: &&str| EVERY.contains(word);
    let mut modules = BTreeSet::new();
    for (at, word) in words.iter().enumerate() {
        if words.get(at + 1) != Some(&"::") || !leads_to_the_root(file, words, at, word) {
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
                    if depth == 1 && matches!(pair[0], "{" | ",") && is_module(&pair[1]) {
                        modules.insert(pair[1].to_owned());
                    }
                }
            }
            Some(next) if is_module(next) => {
                modules.insert((*next).to_owned());
            }
            _ => {}
        }
    }
    modules
}

/// Whether a path up to this word is the root of the crate. `super` counts the folders of the file: in `store/tx.rs`,
/// `super::tables` is a sub-module of `store` and not the module `tables`.
fn leads_to_the_root(file: &str, words: &[&str], at: usize, word: &str) -> bool {
    match word {
        "crate" | "tn_authority" => true,
        "super" => {
            let before = words[..at].rchunks(2);
            let supers = 1 + before.take_while(|pair| *pair == ["super", "::"]).count();
            let module = file.trim_end_matches(".rs").trim_end_matches("/mod");
            supers >= module.split('/').count()
        }
        _ => false,
    }
}

/// Whether a path is named: a library at the start of a path, anything else anywhere.
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
