//! `serve`: runs the service.

use std::sync::Arc;

use tn_authority::app::{self, Opened, Supervisor};
use tn_authority::config::Config;
use tn_authority::domain::Clock;

use super::{Exit, Outcome};

/// Runs until SIGTERM or SIGINT. Then it accepts no more requests, finishes those in progress,
/// stops the imports, and drains the writer.
pub fn run(config: &Config) -> Outcome {
    for warning in Config::environment_warnings() {
        log::warn!("{warning}");
    }
    let supervisor = Arc::new(Supervisor::from_environment()?);
    let opened = app::database_url(config).and_then(|url| {
        let missing = url.missing_file()?;
        let opened = app::open_when_reachable(config, &Clock::system(), &supervisor)?;
        Ok((missing, opened))
    });
    let (missing, opened) = match opened {
        Ok(opened) => opened,
        Err(error) if error.is_refused_pin() => {
            super::report(&error);
            return Ok(Exit::PIN_REFUSED);
        }
        Err(error) if error.is_configuration() => {
            super::report(&error);
            return Ok(Exit::CONFIGURATION);
        }
        Err(error) => return Err(error.into()),
    };
    let Some(Opened { service, listeners }) = opened else {
        log::info!("stopped while it waited for the database");
        return Ok(Exit::SUCCESS);
    };
    if let Some(path) = missing {
        log::warn!("created a new database: `{}`", path.display());
    }
    app::block_on(async {
        let service = Arc::new(service);
        let running = app::start_on(listeners, Arc::clone(&service), config, &supervisor)?;
        let (address, operations) = (running.address, running.operations);
        log::info!(address:%, operations:%, public_url = config.server.public_url.as_str(); "serving");
        let stopping = Arc::clone(&supervisor);
        app::at_termination(async move { stopping.stops() })?;
        running.wait().await?;
        service.jobs.stop();
        log::info!("stopped");
        Ok(Exit::SUCCESS)
    })
}
