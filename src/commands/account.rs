//! `account`: the parties that request tokens.

use clap::Subcommand;
use tn_authority::app;
use tn_authority::authority::NewAccount;
use tn_authority::config::Config;
use tn_authority::domain::text::for_people::text_for_people;
use tn_authority::domain::{AccountId, Dialect};

use super::output::say;
use super::{Exit, Outcome, command_line_caller, open_or_create};

/// Create and change accounts: enterprises and resellers.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create an account, or change its name or dialect. Safe to repeat.
    #[command(after_help = "\
Examples:
  tn-authority account create acme --name 'Acme, Inc.'
  tn-authority account create shop --parent reseller")]
    Create {
        /// The account's id, which is part of its token URL: 1 to 64 letters, digits, `.`, `_`, `~`
        /// or `-`.
        id: AccountId,
        /// The reseller whose customer the account is. Default: none; it is a customer of the
        /// carrier.
        #[arg(long, value_name = "ID")]
        parent: Option<AccountId>,
        /// A name for display.
        #[arg(long, value_name = "TEXT", value_parser = text_for_people)]
        name: Option<String>,
        /// How its requests are read: `strict` (RFC 9448; default for a new account), or `legacy`
        /// for clients of older authorities, which send padded base64 and the fingerprint of the
        /// SubjectPublicKeyInfo.
        #[arg(long)]
        dialect: Option<Dialect>,
    },
}

pub fn run(command: Command, config: &Config) -> Outcome {
    let service = open_or_create(config)?;
    match command {
        Command::Create {
            id,
            parent,
            name,
            dialect,
        } => {
            let caller = command_line_caller();
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
                if new { "created" } else { "exists" }
            );
        }
    }
    Ok(Exit::SUCCESS)
}
