//! `policy check` of policies that ask for control.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::policy_check::{CASE, OWN, POLICIES, check};
use crate::authority::policies::folder;

/// Beside the built-in policies, whose own cases still pass.
#[test]
fn the_example_of_control_is_taken_beside_the_built_in_policies() {
    let dir = TempDir::new().expect("a folder");
    fs::create_dir(dir.path().join("tests")).expect("a folder");
    for folder in ["", "examples"] {
        for (from, to) in [("", ""), ("tests", "tests")] {
            let files = fs::read_dir(Path::new(POLICIES).join(folder).join(from));
            for file in files.expect("a folder").map(|file| file.expect("a file")) {
                let name = file.file_name().into_string().expect("a name");
                let is_policy = [".cedar", ".toml"].iter().any(|end| name.ends_with(end));
                if is_policy && !name.starts_with("office-hours") {
                    fs::copy(file.path(), dir.path().join(to).join(name)).expect("a file");
                }
            }
        }
    }
    let (sound, told) = check(dir.path());
    assert!(sound, "{told}");
    assert!(!told.contains("warning"), "{told}");
    for line in [
        "ok      control.cedar: 5 policies",
        "ok      tests/control.toml: a proof of 24 hours and a second is too old, since ages are rounded up",
    ] {
        assert!(told.lines().any(|l| l == line), "{line}: {told}");
    }
}

#[test]
fn a_case_of_control_that_cannot_be_is_refused() {
    for (rows, why) in [
        (
            "control = { proven = false, age = 60 }",
            "`control.age` goes with `proven = true`",
        ),
        (
            "control = { age = 60, methods = [] }",
            "what is proven has a method",
        ),
        (
            "control = { age = 60, methods = [\"pigeon\"] }",
            "`control.methods`: expected one of sms, voice, sip",
        ),
        ("control = { seen = true }", "unknown field"),
    ] {
        let case = CASE.replace("expect", &format!("{rows}\nexpect"));
        let dir = folder(&[("own.cedar", OWN), ("tests/own.toml", &case)]);
        let (sound, told) = check(dir.path());
        assert!(!sound && told.contains(why), "{rows}: {told}");
    }
    let ask = CASE.replace("\"mint\"", "\"ask\"");
    let ask = ask.replace("expect", "first = true\nexpect");
    let dir = folder(&[("own.cedar", OWN), ("tests/own.toml", &ask)]);
    let (sound, told) = check(dir.path());
    assert!(
        !sound && told.contains("`first` only go with `mint`"),
        "{told}"
    );
}

/// Its refusals name numbers, so it has to be about them; and `ask` is decided before rows are read.
#[test]
fn the_code_of_control_goes_with_a_condition_on_it() {
    for (policy, why) in [
        (
            "@code(\"control-not-proven\") forbid (principal, action == Action::\"mint\", resource) when { context.first };",
            "the code `control-not-proven` goes with a condition on `context.control`",
        ),
        (
            "forbid (principal, action == Action::\"ask\", resource) when { context.control.proven };",
            "attribute `control`",
        ),
        (
            "forbid (principal, action == Action::\"read\", resource) when { context.first };",
            "attribute `first`",
        ),
        (
            "forbid (principal, action == Action::\"mint\", resource) when { context.control.number > 1 };",
            "attribute `control.number`",
        ),
    ] {
        let text = format!("{OWN}@id(\"odd\") {policy}");
        let dir = folder(&[("own.cedar", &text), ("tests/own.toml", CASE)]);
        let (sound, told) = check(dir.path());
        assert!(!sound && told.contains(why), "{policy}: {told}");
    }
}
