//! An import that is killed half-way leaves nothing, and a repeat works. The command is killed later and later, until it is
//! through before.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tn_authority::domain::clock::Clock;
use tn_authority::store::{PostgresSettings, Purpose, Settings, Store};
use tn_authority::telemetry::Metrics;

use crate::support::Db;
use crate::support::Logged as _;

/// Blocks that do not touch, so that each is a range of its own.
const RANGES: u64 = 12_000;
const STEP: Duration = Duration::from_millis(50);

both!(an_import_that_is_killed_leaves_nothing);

fn an_import_that_is_killed_leaves_nothing(db: Db) {
    let dir = TempDir::new().expect("a folder");
    let table = dir.path().join("blocks.csv");
    let lines = (0..RANGES).map(|n| {
        format!(
            "{},{},{},073H,,\n",
            200 + n / 4_000,
            200 + n % 4_000 / 5,
            n % 5 * 2
        )
    });
    let text = format!(
        "npa,nxx,x,ocn,company,category\n{}",
        lines.collect::<String>()
    );
    fs::write(&table, text).expect("a file");
    let settings = Settings {
        url: db.url(),
        purpose: Purpose::Command,
        pool_size: 1,
        migrate: false,
        queue: 1,
        batch: 1,
        postgres: PostgresSettings::default(),
    };
    let store =
        Store::open(&settings, Arc::new(Metrics::new().expect("metrics"))).expect("a store");
    let held = || {
        let spc = "073H".parse().expect("a code");
        store
            .read(|tx| tx.numbers_held(&spc, Clock::system().now()))
            .expect("a sum")
    };
    let command = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tn-authority"));
        command
            .args([
                "import",
                "--format",
                "nanp-blocks",
                "--ocn",
                "073H",
                "--spc",
                "073H",
            ])
            .arg(&table)
            .env("TN_AUTHORITY__DATABASE__URL", db.text_url())
            .env("TN_AUTHORITY__API_KEYS__SECRET", "5e".repeat(32))
            .stdout(Stdio::null())
            .logging();
        command
    };
    let mut kills = 0;
    for delay in (1..).map(|n| STEP * n) {
        assert!(delay < Duration::from_secs(120), "the import never ends");
        let mut import = command().spawn().expect("the command");
        let end = Instant::now() + delay;
        while Instant::now() < end && import.try_wait().expect("a state").is_none() {
            thread::sleep(Duration::from_millis(2));
        }
        if let Some(status) = import.try_wait().expect("a state") {
            assert!(status.success(), "a repeat works");
            break;
        }
        import.kill().expect("SIGKILL");
        import.wait().expect("the end of the command");
        kills += 1;
        let found = held();
        assert!(
            [0, RANGES * 1_000].contains(&found),
            "{found} numbers are left of an import that was killed"
        );
        if found > 0 {
            // It was killed between its commit and its end.
            break;
        }
    }
    assert!(kills > 2, "it was killed {kills} times only");
    assert_eq!(held(), RANGES * 1_000);
    let again = command().stdout(Stdio::piped()).logged_output();
    let told = String::from_utf8(again.stdout).expect("text");
    assert!(told.contains("nothing changes"), "{told}");
}
