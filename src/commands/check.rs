//! `check`: reports what would keep `serve` from starting.

use std::error::Error;
use std::fmt::Display;
use std::io;

use tn_authority::app;
use tn_authority::config::Config;
use tn_authority::domain::Clock;
use tn_authority::store::Store;

use super::output::say;
use super::{Exit, Outcome};

/// The configuration itself has been read already; this checks what it refers to. Changes nothing.
pub fn run(config: &Config) -> Outcome {
    say!("ok      configuration");
    let mut sound = true;
    let mut line = |what: &str, result: Result<String, Box<dyn Error>>| {
        match result {
            Ok(detail) => say!("ok      {what}{detail}"),
            Err(error) => {
                sound = false;
                say!("FAILED  {what}: {error}");
            }
        }
        io::Result::Ok(())
    };
    let (database, warnings) = database(config);
    line("database and schema", database)?;
    for warning in warnings {
        say!("warning database: {warning}");
    }
    line(
        "policies",
        app::open_policy(config)
            .map(|_| String::new())
            .map_err(Into::into),
    )?;
    let (signers, issuers_only) = signers(config);
    for result in signers {
        line("signing key and chain", result)?;
    }
    for file in issuers_only {
        say!(
            "ok      issuers: `{file}` has only certificates of CAs, which complete chains and sign nothing"
        );
    }
    line(
        "API key secret",
        app::check_secret(config)
            .map(|()| String::new())
            .map_err(Into::into),
    )?;
    for result in issuers(config) {
        line("access token issuers", result)?;
    }
    line(
        "TLS",
        app::check_listener(config).map(note).map_err(Into::into),
    )?;
    Ok(if sound { Exit::SUCCESS } else { Exit::FAILURE })
}

/// Whether the database can be used, and warnings about settings that should be changed.
fn database(config: &Config) -> (Result<String, Box<dyn Error>>, Vec<String>) {
    let url = app::database_url(config);
    let checked = url
        .map_err(Into::into)
        .and_then(|url| Ok(Store::check(&url)?));
    match checked {
        Ok(warnings) => (Ok(String::new()), warnings),
        Err(error) => (Err(error), Vec::new()),
    }
}

type Checked = Result<String, Box<dyn Error>>;

/// A line for each chain that can sign and for each file that is refused, and the files that have
/// only certificates of CAs.
fn signers(config: &Config) -> (Vec<Checked>, Vec<String>) {
    let found = match app::scan_signers(config, &Clock::system()) {
        Ok(found) => found,
        Err(error) => return (vec![Err(error.into())], Vec::new()),
    };
    let sound = found.signers.iter().map(|signer| {
        Ok(note(format!(
            "`{}`, valid until {}",
            signer.certificate().subject(),
            signer.authority_ends()
        )))
    });
    let refused = found.refused.iter();
    let refused = refused.map(|one| Err(format!("`{}`: {}", one.file, one.reason).into()));
    let lines: Vec<_> = sound.chain(refused).collect();
    if lines.is_empty() {
        return (vec![Err("no certificate found".into())], found.issuers);
    }
    (lines, found.issuers)
}

/// A line for each issuer of access tokens, whose keys are read or fetched; a single line if there
/// is none.
fn issuers(config: &Config) -> Vec<Result<String, Box<dyn Error>>> {
    let checked = match app::check_issuers(config, &Clock::system()) {
        Ok(checked) => checked,
        Err(error) => return vec![Err(error.into())],
    };
    let mut lines = vec![Ok(String::new())];
    for one in checked {
        let name = one.name;
        match one.keys {
            Ok((keys, faults)) => {
                // A key that cannot be used here is not an error of the issuer, but an operator who
                // misses it should see why.
                let left_out = faults.iter().map(|fault| format!("; ignored: {fault}"));
                let left_out: String = left_out.collect();
                lines.push(Ok(note(format!("`{name}`, usable keys: {keys}{left_out}"))));
            }
            Err(error) => lines.push(Err(format!("`{name}`: {error}").into())),
        }
    }
    lines
}

fn note(text: impl Display) -> String {
    format!(": {text}")
}
