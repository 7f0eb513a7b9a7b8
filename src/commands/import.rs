//! `import`: updates the inventory from a table.

use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::io::{BufReader, Read, Write as _};
use std::path::{Path, PathBuf};

use clap::Args as Arguments;
use indicatif::{ProgressBar, ProgressStyle};
use tn_authority::app;
use tn_authority::authority::Mistake;
use tn_authority::authority::import::{ImportOptions, ImportResult, Imported, OutstandingTokens};
use tn_authority::config::Config;
use tn_authority::domain::text::for_people::text_for_people;
use tn_authority::domain::{Clock, NumberRange, Spc};
use tn_authority::tables::{self, Format, Note, ParsedTable, TableContent, TableRequest};
use uuid::Uuid;

use super::output::say;
use super::{Exit, Outcome, command_line_caller, counted, numbers, open_or_create};

/// The largest number of ranges of a kind, of lines and of grants that are printed.
pub(super) const PRINTED: usize = 20;

/// Import numbers from a table: compares it with the database, and applies the difference.
///
/// An import is applied completely or not at all, and is safe to repeat. Numbers that a table of
/// the carrier's holdings covers but no longer lists lose their authority.
#[derive(Debug, Arguments)]
#[command(
    override_usage = "\
tn-authority import [OPTIONS] --format <FORMAT> <FILE>
       tn-authority import [--dry-run] [--json] --undo <JOB> --reason <TEXT>",
    after_help = "\
Examples:
  tn-authority import blocks.txt --format nanp-blocks --ocn 1234,567A --spc 1234 --dry-run
  tn-authority import orders.csv --format delegations
  tn-authority import --undo 01a21c4d-28a1-7c53-b3c1-5d2f9be0a1c7 --reason \"the table lacked a line\""
)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command"
)]
pub struct Args {
    /// The table, a text file; `-` reads standard input.
    #[arg(required_unless_present = "undo", value_name = "FILE")]
    file: Option<PathBuf>,
    /// nanp-blocks, nanpa-thousands, nanpa-codes, arcep-majnum, allocations, delegations or
    /// exclusions.
    #[arg(long, required_unless_present = "undo")]
    format: Option<Format>,
    /// The carrier's OCNs, as the table writes them (repeatable, or separated by commas). Their
    /// numbers are recorded under `--spc`.
    #[arg(long = "ocn", value_name = "OCN", num_args = 1.., value_delimiter = ',')]
    ocns: Vec<String>,
    /// The service provider code that holds the numbers of these OCNs.
    #[arg(long, value_name = "CODE")]
    spc: Option<Spc>,
    /// Print the difference, but change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Apply the difference even if it ends more than `imports.max_ended_share` of the numbers.
    #[arg(long)]
    confirm: bool,
    /// Exclude numbers although the carrier holds none of those of a line (`exclusions` only).
    #[arg(long)]
    force: bool,
    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
    /// Undo an import as a whole, by the id of its job: what it ended is valid as before, and what
    /// it added never was. Withdrawn grants stay withdrawn.
    #[arg(
        long,
        value_name = "JOB",
        requires = "reason",
        conflicts_with_all = ["file", "format", "ocns", "spc", "confirm", "force"],
        value_parser = job_id
    )]
    undo: Option<Uuid>,
    /// Why it is undone, for the audit trail.
    #[arg(
        long,
        value_name = "TEXT",
        requires = "undo",
        conflicts_with_all = ["file", "format"],
        value_parser = reason
    )]
    reason: Option<String>,
}

/// A text that says something.
pub(super) fn reason(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("say why this was a mistake".to_owned());
    }
    text_for_people(text).map_err(|error| error.to_string())
}

/// The id of a job, as an import prints it.
fn job_id(text: &str) -> Result<Uuid, String> {
    text.parse().map_err(|_| {
        "a job is named by its id, which the import printed after `job` and `GET /v1/jobs` lists, such as \
         01a21c4d-28a1-7c53-b3c1-5d2f9be0a1c7"
            .to_owned()
    })
}

