//! `serve`: runs the service.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tn_authority::app::{self, Opened, Signals, Supervisor};
use tn_authority::config::Config;
use tn_authority::domain::Clock;

use super::{Exit, Outcome};

/// How long what follows the last request may take when the service stops.
const REST: Duration = Duration::from_secs(5);

/// Runs until SIGTERM or SIGINT. Then it accepts no more requests, finishes those in progress,
/// stops the imports, and drains the writer.
pub fn run(config: &Config, signals: &Signals) -> Outcome {
    for warning in Config::environment_warnings() {
        log::warn!("{warning}");
    }
    let supervisor = Arc::new(Supervisor::from_environment()?);
    let opened = app::database_url(config).and_then(|url| {
        let missing = url.missing_file()?;
        let opened = app::open_when_reachable(config, &Clock::system(), (&supervisor, signals))?;
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
        log::info!("stopped before it was ready");
        return Ok(Exit::SUCCESS);
    };
    if let Some(path) = missing {
        log::warn!("created a new database: `{}`", path.display());
    }
    app::block_on(async {
        let service = Arc::new(service);
        let below = (&supervisor, signals.clone());
        let running = app::start_on(listeners, Arc::clone(&service), config, below)?;
        let (address, operations) = (running.address, running.operations);
        log::info!(address:%, operations:%, public_url = config.server.public_url.as_str(); "serving");
        let stopping = Arc::clone(&supervisor);
        let at_most = Duration::from_secs(config.server.shutdown_timeout) + REST;
        signals.when_stopped(async move {
            stopping.stops(at_most);
            thread::spawn(move || leave_after(at_most));
        })?;
        running.wait().await?;
        service.jobs.stop();
        log::info!("stopped");
        Ok(Exit::SUCCESS)
    })
}

/// Ends the process, even if a thread still waits for a database that is silent. What was answered
/// is committed, and what was not committed is undone by the database.
fn leave_after(at_most: Duration) {
    thread::sleep(at_most);
    log::error!(
        "stopped after {} s, though not everything has ended: the database is silent, or an import goes on",
        at_most.as_secs()
    );
    Exit::FAILURE.leave()
}
