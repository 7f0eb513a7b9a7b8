//! `delegation`: what is lent to an account.

use clap::Subcommand;
use tn_authority::app;
use tn_authority::authority::NewDelegation;
use tn_authority::config::Config;
use tn_authority::domain::accounts::account::text_for_people;
use tn_authority::domain::clock::parse_time;
use tn_authority::domain::numbers::block::parse_numbers;
use tn_authority::domain::{AccountId, Clock, NumberRange, Time};
use uuid::Uuid;

use super::output::say;
use super::{Exit, Outcome, at_the_command_line, numbers};

/// Keep the numbers that accounts may get tokens for.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lend numbers to an account, from now on.
    Add {
        account: AccountId,
        /// `1.212.555.1XXX`, `+12125551001`, or `+12125551000+1000` (a start and a count).
        #[arg(value_parser = parse_numbers)]
        block: NumberRange,
        /// Allow tokens for CA certificates, to delegate further.
        #[arg(long)]
        ca: bool,
        /// The delegation of a reseller that the numbers are cut from; without it, the carrier itself lends.
        #[arg(long, value_name = "UUID")]
        parent: Option<Uuid>,
        /// Let the account lend the numbers on to customers of its own.
        #[arg(long)]
        lend_on: bool,
        /// Let the reseller of --parent go on getting tokens for the numbers.
        #[arg(long, requires = "parent")]
        lender_keeps: bool,
        /// The first second at which the numbers are no longer lent, as 2027-01-31T00:00:00Z.
        #[arg(long, value_parser = parse_time)]
        until: Option<Time>,
        /// The carrier's own order or contract.
        #[arg(long, value_parser = text_for_people)]
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
            let done = app::block_on(service.authority.delegate(&at_the_command_line(), new))?;
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
