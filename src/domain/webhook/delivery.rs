//! Deliveries: one notification to a target, and when it is retried.

use chrono::TimeDelta;
use uuid::Uuid;

use super::EventKind;
use crate::domain::clock::Time;
use crate::domain::network::retry_after::RetryAfter;
use crate::domain::text::words::words;

/// The most attempts of one delivery.
const MAX_ATTEMPTS: i32 = 15;
/// How long a delivery is retried.
const MAX_AGE: TimeDelta = TimeDelta::hours(48);
/// Seconds until the second attempt. Each further wait is twice as long.
const FIRST_WAIT: i64 = 10;
/// The longest wait, in seconds.
const MAX_WAIT: i64 = 4 * 3_600;
/// The longest wait that a target can ask for.
const MAX_RETRY_AFTER: TimeDelta = TimeDelta::days(1);

/// The state of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    /// To be sent, or to be retried.
    Pending,
    /// Accepted by the target.
    Delivered,
    /// Given up.
    Dead,
}

words! {
    /// The name in the API and the database.
    impl FromStr, Serialize for DeliveryState {
        Pending = "pending",
        Delivered = "delivered",
        Dead = "dead",
    }
}

/// One notification to a target, with all of its attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Sent with each attempt, so that the target can detect duplicates.
    pub id: Uuid,
    pub webhook: Uuid,
    pub kind: EventKind,
    /// The sequence numbers of the feed that it covers, from `first` to `last`.
    pub first: i64,
    pub last: i64,
    pub items: i32,
    pub state: DeliveryState,
    pub attempts: i32,
    pub last_attempt_at: Option<Time>,
    pub last_status: Option<i32>,
    pub last_failure: Option<String>,
    pub replay_of: Option<Uuid>,
    pub created_at: Time,
    pub give_up_at: Time,
    pub finished_at: Option<Time>,
}

/// The outcome of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetAnswer {
    /// The target answered with this status, and with this `Retry-After`.
    Status(u16, Option<RetryAfter>),
    /// The target did not answer.
    Nothing(DeliveryFailure),
}

/// Why a target did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryFailure {
    /// Its address is internal, so nothing was sent.
    RefusedAddress,
    /// Its name has no address in the DNS.
    NoAddress,
    Timeout,
    /// The connection failed or broke.
    Connection,
    Tls,
    /// The answer was not HTTP.
    Protocol,
}

words! {
    /// The name in the delivery log.
    impl Display for DeliveryFailure {
        RefusedAddress = "refused-address",
        NoAddress = "no-address",
        Timeout = "timeout",
        Connection = "connection",
        Tls = "tls",
        Protocol = "protocol",
    }
}

impl Delivery {
    /// A new delivery, not sent yet.
    #[must_use]
    pub fn new(
        (id, webhook): (Uuid, Uuid),
        kind: EventKind,
        (first, last, items): (i64, i64, i32),
        now: Time,
    ) -> Self {
        Self {
            id,
            webhook,
            kind,
            first,
            last,
            items,
            state: DeliveryState::Pending,
            attempts: 0,
            last_attempt_at: None,
            last_status: None,
            last_failure: None,
            replay_of: None,
            created_at: now,
            give_up_at: now + MAX_AGE,
            finished_at: None,
        }
    }

    /// The delivery after an attempt, and when the target can be sent to again, unless that is at
    /// once. `jitter` is random: waits differ, so that targets that failed together are not retried
    /// together.
    ///
    /// A failed target can ask for a longer wait (RFC 9110 §10.2.3). It does not end the delivery:
    /// the last attempt is made when the delivery is given up.
    #[must_use]
    pub fn after(mut self, answer: TargetAnswer, jitter: u8, now: Time) -> (Self, Option<Time>) {
        self.attempts = self.attempts.saturating_add(1);
        self.last_attempt_at = Some(now);
        (self.last_status, self.last_failure) = match answer {
            TargetAnswer::Status(status @ 200..300, _) => (Some(status.into()), None),
            TargetAnswer::Status(status @ 300..400, _) => {
                (Some(status.into()), Some("redirect".to_owned()))
            }
            TargetAnswer::Status(status, _) => (Some(status.into()), Some("status".to_owned())),
            TargetAnswer::Nothing(failure) => (None, Some(failure.to_string())),
        };
        let asked = match answer {
            TargetAnswer::Status(_, retry_after) => retry_after,
            TargetAnswer::Nothing(_) => None,
        };
        let asked = asked.map(|retry_after| retry_after.instant(now, MAX_RETRY_AFTER));
        let again = now + self.wait(jitter);
        self.state = match answer {
            TargetAnswer::Status(200..300, _) => DeliveryState::Delivered,
            // 410 Gone: the target no longer wants notifications.
            TargetAnswer::Status(410, _) => DeliveryState::Dead,
            _ if self.attempts >= MAX_ATTEMPTS || again > self.give_up_at => DeliveryState::Dead,
            TargetAnswer::Status(..) | TargetAnswer::Nothing(_) => DeliveryState::Pending,
        };
        match self.state {
            DeliveryState::Pending => {
                let asked = asked.map_or(again, |asked| asked.min(self.give_up_at));
                (self, Some(again.max(asked)))
            }
            DeliveryState::Delivered => {
                self.finished_at = Some(now);
                (self, None)
            }
            DeliveryState::Dead => {
                self.finished_at = Some(now);
                // The next message must wait as well.
                (self, asked)
            }
        }
    }

