//! `tests/bench/run` measures a service, on both databases. What it measures of this build is of no use.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Kind, Logged as _, Signal, send_signal};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const EXECUTABLE: &str = env!("CARGO_BIN_EXE_tn-authority");
/// The status with which it ends where wrk or PostgreSQL cannot be fetched.
const NOT_AVAILABLE: i32 = 4;

both!(a_quick_run_measures_the_service);

fn a_quick_run_measures_the_service(kind: Kind) {
    let place = place();
    let json = place.path().join("figures.json");
    let mut command = benchmark(kind, place.path());
    let output = command.arg("--json").arg(&json).logged_output();
    if is_left_out(&output) {
        return;
    }
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);

    let figures: Value = serde_json::from_slice(&fs::read(&json).expect("figures")).expect("JSON");
    let [result] = figures["results"].as_array().expect("results").as_slice() else {
        panic!("one result: {figures}");
    };
    assert_eq!(result["database"], database(kind));
    assert_eq!(result["faults"], Value::Array(Vec::new()));
    assert!(result["ceiling"].is_null(), "it was left out: {result}");
    let figure = |name: &str| result["service"][name]["median"].as_f64().expect(name);
    let (answered, recorded) = (figure("answered"), figure("recorded"));
    assert!(answered > 0.0 && answered <= recorded && recorded <= answered + 64.0);
    assert!((figure("errors") - 0.0).abs() < f64::EPSILON);
    assert!(figure("p50") > 0.0 && figure("p50") <= figure("p99"));
    // A token is a grant, the key of its account, and their indexes.
    assert!((300.0..4_000.0).contains(&figure("bytes")), "{result}");
    assert!(
        (1.0..=64.0).contains(&figure("rows_per_commit")),
        "{result}"
    );
    assert!(figure("cpu") > 0.0 && figure("memory") > f64::from(1 << 20));
    fs::remove_file(&json).expect("its file");
    leaves_nothing(place.path());
}

#[test]
fn a_run_that_is_stopped_leaves_nothing() {
    let place = place();
    let mut run = benchmark(Kind::Postgres, place.path())
        .args(["--seconds", "60"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the benchmark");
    let is_filled = || {
        let folders = fs::read_dir(place.path()).expect("a folder");
        let mut folders = folders.map(|entry| entry.expect("an entry").path());
        folders.any(|folder| folder.join("postgres/data/postmaster.pid").exists())
    };
    let started = Instant::now();
    while run.try_wait().expect("its state").is_none() && !is_filled() {
        assert!(started.elapsed() < Duration::from_secs(60), "no database");
        thread::sleep(Duration::from_millis(50));
    }
    if run.try_wait().expect("its state").is_none() {
        send_signal(&run, Signal::TERM);
    }
    let output = run.wait_with_output().expect("its end");
    if is_left_out(&output) {
        return;
    }
    let status = output.status;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(status.code().or(status.signal()), Some(143), "{said}");
    leaves_nothing(place.path());
}

fn benchmark(kind: Kind, place: &Path) -> Command {
    let target = Path::new(EXECUTABLE).ancestors().nth(2).expect("target");
    let mut command = Command::new(format!("{ROOT}/tests/bench/run"));
    command
        .args([
            "--quick",
            "--no-limits",
            "--no-ceiling",
            "--bin",
            EXECUTABLE,
        ])
        .args(["--database", database(kind)])
        .env("CARGO_TARGET_DIR", target)
        .env("TMPDIR", place);
    command
}

fn database(kind: Kind) -> &'static str {
    match kind {
        Kind::Sqlite => "sqlite",
        Kind::Postgres => "postgres",
    }
}

/// A folder for all that a run makes, which the user of PostgreSQL can enter.
fn place() -> TempDir {
    let place = TempDir::new_in("/tmp").expect("a folder");
    fs::set_permissions(place.path(), Permissions::from_mode(0o755)).expect("permissions");
    place
}

fn is_left_out(output: &Output) -> bool {
    let left_out = output.status.code() == Some(NOT_AVAILABLE);
    if left_out {
        let why = String::from_utf8_lossy(&output.stderr);
        eprintln!("left out: the benchmark, since its programs are not available: {why}");
    }
    left_out
}

fn leaves_nothing(place: &Path) {
    let left: Vec<_> = fs::read_dir(place).expect("a folder").collect();
    assert!(left.is_empty(), "{left:?}");
    // What it had started had its folder in the command line.
    for process in fs::read_dir("/proc").expect("processes") {
        let line = process.expect("a process").path().join("cmdline");
        let line = fs::read(line).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        assert!(!line.contains(&*place.to_string_lossy()), "{line}");
    }
}
