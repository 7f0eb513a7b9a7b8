//! `backup`: a copy of an SQLite database.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use clap::Args as Arguments;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use tn_authority::app;
use tn_authority::config::Config;
use tn_authority::store::Backup;

use super::output::say;
use super::{Exit, Outcome, counted};

/// How often the progress is drawn.
const DRAW_INTERVAL: Duration = Duration::from_millis(100);

/// Copy the SQLite database to a file, also while the service runs.
///
/// A plain copy of the database file would lack the newest grants, which are still in the file
/// `-wal` beside it. This copy is one moment of the database, complete, checked and safe on disk
/// before it gets its name. The API key secret is not in it: back that up as well.
///
/// To restore, stop the service, delete the files `-wal` and `-shm` of the database, and put the
/// copy in its place. Tokens released since the backup are then missing from the ledger, and what
/// was ported out since is not known. PostgreSQL has a tool of its own: `pg_dump`.
#[derive(Debug, Arguments)]
#[command(after_help = "\
Examples:
  tn-authority backup /var/backups/tn-authority/2026-11-27.sqlite
  tn-authority backup latest.sqlite --replace")]
pub struct Args {
    /// The file to write. It must not exist, and its folder must.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Replace the file if it exists. If the backup fails, the old file is kept.
    #[arg(long)]
    replace: bool,
}

pub fn run(args: &Args, config: &Config) -> Outcome {
    let backup = Backup::prepare(&app::database_url(config)?, &args.file, args.replace)?;
    let bar = progress(backup.expected_bytes);
    let partial = backup.partial();
    let running = thread::spawn(move || backup.run());
    while !running.is_finished() {
        bar.set_position(fs::metadata(&partial).map_or(0, |partial| partial.len()));
        thread::sleep(DRAW_INTERVAL);
    }
    bar.finish_and_clear();
    let report = running.join().map_err(|_| "the backup panicked")??;

    say!(
        "`{}`: {}, intact",
        args.file.display(),
        HumanBytes(report.bytes)
    );
    let rows: Vec<String> = report
        .rows
        .iter()
        .map(|(table, rows)| format!("{} {}", table.replace('_', " "), counted(*rows)))
        .collect();
    say!("rows: {}", rows.join(", "));
    if let Some(secret) = app::generated_secret(config)? {
        say!("not in it: the API key secret `{}`", secret.display());
    }
    Ok(Exit::SUCCESS)
}

/// A progress bar on standard error, if that is a terminal.
fn progress(bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("copying {bar:40} {bytes} of about {total_bytes}");
    ProgressBar::new(bytes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
