//! The nonces that wait to be returned. Any sender of a `MESSAGE` can fill the queue, so it is
//! bounded, a nonce is in it once, and one that waits for a retry occupies no thread.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use super::Nonce;

/// How many nonces wait to be returned. When there are more, the oldest is dropped: it is the
/// first to expire, and the authority sends it again if it is still needed.
const MAX_WAITING: usize = 1_000;
/// How many nonces are remembered, so that a repetition is not returned again.
const MAX_KNOWN: usize = 4_096;

/// A nonce, and when it is to be returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QueuedNonce {
    pub nonce: Nonce,
    /// How often it was returned in vain.
    pub attempts: u32,
    received_at: Instant,
    due_at: Instant,
}

/// What became of a nonce that came in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Queued,
    /// It came before.
    Repeated,
    /// The queue was full, so its oldest nonce was dropped.
    Displaced(Nonce),
}

/// What a thread does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NextNonce {
    Return(QueuedNonce),
    /// Nothing is due, and nothing will be for this time; `None`: nothing waits.
    Wait(Option<Duration>),
}

#[derive(Debug, Default)]
pub(super) struct NonceQueue {
    waiting: VecDeque<QueuedNonce>,
    known: HashSet<Nonce>,
    /// Those that are known, in the order in which they came.
    order: VecDeque<Nonce>,
}

impl NonceQueue {
    /// Takes a nonce that came in `now`.
    pub(super) fn take(&mut self, nonce: Nonce, now: Instant) -> Taken {
        if !self.known.insert(nonce.clone()) {
            return Taken::Repeated;
        }
        self.order.push_back(nonce.clone());
        if self.order.len() > MAX_KNOWN
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        let dropped = self.put(QueuedNonce {
            nonce,
            attempts: 0,
            received_at: now,
            due_at: now,
        });
        dropped.map_or(Taken::Queued, Taken::Displaced)
    }

    /// Keeps a nonce that was returned in vain for another attempt. Returns the nonce that was
    /// dropped for it, which can be this one.
    pub(super) fn retry(&mut self, queued: QueuedNonce, due_at: Instant) -> Option<Nonce> {
        self.put(QueuedNonce {
            attempts: queued.attempts + 1,
            due_at,
            ..queued
        })
    }

    /// A nonce is not returned any more. If it is received later, it counts as new.
    pub(super) fn forget(&mut self, nonce: &Nonce) {
        if self.known.remove(nonce) {
            self.order.retain(|one| one != nonce);
        }
    }

    /// The nonce that has been due for the longest time.
    pub(super) fn next(&mut self, now: Instant) -> NextNonce {
        let first = self.waiting.iter().enumerate();
        let first = first.min_by_key(|(_, queued)| queued.due_at);
        let Some((at, queued)) = first else {
            return NextNonce::Wait(None);
        };
        let wait = queued.due_at.saturating_duration_since(now);
        if !wait.is_zero() {
            return NextNonce::Wait(Some(wait));
        }
        let due = self.waiting.remove(at);
        due.map_or(NextNonce::Wait(None), NextNonce::Return)
    }

    fn put(&mut self, queued: QueuedNonce) -> Option<Nonce> {
        self.waiting.push_back(queued);
        if self.waiting.len() <= MAX_WAITING {
            return None;
        }
        let oldest = self.waiting.iter().enumerate();
        let (at, _) = oldest.min_by_key(|(_, queued)| queued.received_at)?;
        let dropped = self.waiting.remove(at)?.nonce;
        self.forget(&dropped);
        Some(dropped)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn nonce(number: usize) -> Nonce {
        Nonce {
            proof: Uuid::from_u128(number as u128),
            nonce: format!("nonce-{number}"),
        }
    }

    fn next(queue: &mut NonceQueue, now: Instant) -> QueuedNonce {
        match queue.next(now) {
            NextNonce::Return(queued) => queued,
            NextNonce::Wait(wait) => panic!("nothing is due: {wait:?}"),
        }
    }

    #[test]
    fn a_nonce_that_waits_for_a_retry_delays_no_other() {
        let (mut queue, now) = (NonceQueue::default(), Instant::now());
        let seconds = |n| now + Duration::from_secs(n);
        assert_eq!(queue.take(nonce(1), now), Taken::Queued);
        let first = next(&mut queue, now);
        assert_eq!(queue.retry(first, seconds(60)), None);
        assert_eq!(queue.take(nonce(2), seconds(1)), Taken::Queued);
        assert_eq!(next(&mut queue, seconds(1)).nonce, nonce(2));
        let wait = Some(Duration::from_secs(59));
        assert_eq!(queue.next(seconds(1)), NextNonce::Wait(wait));
        let again = next(&mut queue, seconds(60));
        assert_eq!((again.nonce, again.attempts), (nonce(1), 1));
        assert_eq!(queue.next(seconds(60)), NextNonce::Wait(None));
    }

    #[test]
    fn a_nonce_is_returned_once_unless_it_was_given_up() {
        let (mut queue, now) = (NonceQueue::default(), Instant::now());
        assert_eq!(queue.take(nonce(1), now), Taken::Queued);
        assert_eq!(queue.take(nonce(1), now), Taken::Repeated);
        let _ = next(&mut queue, now);
        assert_eq!(queue.take(nonce(1), now), Taken::Repeated);
        queue.forget(&nonce(1));
        assert_eq!(queue.take(nonce(1), now), Taken::Queued);
    }

    #[test]
    fn a_flood_displaces_the_oldest_and_fills_no_memory() {
        let (mut queue, start) = (NonceQueue::default(), Instant::now());
        for number in 0..MAX_WAITING {
            let now = start + Duration::from_millis(number as u64);
            assert_eq!(queue.take(nonce(number), now), Taken::Queued);
        }
        let now = start + Duration::from_secs(10);
        let fresh = MAX_WAITING;
        assert_eq!(queue.take(nonce(fresh), now), Taken::Displaced(nonce(0)));
        // What was dropped counts as new.
        assert_eq!(queue.take(nonce(0), now), Taken::Displaced(nonce(1)));
        // One that was tried is older than those that came meanwhile.
        let tried = next(&mut queue, now);
        assert_eq!(tried.nonce, nonce(2));
        queue.take(nonce(fresh + 1), now);
        assert_eq!(queue.retry(tried, now), Some(nonce(2)));
        for number in 0..3 * MAX_KNOWN {
            queue.take(nonce(10_000 + number), now);
        }
        assert_eq!(queue.waiting.len(), MAX_WAITING);
        assert!(queue.known.len() <= MAX_KNOWN, "{}", queue.known.len());
        assert_eq!(queue.known.len(), queue.order.len());
    }
}
