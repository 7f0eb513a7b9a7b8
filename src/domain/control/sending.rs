//! Attempts to send a code: what became of one, and when the next is due.

use chrono::TimeDelta;

use super::message::CodeMessage;
use crate::domain::clock::Time;
use crate::domain::text::words::words;

/// The wait after the first failed attempt; it doubles with each.
const FIRST_WAIT: i64 = 2;
const LONGEST_WAIT: i64 = 60;
/// The longest wait that a gateway can ask for.
const LONGEST_ASKED: TimeDelta = TimeDelta::seconds(300);
/// The wait after an attempt that may have sent the code.
const WAIT_IF_UNCLEAR: TimeDelta = TimeDelta::seconds(30);

/// What became of an attempt to send a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendOutcome {
    /// The gateway accepted it.
    Accepted,
    /// It surely was not sent, and may be retried; the gateway can say when.
    Later(SendFailure, Option<TimeDelta>),
    /// It may have been sent: the request went out, and was not answered by a success or a refusal.
    /// A gateway can send a message and still answer with an error. It can say when to retry.
    Unclear(SendFailure, Option<TimeDelta>),
    /// It was not sent, and no retry will change that.
    Refused(SendFailure),
}

/// Why a code was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SendFailure {
    /// No connection.
    Unreachable,
    /// No answer in time.
    Timeout,
    /// The connection broke off.
    Interrupted,
    /// The certificate, or another step of TLS.
    Tls,
    /// The gateway does not accept the credentials.
    Login,
    /// The gateway asks to send more slowly.
    Throttled,
    /// The gateway refused the message.
    Refused,
    /// The answer is none of a gateway of this kind.
    Answer,
    /// The code cannot be decrypted, or a value cannot be written where the template wants it.
    Unsendable,
    /// The gateway accepted the message, and later reported that it did not reach the number.
    Undelivered,
    /// No attempt was made in time: the gateway was not connected, or is no longer configured.
    NotAttempted,
    /// The limits did not allow to start it in time.
    Limited,
}

words! {
    /// The name in the database, the API and metrics.
    impl Display for SendFailure {
        Unreachable = "unreachable",
        Timeout = "timeout",
        Interrupted = "interrupted",
        Tls = "tls",
        Login = "login",
        Throttled = "throttled",
        Refused = "refused",
        Answer = "unexpected-answer",
        Unsendable = "unsendable",
        Undelivered = "undelivered",
        NotAttempted = "not-attempted",
        Limited = "limited",
    }
}

impl SendOutcome {
    /// Why the code was not sent, or perhaps not; `None` if it was.
    #[must_use]
    pub const fn failure(&self) -> Option<SendFailure> {
        match self {
            Self::Accepted => None,
            Self::Later(failure, _) | Self::Unclear(failure, _) | Self::Refused(failure) => {
                Some(*failure)
            }
        }
    }
}

impl CodeMessage {
    /// The most attempts that may have sent the code: a number is not flooded because a gateway
    /// accepts messages and does not say so.
    pub const MAX_UNCLEAR: u8 = 3;

    /// When the next attempt is due after an attempt that ended `now`; `None` if none is made.
    /// `attempts` and `unclear` include the one that ended.
    #[must_use]
    pub fn retry_at(&self, outcome: SendOutcome, now: Time) -> Option<Time> {
        let doubled = FIRST_WAIT << self.attempts.saturating_sub(1).min(16);
        let wait = TimeDelta::seconds(doubled.min(LONGEST_WAIT));
        let at = match outcome {
            SendOutcome::Accepted | SendOutcome::Refused(_) => return None,
            SendOutcome::Unclear(..) if self.unclear >= Self::MAX_UNCLEAR.into() => return None,
            SendOutcome::Unclear(_, asked) => now + wait.max(WAIT_IF_UNCLEAR).max(within(asked)),
            SendOutcome::Later(_, asked) => now + wait.max(within(asked)),
        };
        (at < self.give_up_at).then_some(at)
    }
}

/// The wait that a gateway asks for, within a bound.
fn within(asked: Option<TimeDelta>) -> TimeDelta {
    asked.unwrap_or_default().min(LONGEST_ASKED)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::clock::from_unix;

    fn message(attempts: u32) -> CodeMessage {
        CodeMessage {
            proof: Uuid::nil(),
            gateway: "sms".to_owned(),
            sealed: Vec::new(),
            attempts,
            unclear: 0,
            due_at: from_unix(1_000),
            give_up_at: from_unix(1_600),
        }
    }

    fn wait(attempts: u32, outcome: SendOutcome) -> Option<i64> {
        let now = from_unix(1_000);
        let at = message(attempts).retry_at(outcome, now);
        at.map(|at| (at - now).num_seconds())
    }

    #[test]
    fn the_wait_doubles_up_to_a_minute() {
        let later = SendOutcome::Later(SendFailure::Unreachable, None);
        let waits: Vec<_> = (1..=8).map(|attempts| wait(attempts, later)).collect();
        assert_eq!(waits, [2, 4, 8, 16, 32, 60, 60, 60].map(Some));
        assert_eq!(wait(u32::MAX, later), Some(60));
    }

    #[test]
    fn a_gateway_can_ask_for_a_longer_wait_within_a_bound() {
        let asks = |seconds| {
            let asked = Some(TimeDelta::seconds(seconds));
            wait(1, SendOutcome::Later(SendFailure::Throttled, asked))
        };
        assert_eq!(asks(1), Some(2));
        assert_eq!(asks(90), Some(90));
        assert_eq!(asks(86_400), Some(300));
        assert_eq!(asks(-5), Some(2));
    }

    /// A gateway that takes the message and never answers must not become a flood for a number.
    #[test]
    fn an_unclear_attempt_is_repeated_seldom() {
        let wait = |(attempts, unclear), asked: Option<i64>| {
            let outcome = SendOutcome::Unclear(SendFailure::Timeout, asked.map(TimeDelta::seconds));
            let message = CodeMessage {
                unclear,
                ..message(attempts)
            };
            let at = message.retry_at(outcome, from_unix(1_000));
            at.map(|at| (at - from_unix(1_000)).num_seconds())
        };
        let waits: Vec<_> = (1..=4).map(|n| wait((n, n), None)).collect();
        assert_eq!(waits, [Some(30), Some(30), None, None]);
        // What surely was not sent does not count.
        assert_eq!(wait((9, 1), None), Some(60));
        assert_eq!(wait((1, 1), Some(90)), Some(90));
        assert_eq!(wait((1, 1), Some(1)), Some(30));
        assert_eq!(wait((3, 3), Some(90)), None);
    }

    #[test]
    fn nothing_is_retried_at_or_after_the_end() {
        let later = SendOutcome::Later(SendFailure::Unreachable, None);
        let at = |now| message(6).retry_at(later, from_unix(now));
        assert_eq!(at(1_539), Some(from_unix(1_599)));
        assert_eq!(at(1_540), None);
        assert_eq!(wait(1, SendOutcome::Refused(SendFailure::Refused)), None);
        assert_eq!(wait(1, SendOutcome::Accepted), None);
    }
}
