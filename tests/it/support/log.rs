//! What is logged while the tests run, in one file, so that `tests/secrets` can look for what must not be in it.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use log::kv::{Error, Key, Value, VisitSource};
use log::{LevelFilter, Log, Metadata, Record};
use parking_lot::Mutex;

/// Names the file. Without it nothing is kept.
const FILE: &str = "TN_AUTHORITY_TEST_LOG";

/// From now on all that this process logs is kept: of the service everything, of libraries from `debug` on.
pub fn keep_log() {
    static KEPT: OnceLock<Option<Kept>> = OnceLock::new();
    static SET: OnceLock<()> = OnceLock::new();
    if let Some(kept) = KEPT.get_or_init(|| file().map(|file| Kept(Mutex::new(file)))) {
        SET.get_or_init(|| {
            log::set_logger(kept).expect("no other logger");
            log::set_max_level(LevelFilter::Trace);
        });
    }
}

fn file() -> Option<File> {
    let path = std::env::var_os(FILE)?;
    let file = OpenOptions::new().append(true).create(true).open(path);
    Some(file.expect(FILE))
}

struct Kept(Mutex<File>);

impl Log for Kept {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("tn_authority") || metadata.level() <= LevelFilter::Debug
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut line = format!("{} {}: {}", record.level(), record.target(), record.args());
        let _ = record.key_values().visit(&mut Pairs(&mut line));
        line.push('\n');
        let mut file = self.0.lock();
        file.write_all(line.as_bytes()).expect("a line of the log");
    }

    fn flush(&self) {}
}

struct Pairs<'a>(&'a mut String);

impl<'kvs> VisitSource<'kvs> for Pairs<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let _ = write!(self.0, " {key}={value}");
        Ok(())
    }
}

/// How much is kept so far.
pub fn kept_so_far() -> u64 {
    file().map_or(0, |file| file.metadata().expect("the log").len())
}

/// What is kept since; nothing, if nothing is kept at all.
pub fn kept_since(start: u64) -> String {
    let Some(path) = std::env::var_os(FILE) else {
        return String::new();
    };
    let all = std::fs::read(path).expect("the log");
    let start = usize::try_from(start).expect("a length");
    String::from_utf8_lossy(all.get(start..).unwrap_or_default()).into_owned()
}

/// What the tests start: the log of a process is kept as well. What a command prints on standard output is shown to whoever
/// asked for it, such as a new key, and is not a log.
pub trait Logged {
    /// Runs to its end.
    fn logged_output(&mut self) -> Output;
    /// Lets a service log all that it may, and keeps it.
    fn logging(&mut self) -> &mut Self;
}

/// Keeps what a process has logged elsewhere.
pub fn keep_text(text: &str) {
    if let Some(mut file) = file() {
        file.write_all(text.as_bytes()).expect("the log");
    }
}

impl Logged for Command {
    fn logged_output(&mut self) -> Output {
        let output = self.output().expect("the command");
        keep_text(&String::from_utf8_lossy(&output.stderr));
        output
    }

    fn logging(&mut self) -> &mut Self {
        let log = file().map_or_else(Stdio::null, Stdio::from);
        self.env("RUST_LOG", "debug").stderr(log)
    }
}
