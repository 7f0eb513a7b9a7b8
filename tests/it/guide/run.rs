//! Runs a page as a reader would who pastes every block into one terminal.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use regex::Regex;
use tempfile::TempDir;

use super::page::{Block, blocks};
use super::{ROOT, expected};
use crate::support::peers::{libraries, peer};
use crate::support::{keep_text, kill_group};

const EXECUTABLE: &str = env!("CARGO_BIN_EXE_tn-authority");

/// How long a page may take. Each takes seconds; the rest is for a machine that is busy.
const TIME: Duration = Duration::from_secs(300);

/// Runs the blocks of a page, and compares what they print with what the page shows.
///
/// # Panics
/// If a command fails, or prints something else.
pub fn run(path: &str) {
    let text = fs::read_to_string(Path::new(ROOT).join(path)).expect("the page");
    let blocks = blocks(&text);
    let place = Place::new(&blocks);
    let outcome = place.run(&blocks);
    place.keep_logs();
    if let Err(complaint) = outcome.and_then(|()| place.compare(&blocks)) {
        panic!("{path}:{complaint}");
    }
}

/// Where a page is run.
struct Place {
    dir: TempDir,
    /// The ports that the page names, each with a free one.
    ports: Vec<(String, String)>,
}

impl Place {
    fn new(blocks: &[Block]) -> Self {
        let dir = TempDir::new().expect("a folder");
        let place = Self {
            dir,
            ports: free_ports(blocks),
        };
        for folder in ["tmp", "sources", "output"] {
            fs::create_dir(place.path(folder)).expect("a folder");
        }
        // A page starts in the folder of the sources. What it writes there is not written into them.
        for entry in fs::read_dir(ROOT).expect("the sources") {
            let name = entry.expect("an entry").file_name();
            if name != "target" && name != ".git" {
                let link = place.path("sources").join(&name);
                symlink(Path::new(ROOT).join(&name), link).expect("a link");
            }
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What the page calls `/tmp/`.
    fn tmp(&self) -> String {
        format!("{}/", self.path("tmp").display())
    }

    /// Runs all blocks in one shell.
    fn run(&self, blocks: &[Block]) -> Result<(), String> {
        let script = self.path("script");
        fs::write(&script, self.script(blocks)).expect("the script");
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail"]).arg(&script);
        self.set_environment(&mut command, blocks);
        let mut shell = Shell::start(command.current_dir(self.path("sources")));
        let complaint = match shell.wait() {
            Some(true) => return Ok(()),
            Some(false) => "a command failed, or did not fail although it should",
            None => "it takes too long",
        };
        drop(shell);
        let last = (0..blocks.len()).rfind(|&n| self.output_file(n).exists());
        let last = last.unwrap_or_default();
        Err(self.complaint(last, &blocks[last], complaint))
    }

    fn script(&self, blocks: &[Block]) -> String {
        let mut script = String::new();
        for (n, block) in blocks.iter().enumerate() {
            let commands = self.substituted(&block.commands);
            let output = self.output_file(n);
            let _ = writeln!(script, "exec >'{}' 2>&1", output.display());
            if block.fails {
                let _ = writeln!(script, "set +e\n{commands}\n[ $? != 0 ] || exit 1\nset -e");
            } else {
                let _ = writeln!(script, "{commands}");
            }
        }
        // The last block may end with an `until` or a pipe, whose status is not the page's.
        script.push_str("exit 0\n");
        script
    }

    fn set_environment(&self, command: &mut Command, blocks: &[Block]) {
        let built = Path::new(EXECUTABLE).parent().expect("a folder");
        let mut path = std::env::var("PATH").unwrap_or_default();
        if blocks
            .iter()
            .any(|block| block.commands.contains("bearerbox"))
        {
            let folder = peer("kannel");
            let kannel = folder.display();
            path = format!("{path}:{kannel}/usr/sbin:{kannel}/usr/lib/kannel/test");
            command.env("LD_LIBRARY_PATH", libraries(&folder));
        }
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TN_AUTHORITY__") {
                command.env_remove(name);
            }
        }
        command
            .env("PATH", format!("{}:{path}", built.display()))
            .env("no_proxy", "localhost,127.0.0.1")
            .env_remove("RUST_LOG");
        // The service's own defaults: the page need not name them in a configuration.
        let port = |default| self.ports.iter().find(|(shown, _)| shown == default);
        if let Some((_, port)) = port("8443") {
            command.env("TN_AUTHORITY__SERVER__LISTEN", format!("127.0.0.1:{port}"));
        }
        let operations = port("9090").map_or("0", |(_, port)| port);
        command.env(
            "TN_AUTHORITY__OPERATIONS__LISTEN",
            format!("127.0.0.1:{operations}"),
        );
    }

