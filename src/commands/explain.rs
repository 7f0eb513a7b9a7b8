//! `explain`: the answer that a token request would get, and the rows that justify it.

use std::io;

use clap::Args as Arguments;
use tn_authority::app;
use tn_authority::authority::{ChangeError, ExplainRequest, Explained};
use tn_authority::config::Config;
use tn_authority::domain::clock::rfc3339;
use tn_authority::domain::decision::denial::RefusalCause;
use tn_authority::domain::numbers::block::parse_numbers;
use tn_authority::domain::{AccountId, Clock, Denial, Fingerprint, NumberRange};

use super::output::say;
use super::{Exit, Outcome, command_line_caller, numbers};

/// Say whether an account would get a token for some numbers, and why.
///
/// Nothing is issued or recorded. For each range, it lists the allocations, delegations and
/// exclusions that decide. Exits with 0 if the account would get the token, with 1 if not.
#[derive(Debug, Arguments)]
#[command(after_help = "\
Example:
  tn-authority explain acme +12125551001 1.212.555.2XXX --lifetime 600")]
pub struct Args {
    /// The account that would request the token.
    account: AccountId,
    /// Numbers: `1.212.555.1XXX`, `+12125551001`, or `+12125551000+1000` (a start and a count).
    #[arg(required = true, value_parser = parse_numbers)]
    numbers: Vec<NumberRange>,
    /// Explain a token for a CA certificate, which can issue further certificates.
    #[arg(long)]
    ca: bool,
    /// The lifetime that the request would name, in seconds. Default: `tokens.default_lifetime`.
    #[arg(long, value_name = "SECONDS")]
    lifetime: Option<u32>,
    /// The fingerprint of the ACME account key, for policies that refer to its age. Default: a key
    /// that is new for the account.
    #[arg(long, value_name = "FINGERPRINT")]
    fingerprint: Option<Fingerprint>,
}

pub fn run(args: Args, config: &Config) -> Outcome {
    let service = app::open(config, &Clock::system())?;
    let asked = args.account.clone();
    let question = ExplainRequest {
        account: args.account,
        numbers: args.numbers,
        ca: args.ca,
        lifetime: args.lifetime,
        fingerprint: args.fingerprint,
    };
    let explained = service
        .authority
        .explain(&command_line_caller(), &question)?;
    print_parts(&explained)?;
    print_control(&explained)?;
    match explained.decision {
        Ok((expires, _)) => {
            say!("yes: a token until {}", rfc3339(&expires));
            Ok(Exit::SUCCESS)
        }
        // The command line may ask about any account, so there is none.
        Err(Denial::NotTheCallers) => Err(ChangeError::UnknownAccount(asked).into()),
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

/// What policies see of control, if one refers to it.
fn print_control(explained: &Explained) -> io::Result<()> {
    if !explained.row_inputs.control {
        return Ok(());
    }
    let control = &explained.facts.rows.control;
    let of_sample = if control.is_sample {
        format!(", by a sample of {}", numbers(control.total))
    } else {
        String::new()
    };
    if let Some(age) = control.age {
        say!("control: proven, {age} seconds ago at most{of_sample}");
    } else {
        say!("control: not proven{of_sample}");
    }
    if let Some(lack) = &explained.lack {
        say!("  {lack}");
    }
    Ok(())
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
            say!("  and {} more rows", part.left_out);
        } else if part.rows.is_empty() {
            say!("  no allocation, delegation or exclusion has them");
        }
        if let Some(hint) = part.hint() {
            say!("  hint: {hint}");
        }
    }
    Ok(())
}
