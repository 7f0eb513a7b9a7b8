//! The nonces that wait to be returned. Any sender of a `MESSAGE` can fill the queue, so it is
//! bounded, a nonce is in it once, and one that waits for a retry occupies no thread.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use super::Nonce;

/// How many nonces wait to be returned. When there are more, none is taken, and the answer says so:
/// the authority sends it again, which it does not once it was accepted.
const MAX_WAITING: usize = 1_000;
/// How many nonces are remembered, so that a repetition is not returned again.
const MAX_KNOWN: usize = 4_096;

/// A nonce, and when it is to be returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QueuedNonce {
    pub nonce: Nonce,
    /// How often it was returned in vain.
    pub attempts: u32,
    due_at: Instant,
}

/// What became of a nonce that came in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Queued,
    /// It came before.
    Repeated,
    /// The queue is full.
    Refused,
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
        if self.known.contains(&nonce) {
            return Taken::Repeated;
        }
        if self.waiting.len() >= MAX_WAITING {
            return Taken::Refused;
        }
        self.known.insert(nonce.clone());
        self.order.push_back(nonce.clone());
        if self.order.len() > MAX_KNOWN
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.waiting.push_back(QueuedNonce {
            nonce,
            attempts: 0,
            due_at: now,
        });
        Taken::Queued
    }

    /// Keeps a nonce that was returned in vain for another attempt. It was accepted, so it is kept
    /// in any case: each thread has one at most.
    pub(super) fn retry(&mut self, queued: QueuedNonce, due_at: Instant) {
        self.waiting.push_back(QueuedNonce {
            attempts: queued.attempts + 1,
            due_at,
            ..queued
        });
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
        queue.retry(first, seconds(60));
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
    fn a_flood_is_refused_and_what_was_accepted_is_kept() {
        let (mut queue, now) = (NonceQueue::default(), Instant::now());
        for number in 0..MAX_WAITING {
            assert_eq!(queue.take(nonce(number), now), Taken::Queued);
        }
        let fresh = MAX_WAITING;
        assert_eq!(queue.take(nonce(fresh), now), Taken::Refused);
        assert_eq!(queue.take(nonce(0), now), Taken::Repeated);
        // One that is tried makes room, and is kept although another one has taken its place.
        let tried = next(&mut queue, now);
        assert_eq!(tried.nonce, nonce(0));
        // What was refused counts as new.
        assert_eq!(queue.take(nonce(fresh), now), Taken::Queued);
        queue.retry(tried, now);
        for number in 0..3 * MAX_KNOWN {
            assert_eq!(queue.take(nonce(10_000 + number), now), Taken::Refused);
        }
        assert_eq!(queue.waiting.len(), MAX_WAITING + 1);
        // However many have been returned.
        for number in 0..3 * MAX_KNOWN {
            next(&mut queue, now);
            next(&mut queue, now);
            queue.take(nonce(20_000 + 2 * number), now);
            queue.take(nonce(20_001 + 2 * number), now);
        }
        assert!(queue.known.len() <= MAX_KNOWN, "{}", queue.known.len());
        assert_eq!(queue.known.len(), queue.order.len());
    }
}
