//! `migrate`: applies pending migrations.

use tn_authority::app;
use tn_authority::config::Config;
use tn_authority::store::Store;

use super::output::say;
use super::{Exit, Outcome};

pub fn run(config: &Config) -> Outcome {
    let applied = Store::migrate(&app::database_url(config)?)?;
    if applied.is_empty() {
        say!("the schema is up to date");
    }
    for name in applied {
        say!("applied {name}");
    }
    Ok(Exit::SUCCESS)
}
