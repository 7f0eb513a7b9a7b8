//! A long table whose import is killed at any time counts as a whole or not at all, and what it has left is deleted.

use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use tn_authority::store::{Page, Tx};

use crate::authority::long_imports::unfinished;
use crate::support::{Db, Logged as _, Setup, World, wait};

/// More than what is imported in one transaction.
const LINES: u64 = 12_000;

both!(a_long_import_that_is_killed_never_counts_in_part);

fn a_long_import_that_is_killed_never_counts_in_part(db: Db) {
    let dir = TempDir::new().expect("a folder");
    let table = dir.path().join("orders.csv");
    let mut text = "start,count,account\n".to_owned();
    for n in 0..LINES {
        writeln!(text, "+1212{},1,acme", 5_000_000 + 2 * n).expect("a line");
    }
    fs::write(&table, text).expect("a file");
    let world = World::over(std::sync::Arc::new(db), Setup::default());
    world.carrier_holds("1.212.5XXXXXX");
    world.knows("acme");
    let import = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tn-authority"));
        command
            .args(["import", "--format", "delegations"])
            .arg(&table)
            .env("TN_AUTHORITY__DATABASE__URL", world.db.text_url())
            .env("TN_AUTHORITY__API_KEYS__SECRET", "5e".repeat(32))
            .stdout(Stdio::null())
            .logging();
        command.spawn().expect("the command")
    };
    let listed = || {
        let (mut count, mut after) = (0, None);
        loop {
            let page = Page::new(1_000, after);
            let read = |tx: &mut Tx<'_>| tx.list_delegations(&page);
            let found = world.authority.store().read(read).expect("a page");
            count += found.items.len() as u64;
            after = found.next;
            if after.is_none() {
                return count;
            }
        }
    };
    let mut left = 0;
    let first = Duration::from_millis(100);
    for delay in std::iter::successors(Some(first), |delay| Some(*delay * 4 / 3)) {
        assert!(delay < Duration::from_secs(120), "the import never ends");
        let mut running = import();
        thread::sleep(delay);
        running.kill().expect("SIGKILL");
        running.wait().expect("the end of the command");
        let found = listed();
        assert!([0, LINES].contains(&found), "{found} lines count");
        if found == LINES {
            break;
        }
        left += unfinished(&world).len();
        // Its heartbeat stopped long ago.
        world
            .db
            .execute("UPDATE staged_imports SET heartbeat_at = 0 WHERE heartbeat_at > 0");
    }
    assert!(left > 0, "none was killed while it wrote");
    wait(world.authority.discard_failed_imports(Duration::MAX)).expect("discarded");
    assert_eq!(unfinished(&world), []);
}
