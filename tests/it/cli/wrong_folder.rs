//! Commands in a folder without a database: only those that begin a service make one, and say so.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::support::Logged as _;

const EXECUTABLE: &str = env!("CARGO_BIN_EXE_tn-authority");

fn run_in(dir: &Path, args: &[&str], url: Option<&str>) -> Output {
    let mut command = Command::new(EXECUTABLE);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TN_AUTHORITY__") {
            command.env_remove(name);
        }
    }
    let url = url.map(|url| ("TN_AUTHORITY__DATABASE__URL", url));
    command
        .current_dir(dir)
        .args(args)
        .envs(url)
        .logged_output()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

fn files(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a folder");
    entries
        .map(|entry| {
            entry
                .expect("a file")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect()
}

#[test]
fn a_command_in_a_wrong_folder_is_refused_and_leaves_nothing_there() {
    let dir = TempDir::new().expect("a folder");
    for args in [
        &["explain", "acme", "+12125551001"][..],
        &["check"],
        &["api-key", "list"],
        &["api-key", "revoke", "AAAAAAAAAAAAAAAA"],
        &["delegation", "add", "acme", "+12125551001"],
        &["exclusion", "add", "+12125551001", "--reason", "ported-out"],
        &["audit", "export"],
        &["backup", "copy.sqlite"],
    ] {
        let output = run_in(dir.path(), args, None);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        let path = dir.path().join("tn-authority.sqlite").display().to_string();
        assert!(said.contains("there is no database"), "{args:?}: {said}");
        assert!(said.contains(&path), "{args:?}: {said}");
        assert_eq!(files(dir.path()), [""; 0], "{args:?}");
    }
}

#[test]
fn a_first_step_makes_a_database_and_says_where() {
    let tables = TempDir::new().expect("a folder");
    let table = tables.path().join("blocks.csv");
    let lines = "npa,nxx,x,ocn,company,category\n212,555,1,073H,Example Carrier,CLEC\n";
    fs::write(&table, lines).expect("a table");
    let table = table.display().to_string();
    let import = [
        "import",
        &table,
        "--format",
        "nanp-blocks",
        "--ocn",
        "073H",
        "--spc",
        "1234",
        "--dry-run",
    ];
    for args in [
        &import[..],
        &["migrate"],
        &["account", "create", "acme"],
        &["api-key", "create", "--role", "admin"],
    ] {
        let dir = TempDir::new().expect("a folder");
        let path = dir.path().join("tn-authority.sqlite").display().to_string();
        let created = format!("created a new database: `{path}`");
        let first = run_in(dir.path(), args, None);
        assert!(first.status.success(), "{}", said(&first));
        let stderr = String::from_utf8_lossy(&first.stderr).into_owned();
        assert!(stderr.contains(&created), "{stderr}");
        let again = run_in(dir.path(), args, None);
        assert!(again.status.success() && !said(&again).contains("created a new database"));
    }
}

#[test]
fn a_url_that_leads_elsewhere_is_refused_before_anything_is_made() {
    let dir = TempDir::new().expect("a folder");
    fs::create_dir(dir.path().join("folder")).expect("a folder");
    for (url, why) in [
        ("sqlite://data.sqlite", "is ambiguous"),
        ("sqlite:file:data.sqlite?mode=rwc", "without `file:`"),
        ("sqlite:data.sqlite?cache=shared", "parameters"),
        ("sqlite::memory:", "in memory"),
        ("sqlite:my%20data.sqlite", "percent-encoded"),
        ("sqlite:folder", "is not a file"),
        ("sqlite:/dev/null", "is not a file"),
        ("sqlite:nowhere/data.sqlite", "the folder of"),
        ("file:data.sqlite", "has another scheme"),
        ("postgres:carrier@localhost/data", "lacks `//`"),
    ] {
        let output = run_in(dir.path(), &["migrate"], Some(url));
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{url}: {said}");
        assert!(said.contains(why), "{url}: {said}");
        assert_eq!(files(dir.path()), ["folder"], "{url}");
    }
    for url in ["sqlite:./data.sqlite", "SQLITE:data.sqlite"] {
        let output = run_in(dir.path(), &["migrate"], Some(url));
        assert!(output.status.success(), "{url}: {}", said(&output));
        assert!(dir.path().join("data.sqlite").exists());
    }
    let absolute = dir.path().join("other.sqlite");
    let url = format!("sqlite://{}", absolute.display());
    assert!(
        run_in(dir.path(), &["migrate"], Some(&url))
            .status
            .success()
    );
    assert!(absolute.exists());
}