pub fn run(args: Args, config: &Config) -> Outcome {
    let (file, format) = match (args.undo, args.reason, args.file, args.format) {
        (Some(job), Some(reason), ..) => {
            let mistake = Mistake { reason };
            return super::import_undo::run(job, mistake, args.dry_run, args.json, config);
        }
        (None, _, Some(file), Some(format)) => (file, format),
        (..) => {
            return Err("name a table and its `--format`, or `--undo JOB --reason TEXT`".into());
        }
    };
    let request = TableRequest {
        format,
        ocns: args.ocns.into_iter().collect::<BTreeSet<_>>(),
        spc: args.spc,
    };
    let options = ImportOptions {
        dry_run: args.dry_run,
        confirm: args.confirm,
        force: args.force,
        max_ended_ppm: config.imports.max_ended_share.ppm(),
    };
    request.check()?;
    options.check(request.format)?;
    let clock = Clock::system();
    let parsed = read(&file, &request, &clock)?;
    let noted = parsed.summary.notes.len();
    if !args.json {
        print_table(&parsed, &request)?;
    }
    let service = open_or_create(config)?;
    let caller = command_line_caller();
    let import = service.authority.import(&caller, parsed, options, None);
    let imported = app::block_on(import)?;
    if args.json {
        let result = serde_json::to_string(&ImportResult::from(&imported))?;
        writeln!(std::io::stdout(), "{result}")?;
    } else {
        // Those of the table itself are printed already; the others come from the database.
        print_notes(imported.summary.notes.get(noted..).unwrap_or_default())?;
        print_difference(&imported)?;
    }
    if imported.summary.refused.count > 0 {
        return Err(
            "an import of this table would be refused, because it has refused lines".into(),
        );
    }
    Ok(Exit::SUCCESS)
}

/// Reads the table, and refuses it if the file changes meanwhile: the result would be a mix of two
/// versions.
fn read(
    path: &Path,
    request: &TableRequest,
    clock: &Clock,
) -> Result<ParsedTable, Box<dyn std::error::Error>> {
    if path.as_os_str() == "-" {
        return read_from(
            std::io::stdin().lock(),
            request,
            clock,
            &ProgressBar::hidden(),
        );
    }
    let named = |error| format!("`{}` cannot be read: {error}", path.display());
    let file = File::open(path).map_err(named)?;
    let before = file.metadata().map_err(named)?;
    let bar = progress(before.len());
    let parsed = read_from(BufReader::new(&file), request, clock, &bar);
    bar.finish_and_clear();
    let parsed = parsed?;
    let after = std::fs::metadata(path).map_err(named)?;
    if changed(&before, &after) || changed(&before, &file.metadata().map_err(named)?) {
        return Err(format!(
            "`{}` was changed while it was read, so nothing was imported; retry when the file is complete",
            path.display()
        )
        .into());
    }
    Ok(parsed)
}

fn read_from(
    table: impl Read,
    request: &TableRequest,
    clock: &Clock,
    bar: &ProgressBar,
) -> Result<ParsedTable, Box<dyn std::error::Error>> {
    let parsed = tables::read(table, request, clock.now(), &mut |progress| {
        bar.set_position(progress.bytes);
        true
    });
    Ok(parsed?)
}

fn changed(before: &Metadata, after: &Metadata) -> bool {
    let times = before.modified().ok().zip(after.modified().ok());
    before.len() != after.len() || times.is_some_and(|(before, after)| before != after)
}

fn print_table(parsed: &ParsedTable, request: &TableRequest) -> std::io::Result<()> {
    let told = &parsed.summary;
    let ocns: Vec<&str> = request.ocns.iter().map(String::as_str).collect();
    if ocns.is_empty() {
        say!("read {} lines", counted(told.lines));
    } else {
        say!(
            "read {} lines, {} of them of {}",
            counted(told.lines),
            counted(told.own),
            ocns.join(", ")
        );
    }
    print_notes(&told.notes)?;
    if !told.unknown_columns.is_empty() {
        say!("unknown columns: {}", told.unknown_columns.join(", "));
    }
    let (ranges, count) = match &parsed.content {
        TableContent::Holdings { table, .. } => (table.held.len(), table.numbers()),
        TableContent::Allocations(rows) => (rows.len(), sum(rows.iter().map(|row| row.numbers))),
        TableContent::Delegations(rows) => (rows.len(), sum(rows.iter().map(|row| row.numbers))),
        TableContent::ManyDelegations(rows) => {
            let lines = usize::try_from(rows.lines()).unwrap_or(usize::MAX);
            (lines, rows.numbers())
        }
        TableContent::Exclusions(rows) => (rows.len(), sum(rows.iter().map(|row| row.numbers))),
    };
    let noun = if ranges == 1 { "range" } else { "ranges" };
    say!("{} {noun} and {}", counted(ranges as u64), numbers(count));
    Ok(())
}

