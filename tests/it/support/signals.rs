//! Signals to processes, by the system call: a bare system has no program `kill`.

use std::process::Child;

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process, kill_process_group};

/// Sends a signal to a process that a test started and has not waited for.
#[track_caller]
pub fn send_signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("a signal");
}

/// Kills a process group, named by its first process. It may have ended already.
pub fn kill_group(leader: &Child) {
    let _ = kill_process_group(Pid::from_child(leader), Signal::KILL);
}