    fn wait(&self, jitter: u8) -> TimeDelta {
        let doubled = u32::try_from(self.attempts - 1).unwrap_or(0).min(16);
        let wait = FIRST_WAIT.saturating_mul(1 << doubled).min(MAX_WAIT);
        // The jitter adds up to a quarter.
        TimeDelta::seconds(wait + wait * i64::from(jitter) / 1_024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::from_unix;

    fn at_time(now: Time) -> Delivery {
        let ids = (Uuid::nil(), Uuid::nil());
        Delivery::new(ids, EventKind::GrantsWithdrawn, (1, 2, 2), now)
    }

    #[test]
    fn waits_grow_and_end() {
        let mut now = from_unix(0);
        let mut delivery = at_time(now);
        let mut waits = Vec::new();
        loop {
            let (next, again) = delivery.after(TargetAnswer::Status(500, None), 0, now);
            delivery = next;
            let Some(again) = again else { break };
            waits.push((again - now).num_seconds());
            now = again;
        }
        assert_eq!(waits[..4], [10, 20, 40, 80]);
        assert_eq!(waits.iter().max(), Some(&MAX_WAIT));
        assert_eq!(delivery.attempts, MAX_ATTEMPTS);
        assert_eq!(
            (delivery.state, delivery.finished_at),
            (DeliveryState::Dead, Some(now))
        );
        assert!(now - from_unix(0) < MAX_AGE);
        let fresh = || at_time(from_unix(0));
        let waits = [0, 255].map(|jitter| {
            fresh()
                .after(
                    TargetAnswer::Nothing(DeliveryFailure::Timeout),
                    jitter,
                    from_unix(0),
                )
                .1
        });
        assert_eq!(waits, [Some(from_unix(10)), Some(from_unix(12))]);
        assert_eq!(
            fresh()
                .after(TargetAnswer::Status(410, None), 0, from_unix(0))
                .0
                .state,
            DeliveryState::Dead
        );
        assert_eq!(
            fresh()
                .after(TargetAnswer::Status(204, None), 0, from_unix(0))
                .0
                .state,
            DeliveryState::Delivered
        );
        let redirected = fresh()
            .after(TargetAnswer::Status(302, None), 0, from_unix(0))
            .0;
        assert_eq!(redirected.last_failure.as_deref(), Some("redirect"));
    }

    #[test]
    fn a_target_can_ask_for_a_longer_wait_but_not_for_the_end() {
        let start = from_unix(0);
        let fresh = || at_time(start);
        let hours = |hours: i64| from_unix(hours * 3_600);
        let day = Some(RetryAfter::Seconds(86_400));
        for (status, asked, now, next) in [
            (503, Some(RetryAfter::Seconds(120)), start, from_unix(120)),
            (429, Some(RetryAfter::At(hours(1))), start, hours(1)),
            (500, Some(RetryAfter::Seconds(3)), start, from_unix(10)),
            (302, Some(RetryAfter::Seconds(u32::MAX)), start, hours(24)),
            // It would be given up before that.
            (503, day, hours(40), hours(48)),
        ] {
            let (delivery, again) = fresh().after(TargetAnswer::Status(status, asked), 0, now);
            assert_eq!(
                (delivery.state, again),
                (DeliveryState::Pending, Some(next)),
                "{status} {asked:?}"
            );
        }
        let (dead, next) = fresh().after(TargetAnswer::Status(503, day), 0, hours(48));
        assert_eq!((dead.state, next), (DeliveryState::Dead, Some(hours(72))));
        let (delivered, next) = fresh().after(TargetAnswer::Status(204, day), 0, start);
        assert_eq!((delivered.state, next), (DeliveryState::Delivered, None));
    }
}
