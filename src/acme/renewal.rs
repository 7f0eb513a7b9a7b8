//! Keeps a certificate renewed: when the next one is due, and how failures are retried.
//!
//! Time and randomness are arguments, so that a test can simulate a year within a moment.

use std::time::Duration;

use chrono::TimeDelta;

use super::AcmeError;
use super::error::Kind;
use super::wait::{Pause, Stopped};
use crate::domain::clock::{Clock, Time, rfc3339};

/// The longest single wait. Between waits the clock is read again, so that a change of it is
/// noticed.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// The validity period of a certificate: its first and last second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValidityPeriod {
    pub not_before: Time,
    pub not_after: Time,
}

impl ValidityPeriod {
    fn lifetime(self) -> TimeDelta {
        (self.not_after - self.not_before).max(TimeDelta::seconds(1))
    }

    /// When to fetch the next certificate: after two thirds of this one's lifetime, plus or minus a
    /// twentieth of it, so that not all clients renew at the same time. `chance` is 0 to 1.
    #[must_use]
    pub fn due(self, chance: f64) -> Time {
        let share = 2.0 / 3.0 + (chance.clamp(0.0, 1.0) - 0.5) / 10.0;
        self.not_before + part(self.lifetime(), share)
    }
}

/// How long to wait after a number of consecutive failures: exponential backoff with jitter, capped
/// at a tenth of the current certificate's lifetime and at an hour. `chance` is 0 to 1.
#[must_use]
pub fn backoff(failures: u32, current: Option<ValidityPeriod>, chance: f64) -> Duration {
    let hour = Duration::from_secs(3600);
    let tenth = current.map_or(hour, |current| {
        part(current.lifetime(), 0.1).to_std().unwrap_or(hour)
    });
    let longest = tenth.clamp(Duration::from_secs(1), hour);
    let first = Duration::from_secs(30).min(longest);
    let grown = first.saturating_mul(1 << failures.saturating_sub(1).min(10));
    grown
        .min(longest)
        .mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
}

/// Why renewal ended.
#[derive(Debug)]
pub enum RenewalStop {
    /// The client was asked to stop.
    Stopped,
    /// The last certificate has been obtained.
    Over,
    /// The authority refused, or the CA ended the automatic renewal.
    Refused(AcmeError),
}

/// The result of a successful attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewed {
    /// A certificate was obtained, which will have to be renewed.
    ValidityPeriod(ValidityPeriod),
    /// The last certificate has been obtained.
    Over,
}

/// Keeps a certificate renewed by calling `renew`, until the client is stopped or renewal is
/// refused. A refusal because control of the numbers is not proven counts only once there is no
/// valid certificate any more: until then, the numbers can be proven.
pub fn keep(
    mut current: Option<ValidityPeriod>,
    clock: &Clock,
    pause: &dyn Pause,
    chance: &mut dyn FnMut() -> f64,
    renew: &mut dyn FnMut() -> Result<Renewed, AcmeError>,
) -> RenewalStop {
    let mut failures = 0;
    let mut next = current.map_or_else(|| clock.now(), |current| current.due(chance()));
    loop {
        if wait_until(next, clock, pause).is_err() {
            return RenewalStop::Stopped;
        }
        match renew() {
            Ok(Renewed::Over) => return RenewalStop::Over,
            Ok(Renewed::ValidityPeriod(fresh)) => {
                failures = 0;
                current = Some(fresh);
                // If the CA returns an old certificate, the next one is due already: do not retry
                // in a busy loop.
                next = fresh.due(chance()).max(clock.now() + TimeDelta::seconds(1));
                let (until, next) = (rfc3339(&fresh.not_after), rfc3339(&next));
                log::info!(until = until.as_str(), next = next.as_str(); "certificate obtained");
            }
            Err(error) => match error.kind() {
                Kind::Stopped => return RenewalStop::Stopped,
                Kind::AuthorityRefuses => return RenewalStop::Refused(error),
                Kind::CaRefuses if matches!(error, AcmeError::StarEnded(_)) => {
                    return RenewalStop::Refused(error);
                }
                Kind::ControlNotProven if !is_valid(current, clock) => {
                    return RenewalStop::Refused(error);
                }
                Kind::ControlNotProven | Kind::CaRefuses | Kind::Other => {
                    failures += 1;
                    let wait = backoff(failures, current, chance());
                    let why = error.to_string();
                    next = clock.now() + TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX);
                    if let (Kind::ControlNotProven, Some(current)) = (error.kind(), current) {
                        // Once more when the certificate has just ended, and not long after it.
                        next = next.min(current.not_after + TimeDelta::seconds(1));
                    }
                    let (at, seconds) = (rfc3339(&next), wait.as_secs());
                    if is_valid(current, clock) {
                        log::warn!(
                            why = why.as_str(), seconds = seconds, next = at.as_str();
                            "renewal failed; will retry"
                        );
                    } else {
                        log::error!(
                            why = why.as_str(), next = at.as_str();
                            "renewal failed, and there is no valid certificate"
                        );
                    }
                }
            },
        }
    }
}

/// Whether there is a certificate that has not ended.
fn is_valid(current: Option<ValidityPeriod>, clock: &Clock) -> bool {
    current.is_some_and(|current| current.not_after > clock.now())
}

fn wait_until(time: Time, clock: &Clock, pause: &dyn Pause) -> Result<(), Stopped> {
    loop {
        let left = (time - clock.now()).to_std().unwrap_or_default();
        if left.is_zero() {
            // Even without a wait, check whether the client was asked to stop.
            return pause.pause(Duration::ZERO);
        }
        pause.pause(left.min(MAX_WAIT))?;
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a share of a certificate's lifetime, rounded to seconds"
)]
fn part(whole: TimeDelta, share: f64) -> TimeDelta {
    TimeDelta::seconds((whole.num_seconds() as f64 * share).round() as i64)
}
