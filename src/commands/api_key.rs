//! `api-key`: what callers prove themselves with.

use std::io::{self, Write as _};

use clap::Subcommand;
use tn_authority::app;
use tn_authority::authority::Page;
use tn_authority::callers::{DEFAULT_OVERLAP, MAX_OVERLAP, NewApiKey, ShownApiKey};
use tn_authority::config::Config;
use tn_authority::domain::accounts::account::text_for_people;
use tn_authority::domain::clock::{parse_time, rfc3339};
use tn_authority::domain::credentials::api_key::ApiKey;
use tn_authority::domain::{AccountId, Clock, Network, Role, Time};

use super::output::say;
use super::{Exit, Outcome, at_the_command_line};

/// Keep API keys.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a key and print it: the only time that it is shown.
    Create(Create),
    /// List the keys, without their secrets: id, state, role, accounts, and what else there is to say.
    List,
    /// Give a key another secret and print it: the only time that it is shown. The old one works for a while.
    Rotate {
        /// The id of the key: the part behind `tna_`.
        id: String,
        /// For how many seconds the old secret works beside the new one; 0 ends it at once.
        #[arg(long, default_value_t = DEFAULT_OVERLAP, value_parser = clap::value_parser!(u32).range(..=i64::from(MAX_OVERLAP)))]
        overlap: u32,
    },
    /// Say when a key ends.
    Expire {
        /// The id of the key: the part behind `tna_`.
        id: String,
        /// The first second at which it no longer works, as 2027-01-31T00:00:00Z.
        #[arg(long, value_parser = parse_time)]
        at: Time,
    },
    /// Make a key useless from now on.
    Revoke {
        /// The id of the key: the part behind `tna_`.
        id: String,
    },
}

/// What a key is to be.
#[derive(Debug, clap::Args)]
pub struct Create {
    /// admin, provisioner, portal, account, auditor or renewer.
    #[arg(long)]
    role: Role,
    /// The account of a key with role `account`; for `portal`, one of its accounts (repeat it for more); for
    /// `provisioner` and `auditor`, the reseller that the key is for: it then keeps the reseller's customers, and sees
    /// nothing else.
    #[arg(long = "account")]
    accounts: Vec<AccountId>,
    /// What the key is for.
    #[arg(long, default_value = "", value_parser = text_for_people)]
    label: String,
    /// The first second at which it no longer works, as 2027-01-31T00:00:00Z; without it, no end is known.
    #[arg(long, value_parser = parse_time)]
    expires_at: Option<Time>,
    /// A network that it works from, as 192.0.2.0/24 (repeat it for more); from anywhere, if none is named.
    #[arg(long = "allow-from")]
    allow_from: Vec<Network>,
}

pub fn run(command: Command, config: &Config) -> Outcome {
    let service = app::open(config, &Clock::system())?;
    let (keys, by) = (service.callers.api_keys(), at_the_command_line());
    match command {
        Command::Create(create) => {
            let new = NewApiKey {
                role: create.role,
                accounts: create.accounts,
                label: create.label,
                expires_at: create.expires_at,
                allow_from: create.allow_from,
            };
            show(&app::block_on(keys.create(&by, new))?)?;
        }
        Command::List => {
            let (now, mut next) = (service.authority.now(), None);
            loop {
                let page = keys.list(&by, &Page::new(Page::MAX_LIMIT, next))?;
                for key in &page.items {
                    say!("{}", line(key, now));
                }
                next = page.next;
                if next.is_none() {
                    break;
                }
            }
        }
        Command::Rotate { id, overlap } => {
            show(&app::block_on(keys.rotate(&by, &id, overlap))?)?;
        }
        Command::Expire { id, at } => {
            app::block_on(keys.expire(&by, &id, at))?;
            say!("expires at {}", rfc3339(&at));
        }
        Command::Revoke { id } => {
            app::block_on(keys.revoke(&by, &id))?;
            say!("revoked");
        }
    }
    Ok(Exit::SUCCESS)
}

/// Shows a key, which is the only time. If that fails, somebody has to know that there is a secret that nobody has.
fn show(made: &ShownApiKey) -> Result<(), String> {
    writeln!(io::stdout(), "{}", made.key).map_err(|error| {
        let id = &made.kept.id;
        format!(
            "the secret of API key {id} could not be shown ({error}): rotate the key, or revoke it"
        )
    })
}

/// A key on one line, for people and for `grep`.
fn line(key: &ApiKey, now: Time) -> String {
    let accounts: Vec<&str> = key.accounts.iter().map(AccountId::as_str).collect();
    let networks: Vec<String> = key.allow_from.iter().map(ToString::to_string).collect();
    let times = [
        ("created", Some(key.created_at)),
        ("expires", key.validity.expires_at),
        ("revoked", key.validity.revoked_at),
        ("rotated", key.rotated_at),
        ("used", key.last_used_at),
    ];
    let mut words = vec![
        key.id.clone(),
        key.state(now).as_str().to_owned(),
        key.role.to_string(),
    ];
    if !accounts.is_empty() {
        words.push(format!("for {}", accounts.join(",")));
    }
    if !networks.is_empty() {
        words.push(format!("from {}", networks.join(",")));
    }
    let known = times
        .iter()
        .filter_map(|(what, time)| Some((what, time.as_ref()?)));
    words.extend(known.map(|(what, time)| format!("{what} {}", rfc3339(time))));
    if !key.label.is_empty() {
        words.push(format!("({})", key.label));
    }
    words.join(" ")
}
