//! The answer of a job. It is given once: by the writer, or, when the request has waited for too
//! long, in place of the writer.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::super::error::StoreError;

/// Where the answer of a job goes.
#[derive(Debug)]
pub(super) struct Reply<T, E>(Arc<ReplySlot<T, E>>);

type ReplySlot<T, E> = Mutex<Option<oneshot::Sender<Result<T, E>>>>;

impl<T, E> Reply<T, E> {
    pub(super) fn new() -> (Self, oneshot::Receiver<Result<T, E>>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Arc::new(Mutex::new(Some(sender)))), receiver)
    }

    /// Answers, unless there was an answer. The caller may have disconnected; what was committed
    /// stays.
    pub(super) fn send(self, answer: Result<T, E>) {
        if let Some(sender) = self.0.lock().take() {
            let _ = sender.send(answer);
        }
    }

    /// Whether the caller was told already that nothing is known of its request.
    pub(super) fn is_answered(&self) -> bool {
        self.0.lock().is_none()
    }
}

impl<T, E> Reply<T, E>
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    pub(super) fn overdue(&self) -> Weak<dyn Overdue> {
        let slot: Weak<ReplySlot<T, E>> = Arc::downgrade(&self.0);
        slot
    }
}

/// An answer that can be given without knowing what it is an answer to.
pub(super) trait Overdue: Send + Sync {
    /// Answers that the database is not available.
    fn answer(&self);
}

impl<T, E> Overdue for ReplySlot<T, E>
where
    T: Send,
    E: From<StoreError> + Send,
{
    fn answer(&self) {
        if let Some(sender) = self.lock().take() {
            let _ = sender.send(Err(StoreError::Busy.into()));
        }
    }
}

/// The jobs that wait for an answer, in the order in which they have to have one.
#[derive(Default)]
pub(super) struct Deadlines(Mutex<VecDeque<(Instant, Weak<dyn Overdue>)>>);

impl std::fmt::Debug for Deadlines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Deadlines")
            .field(&self.0.lock().len())
            .finish()
    }
}

impl Deadlines {
    pub(super) fn add(&self, at: Instant, reply: Weak<dyn Overdue>) {
        let mut waiting = self.0.lock();
        // Most are answered long before.
        while waiting
            .front()
            .is_some_and(|(_, first)| first.strong_count() == 0)
        {
            waiting.pop_front();
        }
        waiting.push_back((at, reply));
    }

    /// Answers those that are overdue.
    pub(super) fn answer_until(&self, now: Instant) {
        loop {
            let mut waiting = self.0.lock();
            if waiting.front().is_none_or(|(at, _)| *at > now) {
                return;
            }
            let reply = waiting.pop_front().map(|(_, reply)| reply);
            drop(waiting);
            if let Some(reply) = reply.and_then(|reply| reply.upgrade()) {
                reply.answer();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_request_that_is_overdue_is_answered_once_and_the_writer_learns_of_it() {
        let (deadlines, start) = (Deadlines::default(), Instant::now());
        let second = Duration::from_secs(1);
        let (late, mut late_answer) = Reply::<u32, StoreError>::new();
        let (done, mut done_answer) = Reply::<u32, StoreError>::new();
        let (later, mut later_answer) = Reply::<u32, StoreError>::new();
        deadlines.add(start + second, late.overdue());
        deadlines.add(start + second, done.overdue());
        deadlines.add(start + second * 2, later.overdue());
        done.send(Ok(5));
        deadlines.answer_until(start + second);
        assert_eq!(late_answer.try_recv(), Ok(Err(StoreError::Busy)));
        assert_eq!(done_answer.try_recv(), Ok(Ok(5)));
        assert!(later_answer.try_recv().is_err());
        assert!(late.is_answered() && !later.is_answered());
        late.send(Ok(6));
        deadlines.answer_until(start + second * 2);
        assert_eq!(later_answer.try_recv(), Ok(Err(StoreError::Busy)));
    }
}
