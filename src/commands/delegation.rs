//! `delegation`: numbers that are delegated to an account.

use clap::Subcommand;
use tn_authority::app;
use tn_authority::authority::NewDelegation;
use tn_authority::config::Config;
use tn_authority::domain::clock::parse_time;
use tn_authority::domain::numbers::block::parse_inventory;
use tn_authority::domain::text::for_people::text_for_people;
use tn_authority::domain::{AccountId, Clock, InventoryRange, Time};
use uuid::Uuid;

use super::output::say;
use super::{Exit, Outcome, command_line_caller, numbers};

/// Delegate numbers to accounts, which can then get tokens for them.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Delegate numbers to an account, from now on.
    #[command(after_help = "\
Examples:
  tn-authority delegation add acme +12125551001 --reference 'order 4711'
  tn-authority delegation add reseller 1.212.555.1XXX --lend-on --until 2027-01-31T00:00:00Z")]
    Add {
        /// The account that gets the numbers.
        account: AccountId,
        /// Numbers: `1.212.555.1XXX`, `+12125551001`, or `+12125551000+1000` (a start and a count).
        #[arg(value_parser = parse_inventory)]
        block: InventoryRange,
        /// Allow tokens for CA certificates too, which can issue further certificates.
        #[arg(long)]
        ca: bool,
        /// The reseller's delegation that these numbers are cut from. Default: none; the carrier
        /// itself delegates.
        #[arg(long, value_name = "UUID")]
        parent: Option<Uuid>,
        /// Let the account delegate the numbers to its own customers.
        #[arg(long)]
        lend_on: bool,
        /// Let the reseller of --parent continue to get tokens for these numbers.
        #[arg(long, requires = "parent")]
        lender_keeps: bool,
        /// When the delegation ends (RFC 3339), such as 2027-01-31T00:00:00Z. Default: it stays
        /// until it is ended.
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        until: Option<Time>,
        /// The carrier's own name for it, such as an order or a contract.
        #[arg(long, value_name = "TEXT", value_parser = text_for_people)]
        reference: Option<String>,
    },
}

pub fn run(command: Command, config: &Config) -> Outcome {
    let service = app::open(config, &Clock::system())?;
    match command {
        Command::Add {
            account,
            block,
            ca,
            parent,
            lend_on,
            lender_keeps,
            until,
            reference,
        } => {
            let new = NewDelegation {
                account,
                numbers: block,
                ca,
                parent,
                lend_on,
                lender_keeps,
                valid_from: None,
                valid_until: until,
                reference,
            };
            let done = app::block_on(service.authority.delegate(&command_line_caller(), new))?;
            let count = numbers(done.numbers.count());
            say!(
                "delegation {}: {}, {count} to {}",
                done.row.id,
                done.numbers,
                done.account
            );
        }
    }
    Ok(Exit::SUCCESS)
}
