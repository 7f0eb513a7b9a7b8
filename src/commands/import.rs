//! `import`: what the carrier holds, out of a table.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args as Arguments, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use tn_authority::app;
use tn_authority::authority::import::nanp_blocks;
use tn_authority::config::Config;
use tn_authority::domain::{Clock, Spc};

use super::{Outcome, at_the_command_line, counted, numbers};

/// Import what the carrier holds out of a table: all of it or nothing. Can be repeated.
#[derive(Debug, Arguments)]
pub struct Args {
    /// The table, as text.
    file: PathBuf,
    #[arg(long)]
    format: Format,
    /// The OCNs whose blocks are the carrier's, as the table writes them.
    #[arg(long = "ocn", required = true, num_args = 1.., value_delimiter = ',')]
    ocns: Vec<String>,
    /// The service provider code that holds them.
    #[arg(long)]
    spc: Spc,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// npa,nxx,x,ocn,company,category: a line a code (x is `A`) or thousands-block (x is its digit).
    NanpBlocks,
}

pub fn run(args: Args, config: &Config) -> Outcome {
    let ocns: BTreeSet<String> = args.ocns.into_iter().collect();
    let table = match args.format {
        Format::NanpBlocks => {
            let named = |error| format!("`{}` cannot be read: {error}", args.file.display());
            let file = File::open(&args.file).map_err(named)?;
            let progress = progress(file.metadata().map_err(named)?.len());
            let table = nanp_blocks::read(BufReader::new(progress.wrap_read(file)), &ocns)?;
            progress.finish_and_clear();
            table
        }
    };
    println!(
        "read {} lines, {} of them of {}",
        counted(table.lines as u64),
        counted(table.own as u64),
        ocns.iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", ")
    );
    println!(
        "passed over: {} lines without an OCN, {} for several carriers, {} own codes with thousands-blocks in them",
        counted(table.without_ocn as u64),
        counted(table.several as u64),
        counted(table.pooled_codes as u64)
    );
    println!(
        "{} ranges and {}",
        counted(table.holdings.len() as u64),
        numbers(table.numbers())
    );

    let service = app::open(config, &Clock::system())?;
    let caller = at_the_command_line();
    let import = service
        .authority
        .import(&caller, args.spc, table.holdings, args.dry_run);
    let done = app::block_on(import)?;
    let verb = if args.dry_run { "would add" } else { "added" };
    println!(
        "{verb} {}, unchanged {}",
        counted(done.added as u64),
        counted(done.unchanged as u64)
    );
    Ok(ExitCode::SUCCESS)
}

/// A bar on standard error, where that is a terminal.
fn progress(bytes: u64) -> ProgressBar {
    let style =
        ProgressStyle::with_template("reading {bar:40} {bytes} of {total_bytes}, {eta} left");
    ProgressBar::new(bytes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
