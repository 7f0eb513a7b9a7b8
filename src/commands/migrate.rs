//! `migrate`: applies pending migrations.

use tn_authority::app;
use tn_authority::config::Config;
use tn_authority::store::Store;

use super::output::say;
use super::{Exit, Outcome, report_created};

pub fn run(config: &Config) -> Outcome {
    let url = app::migrate_url(config)?;
    let missing = url.missing_file()?;
    let applied = Store::migrate_within(&url, &app::database_timeouts(&config.database))?;
    report_created(missing.as_deref());
    if applied.is_empty() {
        say!("the schema is up to date");
    }
    for name in applied {
        say!("applied {name}");
    }
    Ok(Exit::SUCCESS)
}
