//! What the connection and the requests on it know about each other.

use std::cell::{Cell, RefCell};
use std::task::Waker;

/// Who is expected to act next on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The client: the head of a request is expected.
    Idle,
    /// The client: a handler has read all of the body that arrived, and waits for more.
    Body,
    /// The service: a request is processed, or its answer is not sent in full.
    Answering,
}

/// The stage of a connection. The connection reads only while the client is expected to act, so
/// requests that the client has pipelined wait in the system's bounded buffer, not in ours. Both
/// sides run in one task.
#[derive(Debug)]
pub(super) struct Flow {
    stage: Cell<Stage>,
    has_changed: Cell<bool>,
    /// Set while the connection has refused to read.
    reader: RefCell<Option<Waker>>,
}

impl Flow {
    pub(super) fn new() -> Self {
        Self {
            stage: Cell::new(Stage::Idle),
            has_changed: Cell::new(false),
            reader: RefCell::new(None),
        }
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage.get()
    }

    pub(super) fn enter(&self, stage: Stage) {
        if self.stage.replace(stage) != stage {
            self.has_changed.set(true);
            match stage {
                Stage::Idle | Stage::Body => self.wake_reader(),
                Stage::Answering => {}
            }
        }
    }

    /// Whether the stage has changed since the last call.
    pub(super) fn take_change(&self) -> bool {
        self.has_changed.take()
    }

    /// Calls the task again when reading is permitted.
    pub(super) fn read_later(&self, waker: &Waker) {
        self.reader.replace(Some(waker.clone()));
    }

    pub(super) fn wake_reader(&self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}
