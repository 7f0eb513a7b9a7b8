//! `audit export`: the trail as lines, in a file that is there only when it is whole.

use std::fs;

use serde_json::Value;

use crate::crash::kill::Carrier;
use crate::support::{Db, Logged as _};

both!(the_trail_is_exported_in_lines);

fn the_trail_is_exported_in_lines(db: Db) {
    let carrier = Carrier::over(&db);
    let export = |args: &[&str]| {
        let output = carrier
            .command(&[&["audit", "export"], args].concat())
            .logged_output();
        (
            output.status.success(),
            String::from_utf8(output.stdout).expect("UTF-8"),
            String::from_utf8(output.stderr).expect("UTF-8"),
        )
    };
    let (done, lines, told) = export(&[]);
    assert!(done && told.is_empty(), "{told}");
    let mut verbs: Vec<String> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .map(|event| event["action"].as_str().expect("a verb").to_owned())
        .collect();
    // Each command is a process: within one second their ids are in no order.
    verbs.sort_unstable();
    assert_eq!(
        verbs,
        ["allocate", "create-api-key", "delegate", "put-account"]
    );
    assert!(lines.ends_with('\n') && !lines.contains(&carrier.api_key));

    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("events.jsonl");
    let path = file.to_str().expect("UTF-8");
    let (done, shown, told) = export(&["--out", path]);
    assert!(
        done && shown.is_empty() && told.contains("4 events"),
        "{told}"
    );
    assert_eq!(fs::read_to_string(&file).expect("the file"), lines);
    // Once more in its place, and nothing else stays in the folder.
    let (done, _, told) = export(&["--account", "acme", "--out", path]);
    assert!(done && told.contains("3 events"), "{told}");
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);

    let (done, lines, _) = export(&["--until", "2020-01-01T00:00:00Z"]);
    assert!(done && lines.is_empty());
    for wrong in [
        ["--from", "yesterday"],
        ["--until", "2026-01-01T00:00:00.5Z"],
        ["--account", "a/b"],
        ["--out", "/nowhere/at/all/events.jsonl"],
    ] {
        let (done, lines, told) = export(&wrong);
        assert!(!done && lines.is_empty() && !told.is_empty(), "{wrong:?}");
    }
    let missing = folder.path().join("missing");
    let (done, ..) = export(&[
        "--from",
        "2020-01-01T00:00:00Z",
        "--out",
        missing.to_str().expect("UTF-8"),
    ]);
    assert!(done && missing.exists());
}
