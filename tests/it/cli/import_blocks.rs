//! Importing a carrier's blocks by the command, as a user does, on an empty embedded database.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::Logged as _;

pub(super) const EXECUTABLE: &str = env!("CARGO_BIN_EXE_tn-authority");
pub(super) const SAMPLE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/nanp-blocks-sample.csv"
);

/// A folder with a database in it.
pub(super) struct Carrier(pub(super) TempDir);

impl Carrier {
    pub(super) fn new() -> Self {
        let carrier = Self(TempDir::new().expect("a folder"));
        carrier.does(&["migrate"]);
        carrier
    }

    pub(super) fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(EXECUTABLE);
        command
            .current_dir(self.0.path())
            .args(args)
            .logged_output()
    }

    pub(super) fn does(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(
            output.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("text")
    }

    pub(super) fn refuses(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(
            output.status.code(),
            Some(1),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stdout)
        );
        String::from_utf8(output.stderr).expect("text")
    }

    pub(super) fn imports(&self, table: &str, ocn: &str) -> String {
        self.does(&[
            "import",
            table,
            "--format",
            "nanp-blocks",
            "--ocn",
            ocn,
            "--spc",
            ocn,
        ])
    }
}

#[test]
fn the_sample_gives_what_was_counted_by_hand() {
    let carrier = Carrier::new();
    let dry = carrier.does(&[
        "import",
        SAMPLE,
        "--format",
        "nanp-blocks",
        "--ocn",
        "073H",
        "--spc",
        "073H",
        "--dry-run",
    ]);
    assert!(
        dry.contains("9 ranges and 49,000 numbers")
            && dry.contains("would add 9")
            && dry.contains("+ +12122311000 to +12122312999"),
        "{dry}"
    );
    assert!(
        carrier
            .imports(SAMPLE, "073H")
            .contains("added 9, unchanged 0")
    );
    assert!(
        carrier
            .imports(SAMPLE, "073H")
            .contains("added 0, unchanged 9"),
        "a repeat changes nothing"
    );
    carrier.does(&["account", "create", "acme"]);
    for held in [
        "+12122300000",
        "+12122312999",
        "+12122339999",
        "+16462303999+2",
    ] {
        carrier.does(&["delegation", "add", "acme", held]);
    }
    for foreign in [
        "+12122315000",
        "+12122321000",
        "+12122340000",
        "+12122360000",
        "+12122380000",
        "+12122329999+10002",
    ] {
        let why = carrier.refuses(&["delegation", "add", "acme", foreign]);
        assert!(why.contains("does not hold"), "{foreign}: {why}");
    }
    for nobody in ["42", "73H", "369e"] {
        let why = carrier.refuses(&[
            "import",
            SAMPLE,
            "--format",
            "nanp-blocks",
            "--ocn",
            nobody,
            "--spc",
            "1234",
        ]);
        assert!(why.contains("no line of the table has OCN"), "{why}");
    }
}

#[test]
fn a_table_comes_from_standard_input_and_json_goes_out() {
    let carrier = Carrier::new();
    let import = |args: &[&str]| -> Value {
        let mut command = Command::new(EXECUTABLE);
        let table = fs::File::open(SAMPLE).expect("a file");
        let output = command
            .current_dir(carrier.0.path())
            .args([
                "import",
                "-",
                "--format",
                "nanp-blocks",
                "--ocn",
                "073H,0042",
                "--spc",
                "073H",
                "--json",
            ])
            .args(args)
            .stdin(table)
            .logged_output();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).expect("one JSON object")
    };
    let dry = import(&["--dry-run"]);
    assert_eq!(
        (&dry["dry_run"], &dry["counts"]["added"]),
        (&Value::Bool(true), &Value::from(10))
    );
    let done = import(&[]);
    assert_eq!(done["counts"]["added_numbers"], 50_000);
    assert_eq!(done["difference"]["added"][0]["start"], "+12122300000");
    assert_eq!(done["sha256"], dry["sha256"]);
    assert_eq!(import(&[])["counts"]["unchanged"], 10);
}

#[test]
fn what_would_be_refused_is_shown_by_a_dry_run() {
    let carrier = Carrier::new();
    let path = carrier.0.path().join("bad.csv");
    fs::write(&path, "npa,nxx,x,ocn\n201,330,4,073H\n201,330,Q,073H\n").expect("a file");
    let args = [
        "import",
        "bad.csv",
        "--format",
        "nanp-blocks",
        "--ocn",
        "073H",
        "--spc",
        "073H",
        "--dry-run",
    ];
    let output = carrier.run(&args);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stdout).expect("text");
    assert!(
        told.contains("would add 1") && told.contains("! line 3: x must be `A` or a digit"),
        "{told}"
    );
}

/// The whole country, when `TN_AUTHORITY_TEST_BLOCK_TABLE` says where it is; `tests/run` tells when it does not.
#[test]
fn the_whole_country_gives_what_an_independent_count_found() {
    let paths = [
        "TN_AUTHORITY_TEST_BLOCK_TABLE",
        "TN_AUTHORITY_TEST_BLOCK_EXPECTED",
    ]
    .map(std::env::var);
    let [Ok(table), Ok(expected)] = paths else {
        eprintln!(
            "left out: TN_AUTHORITY_TEST_BLOCK_TABLE and TN_AUTHORITY_TEST_BLOCK_EXPECTED are not set"
        );
        return;
    };
    let expected: Value =
        serde_json::from_str(&fs::read_to_string(Path::new(&expected)).expect("a file"))
            .expect("JSON");
    for (ocn, expected) in expected.as_object().expect("an object by OCN") {
        let carrier = Carrier::new();
        let told = carrier.imports(&table, ocn);
        let count = |name: &str| grouped(expected[name].as_u64().expect(name));
        let sum = format!(
            "{} ranges and {} numbers",
            count("strict_merged_ranges"),
            count("strict_total_tns")
        );
        assert!(told.contains(&sum), "{ocn}: {told}");
        let again = carrier.imports(&table, ocn);
        assert!(again.contains("nothing changes"), "{ocn}: {again}");
        carrier.does(&["account", "create", "acme"]);
        for number in expected["allow"].as_array().expect("a list") {
            carrier.does(&[
                "delegation",
                "add",
                "acme",
                &format!("+{}", number.as_str().expect("digits")),
            ]);
        }
        for list in [
            "deny_held_by_other",
            "deny_unlisted_pool_block",
            "deny_just_past_range",
        ] {
            for number in expected[list].as_array().expect(list) {
                let digits = number
                    .as_str()
                    .or_else(|| number[0].as_str())
                    .expect("digits");
                let why = carrier.refuses(&["delegation", "add", "acme", &format!("+{digits}")]);
                assert!(why.contains("does not hold"), "{list} {digits}: {why}");
            }
        }
    }
}

/// As people write it: `10,298,000`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
