//! What `--help` says is all that there is.

use std::process::Command;

use tn_authority::domain::Role;
use tn_authority::domain::inventory::Reason;
use tn_authority::tables::Format;

use super::import_blocks::EXECUTABLE;
use crate::support::Logged as _;

fn run(args: &[&str]) -> (bool, String) {
    let ran = Command::new(EXECUTABLE).args(args).logged_output();
    let text = [ran.stdout, ran.stderr].concat();
    let text = String::from_utf8(text).expect("text");
    // Lines are broken anywhere.
    let words: Vec<&str> = text.split_whitespace().collect();
    (ran.status.success(), words.join(" "))
}

#[test]
fn a_help_names_every_value() {
    for (args, words) in [
        (&["exclusion", "add", "--help"][..], &Reason::WORDS[..]),
        (&["api-key", "create", "--help"], &Role::WORDS),
        (&["import", "--help"], &Format::WORDS),
    ] {
        let (_, help) = run(args);
        for word in words {
            assert!(help.contains(word), "{args:?} lacks `{word}`: {help}");
        }
    }
    let (_, help) = run(&["exclusion", "--help"]);
    for reason in Reason::WORDS {
        let words = reason.replace('-', " ");
        assert!(help.contains(&words), "`{words}` is missing: {help}");
    }
}

#[test]
fn the_two_uses_of_import_are_told_apart() {
    let (_, help) = run(&["import", "--help"]);
    assert!(
        help.contains("tn-authority import [OPTIONS] --format <FORMAT> <FILE>")
            && help.contains("--undo <JOB> --reason <TEXT>")
            && !help.contains("[OPTIONS] [FILE]"),
        "{help}"
    );
    // As the import prints it: `job 01a2..`.
    for args in [
        &["import", "--undo", "job", "--reason", "x"][..],
        &[
            "import",
            "--undo",
            "job 01a21c4d-28a1-7c53-b3c1-5d2f9be0a1c7",
            "--reason",
            "x",
        ],
    ] {
        let (done, error) = run(args);
        assert!(
            !done
                && error.contains("a job is named by its id, which the import printed after `job`"),
            "{error}"
        );
    }
}
