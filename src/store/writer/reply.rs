//! The answer of a job. It is given once: by the writer, or, when the request has waited for too
//! long, in place of the writer.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::super::error::StoreError;

/// Where the answer of a job goes.
#[derive(Debug)]
pub(super) struct Reply<T, E>(Arc<AnswerSlot<T, E>>);

type AnswerSlot<T, E> = Mutex<Option<oneshot::Sender<Result<T, E>>>>;

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
        let slot: Weak<AnswerSlot<T, E>> = Arc::downgrade(&self.0);
        slot
    }
}

/// An answer that can be given without knowing what it is an answer to.
pub(super) trait Overdue: Send + Sync {
    /// Answers that the database is not available.
    fn answer(&self);
}

impl<T, E> Overdue for AnswerSlot<T, E>
where
    T: Send,
    E: From<StoreError> + Send,
{
    fn answer(&self) {
        if let Some(sender) = self.lock().take() {
            let _ = sender.send(Err(StoreError::no_answer().into()));
        }
    }
}

/// The jobs that wait for an answer, in the order in which they have to have one.
#[derive(Default)]
pub(super) struct Deadlines(Mutex<OverdueQueue>);

#[derive(Default)]
struct OverdueQueue {
    /// By the deadline; the number tells those of one instant apart.
    jobs: BTreeMap<(Instant, u64), Weak<dyn Overdue>>,
    next: u64,
}

impl std::fmt::Debug for Deadlines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let waiting = self.0.lock().jobs.len();
        f.debug_tuple("Deadlines").field(&waiting).finish()
    }
}

impl Deadlines {
    pub(super) fn add(&self, at: Instant, reply: Weak<dyn Overdue>) {
        let mut waiting = self.0.lock();
        // Most are answered long before.
        while let Some(first) = waiting.jobs.first_entry()
            && first.get().strong_count() == 0
        {
            first.remove();
        }
        let number = waiting.next;
        waiting.next += 1;
        waiting.jobs.insert((at, number), reply);
    }

    /// Answers those that are overdue.
    pub(super) fn answer_until(&self, now: Instant) {
        loop {
            let mut waiting = self.0.lock();
            let first = waiting.jobs.first_entry();
            let Some(due) = first.filter(|first| first.key().0 <= now) else {
                return;
            };
            let reply = due.remove();
            drop(waiting);
            if let Some(reply) = reply.upgrade() {
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
        let (overdue, mut first_answer) = Reply::<u32, StoreError>::new();
        let (done, mut second_answer) = Reply::<u32, StoreError>::new();
        let (patient, mut last_answer) = Reply::<u32, StoreError>::new();
        deadlines.add(start + second * 2, patient.overdue());
        deadlines.add(start + second, overdue.overdue());
        deadlines.add(start + second, done.overdue());
        done.send(Ok(5));
        deadlines.answer_until(start + second);
        assert_eq!(first_answer.try_recv(), Ok(Err(StoreError::no_answer())));
        assert_eq!(second_answer.try_recv(), Ok(Ok(5)));
        assert!(last_answer.try_recv().is_err());
        assert!(overdue.is_answered() && !patient.is_answered());
        overdue.send(Ok(6));
        deadlines.answer_until(start + second * 2);
        assert_eq!(last_answer.try_recv(), Ok(Err(StoreError::no_answer())));
    }
}
