//! `policy`: checks policies before the service uses them.

use std::path::{Path, PathBuf};

use tn_authority::authority::{PolicyReport, ReportLine};
use tn_authority::config::Config;

use super::output::say;
use super::{Exit, Outcome, counted};

/// Check the Cedar policies, which decide who may request what.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Load policies as the service does, and run their test cases.
    ///
    /// DIR has policies in files `*.cedar` and cases in files `tests/*.toml`. Default: the folder
    /// `policy.dir` of the configuration, or else the built-in policies. The schema is that of the
    /// service.
    ///
    /// Prints `ok`, `warning` or `FAILED` for each file and each case, with file, line and column
    /// where known. Exits with 1 if anything failed. The service does not start with failing
    /// policies; a running service keeps its current ones.
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
  caller = { role = \"account\", accounts = [\"acme\"] }   # also `id`, for policies that name a caller
  action = \"mint\"                                    # or ask, read, manage, provision,
                                                     # mint-claim-constraints
  account = \"acme\"                                   # `carrier = true` if it is the carrier's own
  token = { ca = true }                              # lifetime, entries, numbers, largest,
                                                     # spcs, renewal
  at = \"2026-01-02T08:00:00Z\"                        # default: a Monday at noon
  expect = \"deny\"                                    # or \"allow\"
  code = \"no-ca-for-acme\"                            # the code of the refusal
  by = [\"acme-has-no-ca\"]                            # the policies that decide; optional

A token has these defaults: one entry with one number, a lifetime of 3600 seconds, `ca = false`.";

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
