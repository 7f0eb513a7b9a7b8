//! `api-key`: creates, lists, rotates and revokes API keys.

use std::io::{self, Write as _};

use clap::Subcommand;
use tn_authority::app;
use tn_authority::authority::Page;
use tn_authority::callers::{ApiKeyName, DEFAULT_OVERLAP, MAX_OVERLAP, NewApiKey, ShownApiKey};
use tn_authority::config::Config;
use tn_authority::domain::clock::{parse_time, rfc3339};
use tn_authority::domain::credentials::api_key::ApiKey;
use tn_authority::domain::text::for_people::text_for_people;
use tn_authority::domain::{AccountId, Clock, Network, Role, Time};

use super::output::say;
use super::{Exit, Outcome, command_line_caller, open_or_create};

/// Create, list, rotate, expire and revoke the API keys of callers.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a key and print it. This is the only time that it is shown.
    Create(Create),
    /// List the keys without their secrets, one per line: id, state, role, accounts, networks,
    /// times and label.
    List,
    /// Give a key a new secret and print it. This is the only time that it is shown.
    ///
    /// The id stays, so the audit trail continues. The old secret works until the overlap ends.
    #[command(after_help = "\
Example:
  tn-authority api-key rotate 0123456789abcdef --overlap 3600")]
    Rotate {
        /// The id of the key: the 16 characters after `tna_`, without the secret.
        id: String,
        /// How long the old secret still works, in seconds, up to 2592000 (30 days); 0 ends it
        /// immediately.
        #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_OVERLAP, value_parser = clap::value_parser!(u32).range(..=i64::from(MAX_OVERLAP)))]
        overlap: u32,
    },
    /// Set the time at which a key expires.
    Expire {
        /// The id of the key: the 16 characters after `tna_`, without the secret.
        id: String,
        /// When the key stops working (RFC 3339), such as 2027-01-31T00:00:00Z.
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        at: Time,
    },
    /// Revoke a key immediately and permanently.
    Revoke {
        /// The id of the key: the 16 characters after `tna_`, without the secret.
        id: String,
    },
}

/// The properties of a new key.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tn-authority api-key create --role provisioner --label 'order system'
  tn-authority api-key create --role account --account acme --allow-from 192.0.2.0/24")]
pub struct Create {
    /// What the key allows: admin, provisioner, portal, account, auditor or renewer.
    #[arg(long)]
    role: Role,
    /// The account that the key is for: exactly one for `account` and `renewer`, one or more for
    /// `portal` (repeatable), none for `admin`. For `provisioner` and `auditor`, optionally a
    /// reseller, to whose customers the key is then limited.
    #[arg(long = "account", value_name = "ID")]
    accounts: Vec<AccountId>,
    /// A note on what the key is for, shown by `list`.
    #[arg(long, value_name = "TEXT", default_value = "", value_parser = text_for_people)]
    label: String,
    /// When the key stops working (RFC 3339), such as 2027-01-31T00:00:00Z. Default: never.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    expires_at: Option<Time>,
    /// A network that the key works from, such as 192.0.2.0/24 (repeatable). Default: any.
    #[arg(long = "allow-from", value_name = "NETWORK")]
    allow_from: Vec<Network>,
}

pub fn run(command: Command, config: &Config) -> Outcome {
    let service = match command {
        Command::Create(_) => open_or_create(config)?,
        Command::List
        | Command::Rotate { .. }
        | Command::Expire { .. }
        | Command::Revoke { .. } => app::open(config, &Clock::system())?,
    };
    let (keys, by) = (service.callers.api_keys(), command_line_caller());
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
            show(&app::block_on(keys.rotate(&by, &key_id(&id)?, overlap))?)?;
        }
        Command::Expire { id, at } => {
            app::block_on(keys.expire(&by, &key_id(&id)?, at))?;
            say!("expires at {}", rfc3339(&at));
        }
        Command::Revoke { id } => {
            app::block_on(keys.revoke(&by, &key_id(&id)?))?;
            say!("revoked");
        }
    }
    Ok(Exit::SUCCESS)
}

/// The id in what an operator gave as one: an id, or a whole key with its secret, which is the same
/// key. Not a `value_parser`, whose error would print the secret.
fn key_id(text: &str) -> Result<String, String> {
    let named = ApiKeyName::parse(text).ok_or(
        "that is no id of an API key: give the 16 characters after `tna_`, without the secret; \
         `api-key list` lists them",
    )?;
    if named.has_secret {
        eprintln!(
            "note: the id `{}` would have been enough; the secret of the key is in the history of this shell now",
            named.id
        );
    }
    Ok(named.id)
}

/// Shows a key, the only time. If that fails, the operator must learn that the secret is lost.
fn show(made: &ShownApiKey) -> Result<(), String> {
    writeln!(io::stdout(), "{}", made.key).map_err(|error| {
        let id = &made.kept.id;
        format!(
            "the secret of API key `{id}` could not be printed and is lost ({error}); rotate the key, or revoke it"
        )
    })
}

/// A key on one line, readable and easy to `grep`.
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
