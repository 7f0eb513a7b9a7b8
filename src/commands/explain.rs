//! `explain`: what a request for a token would be answered, and which rows say so.

use std::io;

use clap::Args as Arguments;
use tn_authority::app;
use tn_authority::authority::{ExplainRequest, Explained};
use tn_authority::config::Config;
use tn_authority::domain::clock::rfc3339;
use tn_authority::domain::decision::denial::RefusalCause;
use tn_authority::domain::numbers::block::parse_numbers;
use tn_authority::domain::{AccountId, Clock, NumberRange};

use super::output::say;
use super::{Exit, Outcome, at_the_command_line, numbers};

/// Explain what a request for a token would be answered: no token, no grant. Exits 1 where the answer is no.
#[derive(Debug, Arguments)]
pub struct Args {
    account: AccountId,
    /// `1.212.555.1XXX`, `+12125551001`, or `+12125551000+1000` (a start and a count).
    #[arg(required = true, value_parser = parse_numbers)]
    numbers: Vec<NumberRange>,
    /// For a CA certificate.
    #[arg(long)]
    ca: bool,
    /// Seconds.
    #[arg(long)]
    lifetime: Option<u32>,
}

pub fn run(args: Args, config: &Config) -> Outcome {
    let service = app::open(config, &Clock::system())?;
    let question = ExplainRequest {
        account: args.account,
        numbers: args.numbers,
        ca: args.ca,
        lifetime: args.lifetime,
    };
    let explained = service
        .authority
        .explain(&at_the_command_line(), &question)?;
    print_parts(&explained)?;
    match explained.decision {
        Ok((expires, _)) => {
            say!("yes: a token until {}", rfc3339(&expires));
            Ok(Exit::SUCCESS)
        }
        Err(denial) => {
            let by = denial.policies();
            let by = if by.is_empty() {
                String::new()
            } else {
                format!(" (policy: {})", by.join(", "))
            };
            say!("no: {}: {denial}{by}", denial.code());
            Ok(Exit::FAILURE)
        }
    }
}

fn print_parts(explained: &Explained) -> io::Result<()> {
    for part in &explained.parts {
        let answer = part.refused.map_or("yes", RefusalCause::code);
        let count = numbers(part.numbers.count());
        say!("{} ({count}): {answer}", part.numbers);
        for row in &part.rows {
            let says = if row.permits(explained.at) {
                "yes"
            } else {
                "no "
            };
            say!("  {says} {} {}: {row}", row.kind(), row.held().row());
        }
        if part.left_out > 0 {
            say!("  and {} rows more", part.left_out);
        } else if part.rows.is_empty() {
            say!("  no row speaks of them");
        }
    }
    Ok(())
}
