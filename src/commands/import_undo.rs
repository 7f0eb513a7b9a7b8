//! `import --undo`: an import was a mistake.

use std::io::Write as _;

use tn_authority::app;
use tn_authority::authority::{Mistake, UndoResult, UndoneImport};
use tn_authority::config::Config;
use tn_authority::domain::{Clock, NumberRange};
use uuid::Uuid;

use super::import::{PRINTED, print_outstanding};
use super::output::say;
use super::{Exit, Outcome, command_line_caller, counted, print_still_blocked};

pub(super) fn run(
    job: Uuid,
    mistake: Mistake,
    dry_run: bool,
    json: bool,
    config: &Config,
) -> Outcome {
    let service = app::open(config, &Clock::system())?;
    let caller = command_line_caller();
    let undone = if dry_run {
        service.authority.try_undo_import(&caller, job)?
    } else {
        app::block_on(service.authority.undo_import(&caller, job, mistake))?
    };
    if json {
        let result = serde_json::to_string(&UndoResult::from(&undone))?;
        writeln!(std::io::stdout(), "{result}")?;
    } else {
        print(&undone)?;
    }
    Ok(Exit::SUCCESS)
}

fn print(undone: &UndoneImport) -> std::io::Result<()> {
    let amounts = &undone.amounts;
    print_ranges('+', &amounts.ranges_restored, amounts.restored.ranges)?;
    print_ranges('-', &amounts.ranges_removed, amounts.removed.ranges)?;
    let (restore, remove) = if undone.dry_run {
        ("would restore", "would remove")
    } else {
        ("restored", "removed")
    };
    say!(
        "{restore} {}, {remove} {}, ended otherwise since {}",
        counted(amounts.restored.ranges),
        counted(amounts.removed.ranges),
        counted(amounts.left)
    );
    say!(
        "numbers: {restore} {}, {remove} {}",
        counted(amounts.restored.numbers),
        counted(amounts.removed.numbers)
    );
    say!(
        "delegations that {}: {}",
        if undone.dry_run {
            "would count again"
        } else {
            "count again"
        },
        counted(undone.delegations.count)
    );
    print_still_blocked(&undone.blocked)?;
    print_outstanding(&undone.outstanding)
}

fn print_ranges(sign: char, ranges: &[NumberRange], all: u64) -> std::io::Result<()> {
    let shown = ranges.len().min(PRINTED);
    for range in &ranges[..shown] {
        say!("{sign} {range}");
    }
    if all > shown as u64 {
        say!("{sign} and {} more", counted(all - shown as u64));
    }
    Ok(())
}
