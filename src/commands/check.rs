//! `check`: says what is wrong before `serve` would.

use std::error::Error;
use std::fmt::Display;
use std::process::ExitCode;

use tn_authority::app;
use tn_authority::config::Config;
use tn_authority::domain::Clock;
use tn_authority::store::Store;

use super::Outcome;

/// The configuration itself was read before; here is what it points to. Changes nothing.
#[expect(clippy::unnecessary_wraps, reason = "all commands end the same way")]
pub fn run(config: &Config) -> Outcome {
    println!("ok      configuration");
    let mut sound = true;
    let mut line = |what: &str, result: Result<String, Box<dyn Error>>| match result {
        Ok(detail) => println!("ok      {what}{detail}"),
        Err(error) => {
            sound = false;
            println!("FAILED  {what}: {error}");
        }
    };
    line("database and schema", database(config));
    line(
        "policies",
        app::open_policy(config)
            .map(|_| String::new())
            .map_err(Into::into),
    );
    line("signing key and chain", signer(config));
    line(
        "API key secret",
        app::check_secret(config)
            .map(|()| String::new())
            .map_err(Into::into),
    );
    line(
        "TLS",
        app::check_listener(config).map(note).map_err(Into::into),
    );
    Ok(if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn database(config: &Config) -> Result<String, Box<dyn Error>> {
    Store::check(&app::database_url(config)?)?;
    Ok(String::new())
}

fn signer(config: &Config) -> Result<String, Box<dyn Error>> {
    let signer = app::open_signer(config, &Clock::system())?;
    let certificate = signer.certificate();
    Ok(note(format!(
        "`{}`, valid until {}",
        certificate.subject(),
        signer.authority_ends()
    )))
}

fn note(text: impl Display) -> String {
    format!(": {text}")
}
