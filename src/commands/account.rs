//! `account`: who asks for tokens.

use clap::Subcommand;
use tn_authority::app;
use tn_authority::authority::NewAccount;
use tn_authority::config::Config;
use tn_authority::domain::accounts::account::text_for_people;
use tn_authority::domain::{AccountId, Clock, Dialect};

use super::output::say;
use super::{Exit, Outcome, at_the_command_line};

/// Keep accounts: enterprises and resellers.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make an account, or give it another name or dialect. Can be repeated.
    Create {
        /// 1 to 64 letters, digits, `.`, `_`, `~` or `-`.
        id: AccountId,
        /// The reseller that the account is a customer of.
        #[arg(long)]
        parent: Option<AccountId>,
        /// A name for people.
        #[arg(long, value_parser = text_for_people)]
        name: Option<String>,
        /// How strictly its requests are read: `strict`, or `legacy` for the clients of older authorities, which write padded
        /// base64 and the fingerprint of the SubjectPublicKeyInfo.
        #[arg(long)]
        dialect: Option<Dialect>,
    },
}

pub fn run(command: Command, config: &Config) -> Outcome {
    let service = app::open(config, &Clock::system())?;
    match command {
        Command::Create {
            id,
            parent,
            name,
            dialect,
        } => {
            let caller = at_the_command_line();
            let new = NewAccount {
                name,
                parent,
                dialect,
            };
            let put = service.authority.put_account_as(&caller, id, new);
            let (account, new) = app::block_on(put)?;
            say!(
                "account {} {}",
                account.id,
                if new { "created" } else { "is there" }
            );
        }
    }
    Ok(Exit::SUCCESS)
}
