//! What systemd is notified of (`Type=notify`): that the service is ready, stops, or is alive. The
//! watchdog is fed as long as the writer thread makes progress, not by a timer alone. A database
//! that is away does not stop the feeding: each wait for it is bounded, so the writer still goes
//! from one attempt to the next.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::authority::Authority;
use crate::store::WriterHealth;

/// How long the supervisor waits for the next notice while the service starts, and for the end of
/// the process after its own bound.
const SPARE: Duration = Duration::from_secs(10);

/// The supervisor of this process. Without one, nothing is sent.
#[derive(Debug, Default)]
pub struct Supervisor {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// Within this time, it has to be fed.
    watchdog: Option<Duration>,
    said: Mutex<Said>,
}

/// What the supervisor has been notified of.
#[derive(Debug, Default)]
struct Said {
    ready: bool,
    stopping: bool,
    status: String,
}

impl Supervisor {
    /// The supervisor that the environment names, as `sd_notify(3)` describes.
    ///
    /// # Errors
    /// If the socket cannot be used.
    pub fn from_environment() -> io::Result<Self> {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Ok(Self::default());
        };
        let of_another = |pid: String| pid != std::process::id().to_string();
        let watchdog = match env::var("WATCHDOG_PID") {
            Ok(pid) if of_another(pid.clone()) => None,
            Ok(_) | Err(_) => env::var("WATCHDOG_USEC").ok(),
        };
        let watchdog = watchdog.and_then(|micros| micros.parse().ok());
        Self::at(
            name.as_encoded_bytes(),
            watchdog
                .filter(|micros| *micros > 0)
                .map(Duration::from_micros),
        )
    }

    /// The supervisor at a socket: a path, or `@` and the name of an abstract socket.
    ///
    /// # Errors
    /// If the socket cannot be used.
    pub fn at(name: &[u8], watchdog: Option<Duration>) -> io::Result<Self> {
        let address = match name.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(String::from_utf8_lossy(name).as_ref())?,
        };
        let socket = UnixDatagram::unbound()?;
        // A supervisor that reads nothing must not stop the service.
        socket.set_write_timeout(Some(Duration::from_millis(100)))?;
        Ok(Self {
            socket: Some((socket, address)),
            watchdog,
            said: Mutex::default(),
        })
    }

    /// The service waits for the database at its start, for this long at most.
    pub fn waits(&self, at_most: Duration) {
        let micros = at_most.as_micros();
        self.status("waiting for the database");
        self.send(&format!("EXTEND_TIMEOUT_USEC={micros}\nWATCHDOG=1"));
    }

    /// The service finishes the requests in progress, and ends after this time at the latest.
    pub fn stops(&self, at_most: Duration) {
        self.said.lock().stopping = true;
        let micros = (at_most + SPARE).as_micros();
        self.send(&format!(
            "STOPPING=1\nSTATUS=finishing the requests in progress\nEXTEND_TIMEOUT_USEC={micros}"
        ));
    }

    /// Says what has changed, and feeds the watchdog if the writer makes progress. To be called
    /// every second.
    pub(super) fn watch(&self, authority: &Authority) {
        if self.socket.is_none() {
            return;
        }
        let report = authority.readiness();
        let stopping = self.said.lock().stopping;
        if !stopping {
            if report.is_ready() {
                self.ready_once();
                self.status("ready");
            } else {
                // Without details, which change every second.
                let failing = report.checks.iter().filter(|one| one.failure.is_some());
                let names: Vec<&str> = failing.map(|one| one.check.as_str()).collect();
                self.status(&format!("not ready: {}", names.join(", ")));
            }
        }
        let writes = authority.store().is_writing();
        if writes {
            self.extend_start();
        }
        if self.is_to_be_fed(writes, authority.writer_health(), Instant::now()) {
            self.send("WATCHDOG=1");
        }
    }

    /// Whether the watchdog is to be fed: not if the writer thread has ended, or does not get out
    /// of one step.
    fn is_to_be_fed(&self, is_alive: bool, writer: WriterHealth, now: Instant) -> bool {
        let Some(watchdog) = self.watchdog else {
            return false;
        };
        let step = writer
            .step_since
            .map(|at| now.saturating_duration_since(at));
        is_alive && step.is_none_or(|step| step < watchdog / 2)
    }

    /// A replica that is not ready yet serves `/certs/` all the same, so it is not to be killed for
    /// starting too slowly: what it waits for can take long, such as a standby.
    fn extend_start(&self) {
        let said = self.said.lock();
        if !said.ready && !said.stopping {
            drop(said);
            self.send(&format!("EXTEND_TIMEOUT_USEC={}", SPARE.as_micros()));
        }
    }

    fn ready_once(&self) {
        let was_ready = std::mem::replace(&mut self.said.lock().ready, true);
        if !was_ready {
            self.send("READY=1");
        }
    }

    fn status(&self, status: &str) {
        let mut said = self.said.lock();
        if said.status != status {
            status.clone_into(&mut said.status);
            drop(said);
            self.send(&format!("STATUS={status}"));
        }
    }

    fn send(&self, message: &str) {
        let Some((socket, address)) = &self.socket else {
            return;
        };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), address) {
            log::debug!("the supervisor cannot be notified: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn abstract_socket(name: &str) -> (UnixDatagram, Supervisor) {
        let name = format!("tn-authority-{name}-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("an address");
        let socket = UnixDatagram::bind_addr(&address).expect("a socket");
        let timeout = Some(Duration::from_secs(10));
        socket.set_read_timeout(timeout).expect("a timeout");
        let watchdog = Some(Duration::from_secs(300));
        let supervisor = Supervisor::at(format!("@{name}").as_bytes(), watchdog);
        (socket, supervisor.expect("a supervisor"))
    }

    fn received(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 512];
        let length = socket.recv(&mut bytes).expect("a message");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    #[test]
    fn the_supervisor_is_notified_once_of_each_change() {
        let (socket, supervisor) = abstract_socket("changes");
        supervisor.waits(Duration::from_secs(90));
        supervisor.extend_start();
        supervisor.ready_once();
        supervisor.extend_start();
        supervisor.status("ready");
        supervisor.ready_once();
        supervisor.status("ready");
        supervisor.stops(Duration::from_secs(25));
        supervisor.extend_start();
        for expected in [
            "STATUS=waiting for the database",
            "EXTEND_TIMEOUT_USEC=90000000\nWATCHDOG=1",
            "EXTEND_TIMEOUT_USEC=10000000",
            "READY=1",
            "STATUS=ready",
            "STOPPING=1\nSTATUS=finishing the requests in progress\nEXTEND_TIMEOUT_USEC=35000000",
        ] {
            assert_eq!(received(&socket), expected);
        }
        socket.set_nonblocking(true).expect("no wait");
        assert!(socket.recv(&mut [0; 512]).is_err(), "no more");
    }

    #[test]
    fn the_watchdog_is_fed_unless_the_writer_hangs() {
        let (_socket, supervisor) = abstract_socket("watchdog");
        let start = Instant::now();
        let mut writer = WriterHealth {
            last_commit: None,
            blocked_since: None,
            connected: true,
            step_since: None,
        };
        let later = start + Duration::from_secs(3_600);
        assert!(supervisor.is_to_be_fed(true, writer, later));
        assert!(!supervisor.is_to_be_fed(false, writer, later));
        // The database has been away for an hour, and the writer tries once more.
        (writer.blocked_since, writer.connected) = (Some(start), false);
        writer.step_since = Some(later);
        assert!(supervisor.is_to_be_fed(true, writer, later));
        // It does not come out of this attempt.
        let hung = later + Duration::from_secs(150);
        assert!(!supervisor.is_to_be_fed(true, writer, hung));
        assert!(!Supervisor::default().is_to_be_fed(true, writer, later));
    }
}
