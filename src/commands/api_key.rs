//! `api-key`: what callers prove themselves with.

use std::process::ExitCode;

use clap::Subcommand;
use tn_authority::app;
use tn_authority::callers::NewApiKey;
use tn_authority::config::Config;
use tn_authority::domain::{AccountId, Clock, Role};

use super::Outcome;

/// Keep API keys.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a key and print it: the only time that it is shown.
    Create {
        /// admin, provisioner, portal, account or auditor.
        #[arg(long)]
        role: Role,
        /// The account of a key with role `account`; for `portal`, one of its accounts (repeat it for more); for
        /// `provisioner` and `auditor`, the reseller that the key is for: it then keeps the reseller's customers, and sees
        /// nothing else.
        #[arg(long = "account")]
        accounts: Vec<AccountId>,
        /// What the key is for.
        #[arg(long, default_value = "")]
        label: String,
    },
    /// Make a key useless from now on.
    Revoke {
        /// The id of the key: the part behind `tna_`.
        id: String,
    },
}

pub fn run(command: Command, config: &Config) -> Outcome {
    let service = app::open(config, &Clock::system())?;
    match command {
        Command::Create {
            role,
            accounts,
            label,
        } => {
            let new = NewApiKey {
                role,
                accounts,
                label,
            };
            println!("{}", app::block_on(service.callers.create(new))?.key);
        }
        Command::Revoke { id } => {
            if !app::block_on(service.callers.revoke(id))? {
                return Err("there is no such key that is not revoked yet".into());
            }
            println!("revoked");
        }
    }
    Ok(ExitCode::SUCCESS)
}
