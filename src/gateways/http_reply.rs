//! What the answer of a server by HTTP says about a message: whether it was sent, or may have been.

use chrono::TimeDelta;

use crate::domain::control::sending::{SendFailure, SendOutcome};
use crate::domain::network::retry_after::RetryAfter;
use crate::outgoing::{OperatorFailure, OperatorReply};

/// How a success is recognized.
#[derive(Debug, Clone)]
pub(super) struct ExpectedReply {
    pub status: Option<u16>,
    pub text: Option<String>,
}

/// What an answer means.
pub(super) fn outcome(
    reply: Result<OperatorReply, OperatorFailure>,
    expected: &ExpectedReply,
) -> SendOutcome {
    let reply = match reply {
        Ok(reply) => reply,
        Err(failure) => return without_reply(failure),
    };
    let is_expected = match expected.status {
        Some(status) => reply.status == status,
        None => (200..=299).contains(&reply.status),
    };
    match reply.status {
        _ if is_expected => match &expected.text {
            Some(text) if !contains(&reply.body, text.as_bytes()) => {
                SendOutcome::Unclear(SendFailure::Answer, None)
            }
            Some(_) | None => SendOutcome::Accepted,
        },
        // Servers that ask to wait have sent nothing, or they would not say when to ask again.
        429 if asked_wait(&reply).is_some() => {
            SendOutcome::Later(SendFailure::Throttled, asked_wait(&reply))
        }
        // Any other answer can come after the message was accepted, whatever it says.
        401 | 403 | 407 => SendOutcome::Unclear(SendFailure::Login, None),
        429 | 503 => SendOutcome::Unclear(SendFailure::Throttled, asked_wait(&reply)),
        404 | 408 | 421 | 425 => SendOutcome::Unclear(SendFailure::Answer, None),
        400..=499 => SendOutcome::Refused(SendFailure::Refused),
        _ => SendOutcome::Unclear(SendFailure::Answer, None),
    }
}

const fn without_reply(failure: OperatorFailure) -> SendOutcome {
    match failure {
        OperatorFailure::Unreachable => SendOutcome::Later(SendFailure::Unreachable, None),
        OperatorFailure::Tls => SendOutcome::Later(SendFailure::Tls, None),
        OperatorFailure::Unwritable => SendOutcome::Refused(SendFailure::Unsendable),
        OperatorFailure::Timeout => SendOutcome::Unclear(SendFailure::Timeout, None),
        OperatorFailure::Interrupted => SendOutcome::Unclear(SendFailure::Interrupted, None),
        OperatorFailure::Malformed => SendOutcome::Unclear(SendFailure::Answer, None),
    }
}

/// The seconds of `Retry-After`. A date needs a clock, and is ignored.
pub(super) fn asked_wait(reply: &OperatorReply) -> Option<TimeDelta> {
    match RetryAfter::parse(reply.retry_after.as_deref()?)? {
        RetryAfter::Seconds(seconds) => Some(TimeDelta::seconds(seconds.into())),
        RetryAfter::At(_) => None,
    }
}

fn contains(body: &[u8], text: &[u8]) -> bool {
    body.windows(text.len().max(1)).any(|part| part == text)
}
