//! The commands, one file each: the arguments of a command and its `run`.

pub mod account;
pub mod allocation;
pub mod api_key;
pub mod audit;
pub mod certificate;
pub mod check;
pub mod claim_constraints;
pub mod delegation;
pub mod demo;
pub mod exclusion;
mod exit;
pub mod explain;
mod file;
pub mod fingerprint;
pub mod import;
pub mod migrate;
mod output;
pub mod policy;
pub mod redeem;
pub mod serve;
pub mod tn_auth_list;
pub mod verify;

use std::error::Error;

use tn_authority::domain::{Caller, Clock, new_id};

pub use exit::Exit;

/// How a command ends: with an exit code, or with an error that [`report`] prints.
pub type Outcome = Result<Exit, Box<dyn Error>>;

/// Prints an error with all of its causes, and returns exit code 1.
pub fn report(error: &dyn Error) -> Exit {
    eprintln!("error: {error}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        eprintln!("  because: {inner}");
        cause = inner.source();
    }
    Exit::FAILURE
}

/// The operator who runs a command on the machine of the service.
pub fn command_line_caller() -> Caller {
    Caller::at_the_command_line(new_id(Clock::system().now()))
}

/// A count with commas: `10,298,000`.
pub fn counted(count: u64) -> String {
    let digits = count.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .filter_map(|group| std::str::from_utf8(group).ok())
        .collect();
    groups.join(",")
}

/// `1 number`, `1,000 numbers`.
pub fn numbers(count: u64) -> String {
    let noun = if count == 1 { "number" } else { "numbers" };
    format!("{} {noun}", counted(count))
}
