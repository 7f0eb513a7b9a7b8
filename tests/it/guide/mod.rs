//! The guide does what it says: each page is run, block by block, in a shell of its own.
//!
//! CONTRIBUTING.md describes how a page is written so that it can be run.

mod expected;
mod page;
mod run;

use std::collections::BTreeSet;
use std::path::Path;

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
    idempotency: "deploy/guide/idempotency.md",
    imports: "deploy/guide/imports.md",
    index: "deploy/guide/README.md",
    interop: "deploy/guide/interop.md",
    keys: "deploy/guide/keys.md",
    limits: "deploy/guide/limits.md",
    numbers: "deploy/guide/numbers.md",
    policies: "policies/README.md",
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
