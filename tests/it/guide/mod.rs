//! The guide does what it says: each page is run, block by block, in a shell of its own.
//!
//! CONTRIBUTING.md describes how a page is written so that it can be run.

mod expected;
mod page;
mod run;

use std::collections::BTreeSet;
use std::path::Path;

use tn_authority::domain::AuditAction;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// One test for each page.
macro_rules! pages {
    ($($test:ident: $path:literal,)+) => {
        const PAGES: &[&str] = &[$($path),+];
        $(#[test] fn $test() { run::run($path); })+
    };
}

pages! {
    audit_and_logs: "deploy/guide/audit-and-logs.md",
    backup: "deploy/guide/backup.md",
    callers: "deploy/guide/callers.md",
    conformance: "deploy/guide/conformance.md",
    control: "deploy/guide/control.md",
    failovers: "deploy/guide/failovers.md",
    idempotency: "deploy/guide/idempotency.md",
    imports: "deploy/guide/imports.md",
    index: "deploy/guide/README.md",
    interop: "deploy/guide/interop.md",
    keys: "deploy/guide/keys.md",
    limits: "deploy/guide/limits.md",
    numbers: "deploy/guide/numbers.md",
    policies: "policies/README.md",
    postgresql: "deploy/guide/postgresql.md",
    readiness: "deploy/guide/readiness.md",
    readme: "README.md",
    redeem: "deploy/guide/redeem.md",
    renewals: "deploy/guide/renewals.md",
    withdrawals: "deploy/guide/withdrawals.md",
}

#[test]
fn every_page_has_a_test() {
    let folder = Path::new(ROOT).join("deploy/guide");
    let mut pages: BTreeSet<String> = std::fs::read_dir(folder)
        .expect("the guide")
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| format!("deploy/guide/{}", name.display()))
        .collect();
    pages.insert("policies/README.md".to_owned());
    pages.insert("README.md".to_owned());
    let tested: BTreeSet<String> = PAGES.iter().map(|&page| page.to_owned()).collect();
    assert_eq!(pages, tested, "pages on the left, tests on the right");
}

#[test]
fn every_action_of_the_audit_trail_is_explained() {
    let page = std::fs::read_to_string(Path::new(ROOT).join("deploy/guide/audit-and-logs.md"));
    let page = page.expect("the page");
    let (_, section) = page.split_once("### Actions\n").expect("the section");
    let (section, _) = section.split_once("\n## ").expect("the next section");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let mut explained: Vec<&str> = rows
        .filter_map(|row| row.split(" | ").next())
        .flat_map(|names| names.split(", "))
        .map(|name| name.trim_matches('`'))
        .collect();
    let mut known = AuditAction::WORDS.to_vec();
    explained.sort_unstable();
    known.sort_unstable();
    assert_eq!(
        explained, known,
        "the page on the left, the code on the right"
    );
}

/// A page is pasted into a terminal in which other pages, or the README, may have started jobs
/// that run on.
#[test]
fn a_page_stops_and_waits_for_what_it_started_itself() {
    for page in PAGES {
        let text = std::fs::read_to_string(Path::new(ROOT).join(page)).expect(page);
        for block in page::blocks(&text) {
            for line in block.commands.lines() {
                assert!(!names_any_job(line), "{page}: `{line}` is about any job");
            }
        }
    }
    for (line, any) in [
        ("kill %1; wait", true),
        ("kill -HUP %1", true),
        ("wait # for all", true),
        ("kill $DEMO; wait $DEMO || true", false),
        ("wait_for_service", false),
    ] {
        assert_eq!(names_any_job(line), any, "{line}");
    }
}

/// Whether a command uses a job number, or waits for all jobs.
fn names_any_job(line: &str) -> bool {
    let words: Vec<&str> = line
        .split([' ', ';'])
        .filter(|word| !word.is_empty())
        .collect();
    let waits_for_all = |pair: &[&str]| pair[0] == "wait" && !pair[1].starts_with(['$', '"']);
    words.iter().any(|word| word.starts_with('%'))
        || words.last() == Some(&"wait")
        || words.windows(2).any(waits_for_all)
}
