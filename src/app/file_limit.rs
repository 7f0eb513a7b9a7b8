//! The limit of open files: raised as far as the system allows, and held against what the
//! configuration can need, so that clients that only connect cannot use up all file descriptors.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::HttpError;
use crate::config::Config;
use crate::webhooks::SENDERS;

/// Connections to the operations listener that are open at the same time.
pub(super) const OPERATIONS_CONNECTIONS: usize = 64;

/// Files of one database connection: with SQLite, the database, its log, and spare ones.
const FILES_PER_DATABASE_CONNECTION: u64 = 4;
/// Files of one HTTP thread: its event queue and what wakes it.
const FILES_PER_WORKER: u64 = 4;
/// Everything else: standard streams, listeners, files that are being read, key sets that are
/// fetched, and the devices of a hardware security module.
const OTHER_FILES: u64 = 64;

/// Raises the soft limit to the hard one.
pub(super) fn raise() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        log::warn!("the limit of open files cannot be raised: {error}");
    }
}

/// How many connections of clients can be open at the same time: those that are configured, or
/// fewer if the limit of open files does not allow so many.
///
/// # Errors
/// [`HttpError::FewFiles`] if not even one connection for each thread is left.
pub(super) fn connections(config: &Config, workers: usize) -> Result<usize, HttpError> {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let configured = config.server.max_connections;
    let needed = needed(config, workers);
    let allowed = allowed(limit, needed, workers)?.min(configured);
    if allowed < configured {
        log::warn!(
            "`server.max_connections` is {configured}, but at most {limit} files can be open, of which {needed} are kept \
             for other purposes: serving at most {allowed} connections; raise the limit (`ulimit -n`, `LimitNOFILE`) to \
             {}, or lower `server.max_connections`",
            needed.saturating_add(count(configured)),
        );
    }
    Ok(allowed)
}

fn allowed(limit: u64, needed: u64, workers: usize) -> Result<usize, HttpError> {
    let left = limit.saturating_sub(needed);
    match usize::try_from(left).unwrap_or(usize::MAX) {
        left if left < workers.max(1) => Err(HttpError::FewFiles { limit, needed }),
        left => Ok(left),
    }
}

/// The files that can be open at the same time, besides connections of clients.
fn needed(config: &Config, workers: usize) -> u64 {
    // One more each for the writer and for a migration or a reconnection.
    let databases = u64::from(config.database.pool_size) + 2;
    // A delivery has a connection, and a socket for the name of its host.
    let deliveries = 2 * u64::from(SENDERS);
    let gateways = config.control.gateways.values();
    // A connection and a socket for its name for each message; an SMPP session has its own runtime.
    let gateways = gateways.map(|gateway| 2 * u64::from(gateway.concurrency) + FILES_PER_WORKER);
    let gateways: u64 = gateways.sum();
    databases * FILES_PER_DATABASE_CONNECTION
        + count(workers) * FILES_PER_WORKER
        + count(config.imports.queue)
        + count(config.signer.pkcs11.sessions)
        + deliveries
        + gateways
        + count(OPERATIONS_CONNECTIONS)
        + OTHER_FILES
}

fn count(number: usize) -> u64 {
    number.try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_get_what_other_purposes_leave() {
        assert!(matches!(allowed(1024, 300, 2), Ok(724)));
        assert!(allowed(u64::MAX, 300, 2).is_ok());
        for limit in [0, 300, 301] {
            let refused = allowed(limit, 300, 2);
            assert!(matches!(
                refused,
                Err(HttpError::FewFiles { needed: 300, .. })
            ));
        }
    }

    #[test]
    fn the_defaults_fit_the_smallest_usual_limit() {
        let needed = needed(&Config::default(), 8);
        assert!((200..400).contains(&needed), "{needed}");
    }
}
