//! The commands, one file each: the arguments of a command and its `run`.

pub mod account;
pub mod allocation;
pub mod api_key;
pub mod audit;
pub mod backup;
pub mod certificate;
pub mod check;
mod check_server;
pub mod claim_constraints;
pub mod control;
pub mod control_agent;
pub mod delegation;
pub mod demo;
pub mod exclusion;
mod exit;
pub mod explain;
mod file;
pub mod fingerprint;
pub mod import;
mod import_undo;
pub mod migrate;
mod output;
pub mod policy;
pub mod redeem;
pub mod serve;
pub mod signer;
pub mod tn_auth_list;
pub mod verify;

use std::error::Error;
use std::io::ErrorKind;
use std::path::Path;

use tn_authority::api::Service;
use tn_authority::app;
use tn_authority::authority::{EndedDelegations, StillBlocked};
use tn_authority::config::Config;
use tn_authority::domain::clock::rfc3339;
use tn_authority::domain::{Caller, Clock, new_id};

pub use exit::Exit;

/// How a command ends: with an exit code, or with an error that [`report`] prints.
pub type Outcome = Result<Exit, Box<dyn Error>>;

/// Prints an error with all of its causes, and returns exit code 1.
pub fn report(error: &(dyn Error + 'static)) -> Exit {
    let io = error.downcast_ref::<std::io::Error>();
    if io.is_some_and(|error| error.kind() == ErrorKind::BrokenPipe) {
        // As by `| head`: the reader has what it wanted.
        return Exit::FAILURE;
    }
    for line in chain(error) {
        eprintln!("{line}");
    }
    Exit::FAILURE
}

/// An error and its causes, a line each. Many messages already end with their cause, which is not
/// repeated then.
fn chain(error: &dyn Error) -> Vec<String> {
    let mut said = error.to_string();
    let mut lines = vec![format!("error: {said}")];
    let mut cause = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !said.contains(&text) {
            lines.push(format!("  because: {text}"));
            said = text;
        }
        cause = inner.source();
    }
    lines
}

/// Opens everything for a command that can be the first of a new service. If it creates the
/// database, it says where: in a wrong folder that would be a mistake.
pub fn open_or_create(config: &Config) -> Result<Service, Box<dyn Error>> {
    let missing = app::database_url(config)?.missing_file()?;
    let service = app::open_or_create(config, &Clock::system())?;
    report_created(missing.as_deref());
    Ok(service)
}

/// Says on standard error that an SQLite database was created.
pub fn report_created(database: Option<&Path>) {
    if let Some(path) = database {
        eprintln!("created a new database: `{}`", path.display());
    }
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

/// How many delegations that end are printed.
const ENDS_PRINTED: usize = 20;

/// Prints the delegations that end because numbers leave.
fn print_ended_delegations(ended: &EndedDelegations) -> std::io::Result<()> {
    for one in ended.delegations.iter().take(ENDS_PRINTED) {
        let (id, account) = (one.row.row.id, &one.row.account);
        let extent = if one.whole { "" } else { " in part" };
        output::say!("  delegation {id} of {account} ends{extent}");
    }
    if ended.more || ended.delegations.len() > ENDS_PRINTED {
        output::say!("  and more delegations end");
    }
    Ok(())
}

/// Names what still blocks numbers although a change was undone: a few, and that there are more.
fn print_still_blocked(blocked: &StillBlocked) -> std::io::Result<()> {
    let delegations = &blocked.delegations;
    for one in delegations.delegations.iter().take(ENDS_PRINTED) {
        let (id, account) = (one.row.row.id, &one.row.account);
        for part in one.ended_for.iter().take(ENDS_PRINTED) {
            let (numbers, kind, at) = (part.numbers, part.kind.as_str(), rfc3339(&part.at));
            let cause = part.cause;
            output::say!(
                "  delegation {id} of {account} has still ended for {numbers}: {kind} at {at} ({cause})"
            );
        }
        if one.more || one.ended_for.len() > ENDS_PRINTED {
            output::say!("  and for more numbers");
        }
    }
    if delegations.more || delegations.delegations.len() > ENDS_PRINTED {
        output::say!("  and more delegations have still ended");
    }
    for row in blocked.exclusions.iter().take(ENDS_PRINTED) {
        let (id, numbers, reason) = (row.row.id, row.numbers, row.reason.as_str());
        output::say!("  exclusion {id} still excludes {numbers}: {reason}");
    }
    if blocked.more_exclusions || blocked.exclusions.len() > ENDS_PRINTED {
        output::say!("  and more exclusions");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use thiserror::Error;

    use super::*;

    #[derive(Debug, Error)]
    enum Outer {
        #[error("it failed: {0}")]
        WithCause(#[source] Inner),
        #[error("it failed")]
        Alone(#[source] Inner),
    }

    #[derive(Debug, Error)]
    #[error("the disk is full")]
    struct Inner;

    #[test]
    fn a_cause_is_printed_once() {
        assert_eq!(
            chain(&Outer::WithCause(Inner)),
            ["error: it failed: the disk is full"]
        );
        assert_eq!(
            chain(&Outer::Alone(Inner)),
            ["error: it failed", "  because: the disk is full"]
        );
    }
}
