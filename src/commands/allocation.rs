//! `allocation`: numbers that the carrier holds.

use clap::Subcommand;
use tn_authority::app;
use tn_authority::authority::NewAllocation;
use tn_authority::config::Config;
use tn_authority::domain::inventory::Basis;
use tn_authority::domain::numbers::block::parse_inventory;
use tn_authority::domain::{InventoryRange, Spc};

use super::output::say;
use super::{Exit, Outcome, command_line_caller, numbers, open_or_create};

/// Record which numbers the carrier holds. Only these can be delegated.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Record that the carrier holds these numbers, from now on.
    #[command(after_help = "\
Example:
  tn-authority allocation add 1.212.555.1XXX --spc 1234")]
    Add {
        /// Numbers: `1.212.555.1XXX`, `+12125551001`, or `+12125551000+1000` (a start and a count).
        #[arg(value_parser = parse_inventory)]
        block: InventoryRange,
        /// The service provider code (OCN) that holds them.
        #[arg(long, value_name = "CODE")]
        spc: Spc,
        /// Why the carrier holds them: block, code, ported-in or toll-free.
        #[arg(long, default_value = "block")]
        basis: Basis,
    },
}

pub fn run(command: Command, config: &Config) -> Outcome {
    let service = open_or_create(config)?;
    match command {
        Command::Add { block, spc, basis } => {
            warn_of_unknown(&spc, config);
            let new = NewAllocation {
                spc,
                numbers: block,
                basis,
                valid_from: None,
                valid_until: None,
            };
            let done = app::block_on(service.authority.allocate(&command_line_caller(), new))?;
            say!(
                "allocation {}: {}, {}",
                done.row.id,
                done.numbers,
                numbers(done.numbers.count())
            );
        }
    }
    Ok(Exit::SUCCESS)
}

/// Without `carrier.spcs` any code is accepted, so a mistyped one would not be noticed.
fn warn_of_unknown(spc: &Spc, config: &Config) {
    if config.carrier.spcs.is_empty() {
        eprintln!(
            "warning: `{spc}` is not checked, because `carrier.spcs` is not set; is this the configuration of the service \
             (`--config`)?"
        );
    }
}
