//! `control`: proofs that an account controls its numbers.

use clap::Subcommand;
use tn_authority::app;
use tn_authority::authority::{Confirmation, NewControlProofs, Page};
use tn_authority::config::Config;
use tn_authority::domain::clock::rfc3339;
use tn_authority::domain::control::channel::Channel;
use tn_authority::domain::control::codes::ControlCode;
use tn_authority::domain::control::proof::{ControlProof, Method};
use tn_authority::domain::text::for_people::text_for_people;
use tn_authority::domain::{AccountId, Clock, Fingerprint, Time, Tn};
use uuid::Uuid;

use super::output::say;
use super::{Exit, Outcome, command_line_caller};

/// Prove that an account controls its numbers: each number gets a code, which has to come back.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Send a code to each number. The service that is running sends it.
    #[command(after_help = "\
Example:
  tn-authority control start acme +12125551001 --method sms")]
    Start {
        /// The account that the numbers are delegated to.
        account: AccountId,
        /// Numbers, such as `+12125551001`; at most 100.
        #[arg(required = true)]
        numbers: Vec<Tn>,
        /// How they are reached: sms, voice or sip.
        #[arg(long)]
        method: Method,
        /// The fingerprint of the ACME account key whose tokens the proofs are for. Required for
        /// `sip`, where that key signs the answer; without it, a proof is for every key.
        #[arg(long)]
        fingerprint: Option<Fingerprint>,
        /// Supersede pending proofs of the numbers, and pass the limits of the account, for this
        /// reason, which the audit trail keeps. Those of the gateway hold.
        #[arg(long, value_name = "REASON", value_parser = text_for_people)]
        override_limits: Option<String>,
    },
    /// Return the code that a number got. Exits with 1 if it is not accepted.
    Confirm {
        /// The id of the proof.
        #[arg(value_parser = proof_id)]
        id: Uuid,
        /// The digits that the number got.
        code: String,
    },
    /// Cancel a proof whose code can still come back, so that the number can be asked anew.
    Cancel {
        /// The id of the proof.
        #[arg(value_parser = proof_id)]
        id: Uuid,
    },
    /// List the proofs of an account, oldest first.
    List {
        /// The account that the numbers are delegated to, by its id.
        account: AccountId,
    },
    /// Show one proof.
    Show {
        /// The id of the proof.
        #[arg(value_parser = proof_id)]
        id: Uuid,
    },
}

fn proof_id(text: &str) -> Result<Uuid, &'static str> {
    text.parse().map_err(|_| {
        "the id of a proof is a UUID, such as `01a21c4d-28a1-7c53-b3c1-5d2f9be0a1c7`; `control list` shows the ids of \
         an account's proofs"
    })
}

pub fn run(command: Command, config: &Config) -> Outcome {
    let service = app::open(config, &Clock::system())?;
    let (authority, by) = (&service.authority, command_line_caller());
    match command {
        Command::Start {
            account,
            numbers,
            method,
            fingerprint,
            override_limits,
        } => {
            let channel = Channel::new(method, fingerprint)
                .map_err(|why| format!("`--fingerprint` {why}"))?;
            let new = NewControlProofs {
                account,
                numbers,
                channel,
                renewal: None,
            };
            let started = match override_limits {
                Some(reason) => {
                    app::block_on(authority.start_control_over_limits(&by, new, reason))?
                }
                None => app::block_on(authority.start_control(&by, new))?,
            };
            for proof in started {
                print(&proof, authority.now())?;
            }
        }
        Command::Confirm { id, code } => {
            let code = ControlCode::entered(&code).ok_or("a code has 6 to 8 digits")?;
            let proof = authority.proof_to_confirm(&by, id)?;
            let confirmed = authority.confirm_control(&by, &proof, code);
            match app::block_on(confirmed)? {
                Confirmation::Confirmed(proof) => print(&proof, authority.now())?,
                Confirmation::Refused(refused) => {
                    say!("no: {refused}");
                    return Ok(Exit::FAILURE);
                }
            }
        }
        Command::Cancel { id } => {
            let proof = app::block_on(authority.cancel_control(&by, id))?;
            print(&proof, authority.now())?;
        }
        Command::List { account } => {
            let mut next = None;
            loop {
                let page = Page::new(Page::MAX_LIMIT, next);
                let found = authority.control_proofs(&by, &account, &page)?;
                for proof in &found.items {
                    print(proof, authority.now())?;
                }
                next = found.next;
                if next.is_none() {
                    break;
                }
            }
        }
        Command::Show { id } => {
            let proof = authority.control_proof(&by, id)?;
            print(&proof, authority.now())?;
        }
    }
    Ok(Exit::SUCCESS)
}

fn print(proof: &ControlProof, now: Time) -> std::io::Result<()> {
    say!(
        "proof {}: {} of {} by {}, {}",
        proof.id,
        proof.number,
        proof.account,
        proof.method,
        proof.state(now)
    );
    let gateway = &proof.gateway;
    say!(
        "  started {} by {}, over {gateway}, until {}",
        rfc3339(&proof.started_at),
        proof.started_by,
        rfc3339(&proof.expires_at)
    );
    if let Some(sent) = &proof.sent_at {
        say!("  sent {}", rfc3339(sent));
    }
    if let Some(failure) = &proof.failure {
        say!("  not sent: {failure}");
    }
    if let Some(confirmed) = &proof.confirmed {
        let (at, by) = (rfc3339(&confirmed.at), &confirmed.by);
        say!("  confirmed {at} by {by}");
    }
    if let Some((at, reason)) = &proof.end {
        say!("  ends {}: {reason}", rfc3339(at));
    }
    Ok(())
}
