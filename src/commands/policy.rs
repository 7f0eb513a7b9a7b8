//! `policy`: what the policies say, before the service follows them.

use std::path::{Path, PathBuf};

use tn_authority::authority::{PolicyReport, ReportLine};
use tn_authority::config::Config;

use super::output::say;
use super::{Exit, Outcome, counted};

/// Check the policies that say who may ask for what.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Read policies as the service would, run their cases, and say what is wrong.
    ///
    /// DIR holds policies in files `*.cedar` and cases in files `tests/*.toml`. Without DIR these are the policies that the
    /// configuration names (`policy.dir`), or else those that are built in. The schema is the service's own.
    ///
    /// A line a file and a line a case: `ok`, `warning` or `FAILED`, with file, line and column where they are known. Exits
    /// 1 if anything failed. The service does not start with such policies, and a running one keeps those that it has.
    #[command(after_long_help = CASE)]
    Check {
        /// A folder of policies.
        #[arg(value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

const CASE: &str = "\
A policy:
  @id(\"acme-has-no-ca\") @code(\"no-ca-for-acme\") @message(\"acme gets no CA certificates\")
  forbid (principal, action == Action::\"mint\", resource == Account::\"acme\")
  when { context.ca };

Its case:
  [[case]]
  name = \"acme gets no CA certificate\"
  caller = { role = \"account\", accounts = [\"acme\"] }   # `id` too, for policies that name a caller
  action = \"mint\"                                    # or ask, read, manage, provision,
                                                     # mint-claim-constraints
  account = \"acme\"                                   # `carrier = true`, if it is the carrier's own
  token = { ca = true }                              # lifetime, entries, numbers, largest,
                                                     # spcs, renewal
  at = \"2026-01-02T08:00:00Z\"                        # Monday at noon, if it is not said
  expect = \"deny\"                                    # or allow
  code = \"no-ca-for-acme\"                            # of the refusal
  by = [\"acme-has-no-ca\"]                            # the policies that decide; may be left out

A token has, unless a case says otherwise, one entry with one number, lives for 3600 seconds, and is for no CA certificate.";

pub fn run(command: &Command, config: Option<&Path>) -> Outcome {
    let Command::Check { dir } = command;
    let dir = match dir {
        Some(dir) => Some(dir.clone()),
        None => Config::load(config)?.policy.dir,
    };
    let report = PolicyReport::on(dir.as_deref());
    for line in &report.lines {
        match line {
            ReportLine::Sound(text) => say!("ok      {text}"),
            ReportLine::Warning(text) => say!("warning {text}"),
            ReportLine::Failed(text) => say!("FAILED  {text}"),
        }
    }
    if let Some(set) = report.set.as_ref().filter(|_| report.policies > 0) {
        let (policies, cases) = (report.policies as u64, report.cases as u64);
        say!(
            "policies: {}, cases: {}, SHA-256: {set}",
            counted(policies),
            counted(cases)
        );
    }
    Ok(if report.is_sound() {
        Exit::SUCCESS
    } else {
        Exit::FAILURE
    })
}