fn sum(ranges: impl Iterator<Item = NumberRange>) -> u64 {
    ranges.map(NumberRange::count).sum()
}

fn print_notes(notes: &[Note]) -> std::io::Result<()> {
    for note in notes {
        let lines: Vec<String> = note
            .lines
            .iter()
            .take(PRINTED)
            .map(u64::to_string)
            .collect();
        let more = note.count.saturating_sub(lines.len() as u64);
        let lines = match (lines.is_empty(), more) {
            (true, _) => String::new(),
            (false, 0) => format!(" (line {})", lines.join(", ")),
            (false, more) => format!(" (line {} and {} more)", lines.join(", "), counted(more)),
        };
        say!("note: {} {}{lines}", counted(note.count), note.what);
    }
    Ok(())
}

fn print_difference(imported: &Imported) -> std::io::Result<()> {
    for (sign, ranges, all) in [
        ("+", &imported.difference.added, imported.added.ranges),
        ("-", &imported.difference.ended, imported.ended.ranges),
    ] {
        let shown = ranges.len().min(PRINTED);
        for range in &ranges[..shown] {
            say!("{sign} {range}");
        }
        if all > shown as u64 {
            say!("{sign} and {} more", counted(all - shown as u64));
        }
    }
    let refused = &imported.summary.refused;
    for line in refused.named.iter().take(PRINTED) {
        say!("! {line}");
    }
    if refused.count > PRINTED as u64 {
        say!("! and {} more", counted(refused.count - PRINTED as u64));
    }
    let (add, end) = if imported.dry_run {
        ("would add", "would end")
    } else {
        ("added", "ended")
    };
    if let Some(job) = imported.job {
        say!("job {job}");
    }
    say!(
        "{add} {}, unchanged {}, {end} {}, refused lines {}",
        counted(imported.added.ranges),
        counted(imported.unchanged.ranges),
        counted(imported.ended.ranges),
        counted(refused.count)
    );
    say!(
        "numbers: {add} {}, unchanged {}, {end} {}",
        counted(imported.added.numbers),
        counted(imported.unchanged.numbers),
        counted(imported.ended.numbers)
    );
    if imported.elsewhere > 0 {
        say!(
            "the table does not cover {} of this code; they are unchanged",
            numbers(imported.elsewhere)
        );
    }
    if imported.changes_nothing() && refused.count == 0 {
        say!("nothing changes: the database has all of it");
    }
    super::print_ended_delegations(&imported.ended_delegations)?;
    print_outstanding(&imported.outstanding)
}

/// Prints the tokens that can still be redeemed, if there are any.
pub(super) fn print_outstanding(outstanding: &OutstandingTokens) -> std::io::Result<()> {
    if outstanding.count == 0 {
        return Ok(());
    }
    let more = if outstanding.more { " or more" } else { "" };
    say!(
        "{}{more} outstanding grants: their tokens can still be redeemed",
        counted(outstanding.count)
    );
    for grant in outstanding.grants.iter().take(PRINTED) {
        say!(
            "  {} of {} until {}",
            grant.jti,
            grant.account,
            grant.expires_at
        );
    }
    if outstanding.count > PRINTED as u64 {
        say!("  and {} more", counted(outstanding.count - PRINTED as u64));
    }
    Ok(())
}

/// A progress bar on standard error, if that is a terminal.
fn progress(bytes: u64) -> ProgressBar {
    let style =
        ProgressStyle::with_template("reading {bar:40} {bytes} of {total_bytes}, {eta} left");
    ProgressBar::new(bytes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
