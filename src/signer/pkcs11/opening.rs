//! Bounds the time in which a key is opened. A call into a module cannot be interrupted: its thread
//! is left behind, and the module is not called again until that thread has returned.
//!
//! A module that hangs while it is loaded ends the process: the loader of the system is locked, and
//! no thread can start or end.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use crate::signer::error::{HsmError, SignerError};

/// The modules in which a thread has been left behind, with the number of these threads.
static SILENT: Mutex<BTreeMap<PathBuf, usize>> = Mutex::new(BTreeMap::new());

/// Long enough to wait for, so that the waiting thread has all that it needs to wait again.
const SHORT: Duration = Duration::from_millis(1);

/// Whether a module is being loaded at this moment.
#[derive(Debug, Clone, Default)]
pub(super) struct ModuleLoading(Arc<AtomicBool>);

impl ModuleLoading {
    /// Does `work`, which loads a module.
    pub(super) fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        self.0.store(true, Ordering::SeqCst);
        let done = work();
        self.0.store(false, Ordering::SeqCst);
        done
    }
}

/// Runs `work`, which calls the module, in a thread of its own.
///
/// # Errors
/// [`HsmError::Silent`] if it takes longer than `most`, or an earlier call has not returned yet.
pub(super) fn within<T: Send + 'static>(
    module: &Path,
    most: Duration,
    work: impl FnOnce(&ModuleLoading) -> Result<T, SignerError> + Send + 'static,
) -> Result<T, SignerError> {
    let silent = || HsmError::Silent {
        module: module.to_owned(),
        seconds: most.as_secs(),
    };
    if SILENT.lock().contains_key(module) {
        return Err(silent().into());
    }
    let (sender, answer) = sync_channel(1);
    let (begin, may_begin) = sync_channel::<()>(1);
    let loading = ModuleLoading::default();
    let is_loading = loading.clone();
    let is_late = Arc::new(AtomicBool::new(false));
    let (was_late, name) = (Arc::clone(&is_late), module.to_owned());
    let run = move || {
        if may_begin.recv().is_err() {
            return;
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| work(&loading)));
        let panicked = |_| Err(HsmError::Device("it panicked".to_owned()).into());
        let outcome = outcome.unwrap_or_else(panicked);
        let mut silent = SILENT.lock();
        if was_late.load(Ordering::SeqCst) {
            release(&mut silent, &name);
        }
        // No one waits for it if it is late.
        let _ = sender.send(outcome);
    };
    let started = thread::Builder::new()
        .name("hsm-open".to_owned())
        .spawn(run);
    started.map_err(|e| HsmError::Device(format!("cannot start a thread: {e}")))?;
    // The first wait of a thread registers a destructor at the loader, which may be locked later.
    let _ = answer.recv_timeout(SHORT);
    let _ = begin.send(());
    if let Ok(outcome) = answer.recv_timeout(most) {
        return outcome;
    }
    if is_loading.0.load(Ordering::SeqCst) {
        end_the_process(&silent());
    }
    // The thread sends under this lock, so it has either answered or will find that it is late.
    let mut known = SILENT.lock();
    if let Ok(outcome) = answer.try_recv() {
        return outcome;
    }
    is_late.store(true, Ordering::SeqCst);
    *known.entry(module.to_owned()).or_default() += 1;
    Err(silent().into())
}

/// Says why, and ends the process without the exit handlers of libraries, as the commands end.
fn end_the_process(error: &HsmError) -> ! {
    let why = format!("error: {error}; nothing else can go on while a library is loaded\n");
    // Nor the log, which may want a thread.
    let _ = io::stderr().write_all(why.as_bytes());
    signal_hook::low_level::exit(1)
}

fn release(silent: &mut BTreeMap<PathBuf, usize>, module: &Path) {
    if let Some(threads) = silent.get_mut(module) {
        *threads -= 1;
        if *threads == 0 {
            silent.remove(module);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Instant;

    use super::*;

    const SOON: Duration = Duration::from_millis(50);
    const LATE: Duration = Duration::from_secs(30);

    #[test]
    fn a_module_that_hangs_is_left_alone_until_it_answers() {
        let module = Path::new("/hangs.so");
        let (answer, hanging) = channel::<()>();
        let hangs = move |_: &ModuleLoading| {
            let _ = hanging.recv();
            Ok(1)
        };
        let error = within(module, SOON, hangs).expect_err("it hangs");
        assert!(
            error.to_string().contains("`/hangs.so` has not answered"),
            "{error}"
        );
        let start = Instant::now();
        let not_called =
            |_: &ModuleLoading| -> Result<u8, SignerError> { panic!("it is called again") };
        let again = within(module, LATE, not_called).expect_err("it hangs");
        assert!(again.to_string().contains("has not answered"), "{again}");
        assert!(start.elapsed() < LATE, "it is not waited for again");
        assert!(within(Path::new("/other.so"), LATE, |_| Ok(2)).is_ok());
        answer.send(()).expect("the thread");
        let start = Instant::now();
        while within(module, LATE, |_| Ok(3)).is_err() {
            assert!(start.elapsed() < LATE, "it answers again");
            thread::yield_now();
        }
    }

    #[test]
    fn a_panic_is_an_error() {
        let module = Path::new("/panics.so");
        let panics = |_: &ModuleLoading| -> Result<u8, SignerError> { panic!("as a test") };
        let error = within(module, LATE, panics).expect_err("a panic");
        assert!(error.to_string().contains("it panicked"), "{error}");
        assert!(within(module, LATE, |_| Ok(1)).is_ok());
    }
}
