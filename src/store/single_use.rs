//! Connections that are used once: by a command, or for one question about the server.
//!
//! libpq has a timeout for the login, and none for what follows it. A server, or something in front
//! of it, that lets a connection in and then answers nothing would keep a command waiting for ever.

use std::sync::mpsc::channel;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use super::connection::AnyConnection;
use super::connector::{ConnectFailure, DatabaseConnector, IfMissing};
use super::database_url::DatabaseUrl;

/// How long an attempt may take: several hosts, each with the timeout of a login.
const LONGEST: Duration = Duration::from_secs(30);
/// The most attempts that hang at the same time, in a service that asks again and again.
const MAX_HANGING: usize = 4;

/// The attempts that were given up. Nothing in this process can interrupt them: they end when the
/// server answers, or its connection ends.
static HANGING: Mutex<Vec<Weak<()>>> = Mutex::new(Vec::new());

impl DatabaseUrl {
    /// Opens a connection that is used once.
    pub(super) fn connect(&self, if_missing: IfMissing) -> Result<AnyConnection, ConnectFailure> {
        let connector = DatabaseConnector::for_command(self);
        match self {
            Self::Sqlite(_) => connector.connect(if_missing),
            Self::Postgres(_) => connect_in_time(connector, if_missing, LONGEST),
        }
    }
}

fn connect_in_time(
    connector: DatabaseConnector,
    if_missing: IfMissing,
    longest: Duration,
) -> Result<AnyConnection, ConnectFailure> {
    let silent = || ConnectFailure::because("it lets connections in, and answers nothing");
    let mut hanging = HANGING.lock();
    hanging.retain(|attempt| attempt.strong_count() > 0);
    if hanging.len() >= MAX_HANGING {
        return Err(silent());
    }
    drop(hanging);
    let attempt = Arc::new(());
    let noted = Arc::downgrade(&attempt);
    let (sender, receiver) = channel();
    let connect = move || {
        // One that comes too late is closed.
        let _ = sender.send(connector.connect(if_missing));
        drop(attempt);
    };
    let thread = thread::Builder::new().name("connect".to_owned());
    thread
        .spawn(connect)
        .map_err(|error| ConnectFailure::because(&error))?;
    receiver.recv_timeout(longest).unwrap_or_else(|_| {
        HANGING.lock().push(noted);
        Err(silent())
    })
}
