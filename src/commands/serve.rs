//! `serve`: runs the service.

use std::sync::Arc;

use tn_authority::app;
use tn_authority::config::Config;
use tn_authority::domain::Clock;

use super::{Exit, Outcome};

/// Runs until SIGTERM or SIGINT. Then it accepts no more requests, finishes those in progress,
/// stops the imports, and drains the writer.
pub fn run(config: &Config) -> Outcome {
    for warning in Config::environment_warnings() {
        log::warn!("{warning}");
    }
    let missing = app::database_url(config)?.missing_file()?;
    let service = match app::open_with_signer(config, &Clock::system()) {
        Ok(service) => service,
        Err(error) if error.is_refused_pin() => {
            super::report(&error);
            return Ok(Exit::PIN_REFUSED);
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(path) = missing {
        log::warn!("created a new database: `{}`", path.display());
    }
    app::block_on(async {
        let service = Arc::new(service);
        let running = app::start(Arc::clone(&service), config)?;
        let (address, operations) = (running.address, running.operations);
        log::info!(address:%, operations:%, public_url = config.server.public_url.as_str(); "serving");
        running.wait().await?;
        service.jobs.stop();
        log::info!("stopped");
        Ok(Exit::SUCCESS)
    })
}
