//! Programs of others that the tests run: what `tests/peers` fetches once.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::kill_group;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const EXECUTABLE: &str = env!("CARGO_BIN_EXE_tn-authority");

/// The folder of a program. A test that needs one fails where it cannot be had.
pub fn peer(name: &str) -> PathBuf {
    let target = Path::new(EXECUTABLE).ancestors().nth(2).expect("target");
    let fetched = Command::new(format!("{ROOT}/tests/peers"))
        .arg(name)
        .env("CARGO_TARGET_DIR", target)
        .output()
        .expect("tests/peers");
    assert!(
        fetched.status.success(),
        "{}",
        String::from_utf8_lossy(&fetched.stderr)
    );
    let printed = String::from_utf8(fetched.stdout).expect("a path");
    PathBuf::from(printed.trim_end())
}

/// Where the libraries of an unpacked program are, for `LD_LIBRARY_PATH`.
pub fn libraries(folder: &Path) -> String {
    let mut found = Vec::new();
    for lib in ["usr/lib", "lib"] {
        let Ok(entries) = std::fs::read_dir(folder.join(lib)) else {
            continue;
        };
        let paths = entries.map(|entry| entry.expect("an entry").path().display().to_string());
        found.extend(paths.filter(|path| path.ends_with("-linux-gnu")));
    }
    found.join(":")
}

/// A process that ends with the test, and whose words are in a file.
pub struct Peer {
    process: Child,
    log: PathBuf,
}

impl Peer {
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let file = std::fs::File::create(log).expect("a file");
        let process = command
            .stdin(Stdio::null())
            // What it starts ends with it.
            .process_group(0)
            .stderr(file.try_clone().expect("a file"))
            .stdout(file)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self {
            process,
            log: log.to_owned(),
        }
    }

    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).expect("a file")
    }

    /// Waits for something, for as long as the process runs.
    pub fn until<T>(&mut self, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            let ended = self.process.try_wait().expect("its state");
            let late = started.elapsed() > Duration::from_secs(60);
            assert!(ended.is_none() && !late, "{ended:?}: {}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until it listens.
    pub fn listens(&mut self, address: SocketAddr) {
        self.until(|_| TcpStream::connect(address).ok());
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        kill_group(&self.process);
        let _ = self.process.wait();
    }
}

/// A port of the loopback interface that is free now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}
