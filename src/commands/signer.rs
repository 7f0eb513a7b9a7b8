//! `signer`: the certificate chains of the signing keys, and keys that must not sign any more.

use clap::Subcommand;
use tn_authority::app;
use tn_authority::config::Config;
use tn_authority::domain::Clock;
use tn_authority::domain::clock::rfc3339;
use tn_authority::domain::signing::certificate::Certificate;
use tn_authority::domain::text::for_people::text_for_people;

use super::output::say;
use super::{Exit, Outcome, command_line_caller, counted};

/// List the certificate chains of the signing keys, and distrust a key that others may have.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the chains that the service has published: state, chain, subject, end of validity.
    List,
    /// Distrust the key of a chain permanently, such as a stolen one: nothing is signed with it any
    /// more, and all its grants are withdrawn.
    ///
    /// It applies to every certificate of the key, at once, on all replicas, and cannot be undone.
    /// Safe to repeat.
    #[command(after_help = "\
Example:
  tn-authority signer distrust d11f08dd.. --reason 'laptop with the key was stolen'")]
    Distrust {
        /// The chain, as `signer list` and `GET /v1/signers` show it: 64 hex digits.
        chain: String,
        /// Why, for the audit trail.
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: String,
    },
}

pub fn run(command: Command, config: &Config) -> Outcome {
    let service = app::open(config, &Clock::system())?;
    let caller = command_line_caller();
    match command {
        Command::List => {
            for (chain, state) in service.authority.recorded_chains(&caller)? {
                let subject = Certificate::first_from_pem(&chain.pem).map(|leaf| leaf.subject());
                say!(
                    "{} {} `{}`, valid until {}",
                    state.as_str(),
                    chain.name,
                    subject.unwrap_or_default(),
                    rfc3339(&chain.not_after)
                );
                if let Some(distrust) = &chain.distrust {
                    let at = rfc3339(&distrust.at);
                    say!("  distrusted since {at}: {}", distrust.reason);
                }
            }
        }
        Command::Distrust { chain, reason } => {
            let distrust = service.authority.distrust_chain(&caller, chain, reason);
            let done = app::block_on(distrust)?;
            let (key, exposure) = (done.row, done.outstanding_grants.exposure);
            let (at, reason) = (rfc3339(&key.distrust.at), &key.distrust.reason);
            for chain in &key.chains {
                say!("chain {chain} is distrusted since {at}: {reason}");
            }
            match exposure.until {
                None => say!("no token of it can be redeemed"),
                Some(until) => say!(
                    "tokens of it that a CA could still accept: {}, until {}; all are withdrawn",
                    counted(exposure.tokens),
                    rfc3339(&until)
                ),
            }
        }
    }
    Ok(Exit::SUCCESS)
}

fn reason(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("say why the key is distrusted".to_owned());
    }
    text_for_people(text).map_err(|error| error.to_string())
}