    fn substituted(&self, commands: &str) -> String {
        let mut commands = commands.replace("/tmp/", &self.tmp());
        for (shown, port) in &self.ports {
            let shown = Regex::new(&format!(r"\b{shown}\b")).expect("a pattern");
            commands = shown.replace_all(&commands, port).into_owned();
        }
        commands
    }

    fn output_file(&self, block: usize) -> PathBuf {
        self.path("output").join(block.to_string())
    }

    /// What a block has printed, with the names that the page uses.
    fn printed(&self, block: usize) -> String {
        let printed = fs::read(self.output_file(block)).unwrap_or_default();
        String::from_utf8_lossy(&printed).replace(&self.tmp(), "/tmp/")
    }

    fn compare(&self, blocks: &[Block]) -> Result<(), String> {
        for (n, block) in blocks.iter().enumerate() {
            if let Some(shown) = &block.expected {
                expected::compare(shown, &self.printed(n))
                    .map_err(|difference| self.complaint(n, block, &difference))?;
            }
        }
        Ok(())
    }

    fn complaint(&self, n: usize, block: &Block, complaint: &str) -> String {
        format!(
            "{}: {complaint}\n-- commands\n{}-- printed\n{}",
            block.line,
            block.commands,
            self.printed(n)
        )
    }

    /// The logs of services, which must be free of secrets.
    fn keep_logs(&self) {
        let mut folders = vec![self.path("tmp")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "log") {
                    let log = fs::read(path).expect("a log");
                    keep_text(&String::from_utf8_lossy(&log));
                }
            }
        }
    }
}

/// A free port for each port of this machine that the commands name.
fn free_ports(blocks: &[Block]) -> Vec<(String, String)> {
    let named = Regex::new(r"\b(?:127\.0\.0\.1|localhost):(\d{4,5})\b").expect("a pattern");
    let shown: BTreeSet<String> = blocks
        .iter()
        .flat_map(|block| named.captures_iter(&block.commands))
        .map(|found| found[1].to_owned())
        .collect();
    // All are taken until all are known, so that none is given twice.
    let listeners: Vec<_> = shown
        .iter()
        .map(|_| TcpListener::bind("127.0.0.1:0").expect("a port"))
        .collect();
    let free = listeners
        .iter()
        .map(|listener| listener.local_addr().expect("an address").port());
    shown
        .into_iter()
        .zip(free.map(|port| port.to_string()))
        .collect()
}

/// A shell in a process group of its own, which is killed at the end with all that it has started.
struct Shell(Child);

impl Shell {
    fn start(command: &mut Command) -> Self {
        command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self(command.spawn().expect("bash"))
    }

    /// Whether it ended well; `None` if it did not end in time.
    fn wait(&mut self) -> Option<bool> {
        let end = Instant::now() + TIME;
        while Instant::now() < end {
            if let Some(status) = self.0.try_wait().expect("the state of the shell") {
                return Some(status.success());
            }
            thread::sleep(Duration::from_millis(50));
        }
        None
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        kill_group(&self.0);
        let _ = self.0.wait();
    }
}
