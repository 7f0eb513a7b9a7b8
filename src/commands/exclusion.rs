//! `exclusion`: numbers without authority, though the carrier holds them.

use clap::Subcommand;
use tn_authority::app;
use tn_authority::authority::NewExclusion;
use tn_authority::config::Config;
use tn_authority::domain::clock::{parse_time, rfc3339};
use tn_authority::domain::inventory::Reason;
use tn_authority::domain::numbers::block::parse_numbers;
use tn_authority::domain::{Clock, NumberRange, Time};

use super::output::say;
use super::{Exit, Outcome, at_the_command_line, numbers};

/// Keep the numbers that may not be used, though the carrier holds them.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Take authority from numbers, such as when they port out.
    Add {
        /// `1.212.555.1XXX`, `+12125551001`, or `+12125551000+1000` (a start and a count).
        #[arg(value_parser = parse_numbers)]
        block: NumberRange,
        /// ported-out, contaminated, aging, suspended or reserved.
        #[arg(long)]
        reason: Reason,
        /// The first second at which they may not be used, as 2027-01-31T00:00:00Z; now, if it is not said.
        #[arg(long, value_parser = parse_time)]
        from: Option<Time>,
        /// The first second at which they may be used again; without it, no end is known.
        #[arg(long, value_parser = parse_time)]
        until: Option<Time>,
    },
}

pub fn run(command: &Command, config: &Config) -> Outcome {
    let service = app::open(config, &Clock::system())?;
    match command {
        Command::Add {
            block,
            reason,
            from,
            until,
        } => {
            let new = NewExclusion {
                numbers: *block,
                reason: *reason,
                valid_from: *from,
                valid_until: *until,
            };
            let done = app::block_on(service.authority.exclude(&at_the_command_line(), new))?;
            let (row, outstanding) = (done.row, done.outstanding_grants);
            say!(
                "exclusion {}: {}, {}, {}",
                row.row.id,
                row.numbers,
                numbers(row.numbers.count()),
                row.reason.as_str()
            );
            for grant in &outstanding.grants {
                let (jti, account) = (&grant.jti, &grant.account);
                say!(
                    "  outstanding: {jti} of {account}, until {}",
                    rfc3339(&grant.expires_at)
                );
            }
            if outstanding.more {
                let all = outstanding.exposure.tokens;
                say!("  and more, {all} in all; GET /v1/grants lists them");
            }
        }
    }
    Ok(Exit::SUCCESS)
}
