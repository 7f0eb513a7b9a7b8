//! What shows that tokens can be issued: the heartbeat, the state of the server while it fails, and
//! the supervisor of the process.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Periodic, PollProgress};
use crate::api::Service;
use crate::app::supervisor::Supervisor;
use crate::config::Config;
use crate::domain::Clock;
use crate::store::{DatabaseUrl, Store};
use crate::telemetry::RepeatedLine;

/// How often the row of this replica is written.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// The pause after a heartbeat that failed. Its failure took a while already.
const HEARTBEAT_RETRY: Duration = Duration::from_millis(250);
/// How often the server is asked for its state while nothing is committed.
const SERVER_INTERVAL: Duration = Duration::from_secs(5);
/// How often the supervisor is notified.
const SUPERVISOR_INTERVAL: Duration = Duration::from_secs(1);

pub(super) fn start(
    service: &Arc<Service>,
    config: &Config,
    supervisor: &Arc<Supervisor>,
    url: &DatabaseUrl,
) -> io::Result<Vec<Periodic>> {
    let tasks = &service.authority.metrics().background;
    let age = Duration::from_secs(config.server.ready_age.into());
    let authority = Arc::clone(&service.authority);
    let interval = HEARTBEAT_INTERVAL.min(age / 3);
    let failures = RepeatedLine::default();
    let heartbeat = Periodic::start(tasks.start("heartbeat"), interval, move |waiter, _| {
        let beaten = waiter.wait(authority.beat());
        // Logs and measures what has changed, also while no one asks.
        let _report = authority.readiness();
        Ok(match beaten {
            Ok(()) => PollProgress::Done,
            Err(error) => {
                if let Some(left_out) = failures.left_out(Instant::now()) {
                    log::warn!(left_out; "a heartbeat failed: {error}");
                }
                PollProgress::UnfinishedAfter(HEARTBEAT_RETRY)
            }
        })
    })?;
    let authority = Arc::clone(&service.authority);
    let readers = Periodic::start(tasks.start("readers"), interval, move |_, _| {
        authority.probe_readers(interval);
        Ok(PollProgress::Done)
    })?;
    let (authority, supervisor) = (Arc::clone(&service.authority), Arc::clone(supervisor));
    let watch = Periodic::start(
        tasks.start("supervisor"),
        SUPERVISOR_INTERVAL,
        move |_, _| {
            supervisor.watch(&authority);
            Ok(PollProgress::Done)
        },
    )?;
    let (authority, url) = (Arc::clone(&service.authority), url.clone());
    let server = Periodic::start(tasks.start("server-state"), SERVER_INTERVAL, move |_, _| {
        let committed = authority.writer_health().last_commit;
        // A server that was written to is no standby, and need not be asked.
        if committed.is_none_or(|at| at.elapsed() > SERVER_INTERVAL) {
            match Store::server_report(&url, &Clock::system()) {
                Ok(report) => {
                    authority.measure_recovery(report.is_some_and(|report| report.in_recovery));
                }
                Err(error) => log::debug!("the server cannot be asked: {error}"),
            }
        }
        Ok(PollProgress::Done)
    })?;
    Ok(vec![heartbeat, readers, watch, server])
}
