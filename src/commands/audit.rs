//! `audit`: exports the record of what was done and what was refused.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use clap::Subcommand;
use indicatif::ProgressBar;
use tn_authority::api::audit_line;
use tn_authority::app;
use tn_authority::authority::{EventFilter, Page};
use tn_authority::config::Config;
use tn_authority::domain::clock::{TimeError, parse_time};
use tn_authority::domain::{AccountId, Clock, Time};

use super::{Exit, Outcome, command_line_caller, counted};

/// Export the audit trail.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write audit events as JSON lines, oldest first.
    #[command(after_help = "\
Example:
  tn-authority audit export --from 2027-01-01T00:00:00Z --account acme --out january.jsonl")]
    Export {
        /// Only events at or after this time (RFC 3339). Default: from the first.
        #[arg(long, value_name = "TIME", value_parser = time)]
        from: Option<Time>,
        /// Only events before this time (RFC 3339). Default: now.
        #[arg(long, value_name = "TIME", value_parser = time)]
        until: Option<Time>,
        /// Only events about this account.
        #[arg(long, value_name = "ID")]
        account: Option<AccountId>,
        /// Write to this file, which appears only when it is complete. Default: standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

pub fn run(command: Command, config: &Config) -> Outcome {
    let Command::Export {
        from,
        until,
        account,
        out,
    } = command;
    let clock = Clock::system();
    let filter = EventFilter {
        account,
        from,
        // With an end, so that the export finishes even if events are added all the time.
        until: Some(until.unwrap_or(clock.now() + TimeDelta::seconds(1))),
        ..EventFilter::default()
    };
    let service = app::open(config, &clock)?;
    match out {
        None => {
            let mut out = BufWriter::new(std::io::stdout().lock());
            export(&service.authority, &filter, &mut out)?;
            out.flush()?;
        }
        Some(path) => {
            let unwritable =
                |error: std::io::Error| format!("`{}` cannot be written: {error}", path.display());
            let folder = path.parent().filter(|folder| *folder != Path::new(""));
            let file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))
                .map_err(unwritable)?;
            let mut out = BufWriter::new(file);
            let events = export(&service.authority, &filter, &mut out)?;
            let file = out.into_inner().map_err(|e| unwritable(e.into_error()))?;
            file.as_file().sync_all().map_err(unwritable)?;
            file.persist(&path).map_err(|e| unwritable(e.error))?;
            // The rename survives a power failure only if the folder is synced too.
            let folder = File::open(folder.unwrap_or(Path::new("."))).map_err(unwritable)?;
            folder.sync_all().map_err(unwritable)?;
            eprintln!("{} events", counted(events));
        }
    }
    Ok(Exit::SUCCESS)
}

/// Writes page by page, so that the trail need not fit into memory. Returns the number of events.
fn export(
    authority: &tn_authority::authority::Authority,
    filter: &EventFilter,
    out: &mut impl Write,
) -> Result<u64, Box<dyn std::error::Error>> {
    let (caller, bar) = (command_line_caller(), ProgressBar::new_spinner());
    let (mut after, mut events) = (None, 0_u64);
    loop {
        let page = Page::new(Page::MAX_LIMIT, after);
        let found = authority.audit_events(&caller, filter.clone(), &page)?;
        for event in found.items {
            out.write_all(audit_line(event).as_bytes())?;
            events += 1;
        }
        bar.set_message(format!("{} events", counted(events)));
        bar.tick();
        after = found.next;
        if after.is_none() {
            bar.finish_and_clear();
            return Ok(events);
        }
    }
}

fn time(text: &str) -> Result<Time, TimeError> {
    parse_time(text)
}
