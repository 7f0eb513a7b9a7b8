//! Variables that look like settings: none is ignored without a word.

use std::process::{Command, Output};

use tempfile::TempDir;

use super::import_blocks::EXECUTABLE;
use crate::support::Logged as _;

fn run(dir: &TempDir, args: &[&str], variable: (&str, &str)) -> Output {
    Command::new(EXECUTABLE)
        .args(args)
        .current_dir(dir.path())
        .env("RUST_LOG", "warn")
        .env(variable.0, variable.1)
        .logged_output()
}

#[test]
fn a_setting_with_an_underscore_too_few_is_refused_by_every_command() {
    let dir = TempDir::new().expect("a folder");
    let variable = ("TN_AUTHORITY_LIMITS__ACCOUNT_RATE", "5");
    for args in [
        &["check"][..],
        &["serve"],
        &["migrate"],
        &["account", "create", "acme"],
    ] {
        let ran = run(&dir, args, variable);
        let error = String::from_utf8_lossy(&ran.stderr);
        assert!(
            !ran.status.success()
                && error.contains("`TN_AUTHORITY_LIMITS__ACCOUNT_RATE` would be ignored")
                && error.contains("`TN_AUTHORITY__LIMITS__ACCOUNT_RATE`"),
            "{args:?}: {error}"
        );
    }
    assert!(!dir.path().join("tn-authority.sqlite").exists());
}

#[test]
fn another_database_is_not_used_because_of_an_underscore() {
    let dir = TempDir::new().expect("a folder");
    let variable = ("TN_AUTHORITY_DATABASE_URL", "sqlite:secret.sqlite");
    let ran = run(&dir, &["migrate"], variable);
    let error = String::from_utf8_lossy(&ran.stderr);
    assert!(!ran.status.success());
    assert!(
        error.contains("write `TN_AUTHORITY__DATABASE__URL`"),
        "{error}"
    );
    assert!(!error.contains("secret.sqlite"), "{error}");
}

#[test]
fn a_variable_that_is_none_of_ours_is_warned_of() {
    let dir = TempDir::new().expect("a folder");
    let warned = "the environment variable `TN_AUTHORITY_DATABASES` is ignored";
    let variable = ("TN_AUTHORITY_DATABASES", "sqlite:secret.sqlite");
    let ran = run(&dir, &["check"], variable);
    let out = String::from_utf8_lossy(&ran.stdout);
    assert!(
        out.contains(&format!("warning environment: {warned}")),
        "{out}"
    );
    assert!(!out.contains("secret.sqlite"), "{out}");
    // It does not start, for want of a key.
    let ran = run(&dir, &["serve"], variable);
    let error = String::from_utf8_lossy(&ran.stderr);
    assert!(error.contains(warned), "{error}");
    for name in [
        "TN_AUTHORITY_API_KEY",
        "TN_AUTHORITY_TEST_POSTGRES",
        "TN_AUTHORITY_SERVICE_HOST",
    ] {
        let ran = run(&dir, &["check"], (name, "x"));
        let out = String::from_utf8_lossy(&ran.stdout);
        assert!(!out.contains("warning environment"), "{name}: {out}");
    }
}
