//! `exclusion`: numbers that get no tokens, although the carrier holds them.

use clap::Subcommand;
use tn_authority::app;
use tn_authority::authority::{Met, Mistake, NewExclusion, Restored};
use tn_authority::config::Config;
use tn_authority::domain::clock::{parse_time, rfc3339};
use tn_authority::domain::inventory::{Exclusion, Reason};
use tn_authority::domain::numbers::block::parse_inventory;
use tn_authority::domain::{Clock, InventoryRange, NumberRange, Time};
use uuid::Uuid;

use super::import::reason as reason_of_mistake;
use super::output::say;
use super::{
    Exit, Outcome, command_line_caller, counted, numbers, print_ended_delegations,
    print_still_blocked,
};

/// Exclude numbers that the carrier holds: ported out, contaminated, aging, suspended or reserved.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Exclude numbers, such as when they port out: no more tokens are issued for them.
    ///
    /// Lists the outstanding grants: tokens already issued for these numbers, which a CA accepts
    /// until they expire.
    #[command(after_help = "\
Example:
  tn-authority exclusion add +12125551001 --reason ported-out")]
    Add {
        /// Numbers: `1.212.555.1XXX`, `+12125551001`, or `+12125551000+1000` (a start and a count).
        #[arg(value_parser = parse_inventory)]
        block: InventoryRange,
        /// Why: ported-out, contaminated, aging, suspended or reserved.
        #[arg(long)]
        reason: Reason,
        /// When the exclusion begins (RFC 3339), such as 2027-01-31T00:00:00Z. Default: now.
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        from: Option<Time>,
        /// When it ends (RFC 3339). Default: it stays until it is ended.
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        until: Option<Time>,
        /// Exclude the numbers although the carrier holds none of them. Without it, such an
        /// exclusion is refused: most likely, a digit is wrong.
        #[arg(long)]
        force: bool,
    },
    /// End an exclusion: tokens for the numbers can be issued again, once they are delegated anew.
    ///
    /// With `--mistake`, the exclusion should never have been made: what it ended counts again,
    /// too. Names the other exclusions of the numbers, which still block them.
    #[command(after_help = "\
Example:
  tn-authority exclusion end 01a21c4d-28a1-7c53-b3c1-5d2f9be0a1c7 --mistake \\
    --reason \"the wrong number\"")]
    End {
        /// The exclusion, by its id.
        #[arg(value_parser = exclusion_id)]
        id: Uuid,
        /// When it ends (RFC 3339). Default: now.
        #[arg(long, value_name = "TIME", value_parser = parse_time, conflicts_with = "mistake")]
        at: Option<Time>,
        /// Undo the exclusion, and the disconnect that made it if there was one.
        #[arg(long, requires = "reason")]
        mistake: bool,
        /// Why it was a mistake, for the audit trail.
        #[arg(long, value_name = "TEXT", requires = "mistake", value_parser = reason_of_mistake)]
        reason: Option<String>,
    },
}

fn exclusion_id(text: &str) -> Result<Uuid, &'static str> {
    text.parse().map_err(|_| {
        "the id of an exclusion is a UUID, such as `01a21c4d-28a1-7c53-b3c1-5d2f9be0a1c7`; \
         `GET /v1/numbers/{tn}` shows those of a number"
    })
}

pub fn run(command: &Command, config: &Config) -> Outcome {
    let service = app::open(config, &Clock::system())?;
    match command {
        Command::Add {
            block,
            reason,
            from,
            until,
            force,
        } => {
            let new = NewExclusion {
                numbers: *block,
                reason: *reason,
                valid_from: *from,
                valid_until: *until,
                force: *force,
            };
            let done = app::block_on(service.authority.exclude(&command_line_caller(), new))?;
            let (row, outstanding) = (done.row.exclusion, done.outstanding_grants);
            let ended = done.ended_delegations;
            say!(
                "exclusion {}: {}, {}, {}",
                row.row.id,
                row.numbers,
                numbers(row.numbers.count()),
                row.reason.as_str()
            );
            print_met(row.numbers, &done.row.met)?;
            print_ended_delegations(&ended)?;
            for grant in &outstanding.grants {
                let (jti, account) = (&grant.jti, &grant.account);
                say!(
                    "  outstanding: {jti} of {account}, until {}",
                    rfc3339(&grant.expires_at)
                );
            }
            if outstanding.more {
                let all = outstanding.exposure.tokens;
                say!("  and more, {all} in total; list them with GET /v1/grants");
            }
        }
        Command::End { id, at, reason, .. } => {
            let (by, authority) = (command_line_caller(), &service.authority);
            let done = match reason.clone() {
                Some(reason) => {
                    app::block_on(authority.undo_exclusion(&by, *id, Mistake { reason }))?
                }
                None => app::block_on(authority.end_exclusion(&by, *id, *at))?,
            };
            print_end(&done, reason.is_some())?;
        }
    }
    Ok(Exit::SUCCESS)
}

fn print_end(done: &Restored<Exclusion>, undone: bool) -> std::io::Result<()> {
    let (id, numbers) = (done.row.row.id, done.row.numbers);
    let end = done.row.window.until();
    match (done.row.belief.superseded_at, end) {
        (Some(_), _) if undone => say!("exclusion {id} of {numbers}: undone"),
        (None, Some(end)) => say!("exclusion {id} of {numbers}: until {}", rfc3339(&end)),
        (Some(_), _) | (None, None) => say!("exclusion {id} of {numbers}: ended"),
    }
    if undone {
        let count = counted(done.delegations.count);
        say!("delegations that count again: {count}");
    }
    print_still_blocked(&done.blocked)
}

/// Says which numbers the carrier holds, unless it is all of them.
fn print_met(excluded: NumberRange, met: &Met) -> std::io::Result<()> {
    if met.ranges == [excluded] {
        return Ok(());
    }
    if met.ranges.is_empty() {
        say!("  the carrier holds none of them");
    }
    for range in &met.ranges {
        say!("  the carrier holds {range} of them");
    }
    if met.more {
        say!("  and more");
    }
    Ok(())
}
