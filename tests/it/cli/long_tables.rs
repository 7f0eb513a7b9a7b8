//! A table of delegations of any length is imported in bounded memory.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::import_blocks::{Carrier, EXECUTABLE};
use crate::support::Logged as _;

/// How many lines the table has; by default as many as a debug build imports in seconds.
const LINES: &str = "TN_AUTHORITY_TEST_IMPORT_LINES";
/// How much more memory a long table may take than a short one, in kB.
const MAX_MEMORY: u64 = 100_000;

/// Writes lines of one number each: every other number of the plan, so that no two adjoin.
fn write(path: &Path, lines: u64) {
    let mut out = BufWriter::new(File::create(path).expect("a file"));
    writeln!(out, "start,count,account,reference").expect("a header");
    for n in 0..lines {
        // Neighbouring lines are of far numbers: the table is not sorted.
        let n = n % 100 * lines.div_ceil(100) + n / 100;
        let number = 2_120_000_000 + 2 * n;
        writeln!(out, "+1{number},1,acme,order {n}").expect("a line");
    }
}

/// Imports a table, and returns the most memory that it took, in kB.
fn memory_of_import(carrier: &Carrier, table: &str) -> u64 {
    let mut command = Command::new(EXECUTABLE);
    command.current_dir(carrier.0.path());
    let command = command.args(["import", table, "--format", "delegations"]);
    let mut import = command
        .stdout(Stdio::null())
        .logging()
        .spawn()
        .expect("the command");
    let status = format!("/proc/{}/status", import.id());
    let mut most = 0;
    loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|kb| kb.trim_end_matches("kB").trim().parse().ok());
        most = most.max(peak.unwrap_or(0));
        if let Some(ended) = import.try_wait().expect("a state") {
            assert!(ended.success());
            return most;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_long_table_needs_little_more_memory_than_a_short_one() {
    let lines = std::env::var(LINES).ok();
    let lines: u64 = lines.map_or(60_000, |lines| lines.parse().expect("a number"));
    let carrier = Carrier::new();
    let block = "start,count,spc,basis\n+12120000000,50000000,1234,block\n";
    fs::write(carrier.0.path().join("block.csv"), block).expect("a file");
    carrier.does(&["import", "block.csv", "--format", "allocations"]);
    carrier.does(&["account", "create", "acme"]);
    write(&carrier.0.path().join("short.csv"), 1);
    write(&carrier.0.path().join("long.csv"), lines);
    let short = memory_of_import(&carrier, "short.csv");
    let started = Instant::now();
    let long = memory_of_import(&carrier, "long.csv");
    let seconds = started.elapsed().as_secs_f64();
    println!("{lines} lines: {seconds:.1} s, {long} kB; a short table: {short} kB");
    assert!(long < short + MAX_MEMORY, "{long} kB, {short} kB");
    let again = carrier.does(&["import", "long.csv", "--format", "delegations"]);
    assert!(again.contains("nothing changes"), "{again}");
}
