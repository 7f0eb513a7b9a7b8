//! The background threads of the service: which of them have ended, and how often their work
//! failed. The service is not ready once one has ended that should be running.

use std::collections::BTreeSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use prometheus::{IntCounterVec, IntGaugeVec, Registry};

use super::TelemetryError;
use super::metrics::{counters, gauges};

/// All background tasks of one service.
#[derive(Debug, Clone)]
pub struct BackgroundTasks(Arc<TaskStates>);

#[derive(Debug)]
struct TaskStates {
    running: IntGaugeVec,
    failures: IntCounterVec,
    ended: Mutex<BTreeSet<&'static str>>,
    stopping: AtomicBool,
}

/// A task that should be running. If it is dropped other than by [`RunningTask::stop`], the task
/// has ended by a fault, which is logged, and the service is no longer ready.
#[derive(Debug)]
pub struct RunningTask {
    name: &'static str,
    tasks: BackgroundTasks,
}

impl BackgroundTasks {
    pub(super) fn new(registry: &Registry) -> Result<Self, TelemetryError> {
        Ok(Self(Arc::new(TaskStates {
            running: gauges(
                registry,
                "background_tasks_running",
                "Threads of background work that are running, by task.",
                &["task"],
            )?,
            failures: counters(
                registry,
                "background_failures_total",
                "Runs of background work that failed or panicked, by task. Each is tried again.",
                &["task"],
            )?,
            ended: Mutex::default(),
            stopping: AtomicBool::new(false),
        })))
    }

    /// Registers a task. `name` is one of a fixed set; several threads can have the same one.
    #[must_use]
    pub fn start(&self, name: &'static str) -> RunningTask {
        self.0.running.with_label_values(&[name]).inc();
        // A rate cannot be computed for a series that begins at one.
        self.0.failures.with_label_values(&[name]);
        RunningTask {
            name,
            tasks: self.clone(),
        }
    }

    /// The tasks that have ended, and should not have.
    #[must_use]
    pub fn ended(&self) -> Vec<&'static str> {
        self.0.ended.lock().iter().copied().collect()
    }

    /// From now on, tasks end because the service stops.
    pub fn service_stops(&self) {
        self.0.stopping.store(true, Ordering::SeqCst);
    }
}

impl RunningTask {
    /// Does some work of the task. A panic is counted, and ends the work only; `None` then.
    pub fn attempt<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        // What the work leaves behind is used again: no lock of this crate is poisoned by a panic,
        // and an open transaction is rolled back with its connection.
        let done = catch_unwind(AssertUnwindSafe(work)).ok();
        if done.is_none() {
            // The panic hook has logged where and why.
            self.failed(&"it panicked");
        }
        done
    }

    /// Logs and counts work that failed. The task continues, and tries again.
    pub fn failed(&self, why: &dyn fmt::Display) {
        let failures = &self.tasks.0.failures;
        failures.with_label_values(&[self.name]).inc();
        log::warn!(task = self.name; "background work failed, and will be tried again: {why}");
    }

    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The task ends because it is no longer needed.
    pub fn stop(self) {
        self.leave();
        std::mem::forget(self);
    }

    fn leave(&self) {
        self.tasks.0.running.with_label_values(&[self.name]).dec();
    }
}

impl Drop for RunningTask {
    fn drop(&mut self) {
        self.leave();
        if !self.tasks.0.stopping.load(Ordering::SeqCst) {
            self.tasks.0.ended.lock().insert(self.name);
            log::error!(task = self.name; "a background task has ended; restart the service");
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::telemetry::Metrics;

    #[test]
    fn a_task_that_ends_is_named_unless_it_was_stopped() {
        let metrics = Metrics::new().expect("metrics");
        let tasks = &metrics.background;
        let (writer, jobs) = (tasks.start("writer"), tasks.start("jobs"));
        let senders = [(); 2].map(|()| tasks.start("webhooks"));
        assert_eq!(writer.attempt(|| 5), Some(5));
        jobs.stop();
        drop(senders);
        assert_eq!(tasks.ended(), ["webhooks"]);
        let text = metrics.render().expect("text");
        for line in [
            "tn_authority_background_tasks_running{task=\"writer\"} 1",
            "tn_authority_background_tasks_running{task=\"jobs\"} 0",
            "tn_authority_background_failures_total{task=\"jobs\"} 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}: {text}");
        }
        tasks.service_stops();
        drop(writer);
        assert_eq!(tasks.ended(), ["webhooks"]);
    }

    #[test]
    fn a_panic_ends_the_work_and_not_the_task() {
        let metrics = Metrics::new().expect("metrics");
        let task = metrics.background.start("policies");
        assert_eq!(task.attempt(|| panic!("no file descriptors")), None::<()>);
        assert_eq!(task.attempt(|| 1), Some(1));
        task.failed(&"the folder is gone");
        assert_eq!(metrics.background.ended(), [""; 0]);
        let text = metrics.render().expect("text");
        let line = "tn_authority_background_failures_total{task=\"policies\"} 2";
        assert!(text.lines().any(|l| l == line), "{text}");
    }
}
