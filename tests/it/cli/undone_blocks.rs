//! Undoing an import by the command, as an operator does who has imported a table that lacks a line.

use std::fs;

use serde_json::Value;

use super::import_blocks::Carrier;

const WHOLE: &str = "npa,nxx,x,ocn\n201,330,4,073H\n201,330,5,073H\n";
const CUT: &str = "npa,nxx,x,ocn\n201,330,4,073H\n201,330,5,9999\n";

/// Imports a table, and returns the id of the job that the command prints.
fn import(carrier: &Carrier, table: &str) -> String {
    fs::write(carrier.0.path().join("blocks.csv"), table).expect("a file");
    let args = [
        "import",
        "blocks.csv",
        "--format",
        "nanp-blocks",
        "--ocn",
        "073H",
        "--spc",
        "073H",
    ];
    let told = carrier.does(&[&args[..], &["--confirm"]].concat());
    let job = told.lines().find_map(|line| line.strip_prefix("job "));
    job.unwrap_or_else(|| panic!("no job: {told}")).to_owned()
}

/// What becomes of a number of the lacking line. The command has no certificate to issue with, so it never succeeds.
fn explained(carrier: &Carrier) -> String {
    let output = carrier.run(&["explain", "acme", "+12013305000"]);
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn a_table_that_lacks_a_line_is_undone() {
    let carrier = Carrier::new();
    import(&carrier, WHOLE);
    carrier.does(&["account", "create", "acme"]);
    carrier.does(&["delegation", "add", "acme", "+12013305000+10"]);
    let job = import(&carrier, CUT);
    let undo = [
        "import",
        "--undo",
        &job,
        "--reason",
        "the table lacked a line",
    ];
    let would = carrier.does(&[&undo[..], &["--dry-run"]].concat());
    assert!(
        would.contains("+ +12013304000 to +12013305999\n- +12013304000 to +12013304999\nwould restore 1, would remove 1, ended otherwise since 0")
            && would.contains("delegations that would count again: 1"),
        "{would}"
    );
    assert!(explained(&carrier).contains("(1 number): not-allocated"));
    let undone = carrier.does(&undo);
    assert!(
        undone.contains("restored 1, removed 1")
            && undone.contains("delegations that count again: 1"),
        "{undone}"
    );
    assert!(explained(&carrier).contains("(1 number): yes"));
    let twice = carrier.refuses(&undo);
    assert!(twice.contains("was undone or cancelled already"), "{twice}");
    let first = carrier.does(&["audit", "export"]);
    let events: Vec<Value> = first
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let undone = |event: &&Value| event["action"] == "undo-import" && event["outcome"] == "done";
    let event = events.iter().find(undone).expect("an event");
    assert_eq!(event["subject"], job.as_str());
    assert_eq!(event["detail"]["reason"], "the table lacked a line");
}

#[test]
fn an_import_is_undone_by_its_job_and_with_a_reason_only() {
    let carrier = Carrier::new();
    let job = import(&carrier, WHOLE);
    let json = carrier.does(&[
        "import",
        "--undo",
        &job,
        "--reason",
        "x",
        "--dry-run",
        "--json",
    ]);
    let would: Value = serde_json::from_str(&json).expect("one JSON object");
    assert_eq!(
        (&would["job"], &would["dry_run"]),
        (&Value::from(job.as_str()), &Value::Bool(true))
    );
    assert_eq!(would["counts"]["removed_numbers"], 2_000);
    for wrong in [
        &["import", "--undo", &job][..],
        &["import", "--undo", &job, "--reason", " "],
        &["import", "--undo", &job, "--reason", "x", "--confirm"],
        &["import", "blocks.csv", "--undo", &job, "--reason", "x"],
        &[
            "import",
            "blocks.csv",
            "--format",
            "nanp-blocks",
            "--reason",
            "x",
        ],
        &["import", "blocks.csv"],
        &["import"],
    ] {
        assert_eq!(carrier.run(wrong).status.code(), Some(2), "{wrong:?}");
    }
    let unknown = "00000000-0000-0000-0000-000000000001";
    let why = carrier.refuses(&["import", "--undo", unknown, "--reason", "x"]);
    assert!(why.contains("there is no job with this id"), "{why}");
}
