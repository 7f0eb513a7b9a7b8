//! Keeping a certificate alive: when the next one is due, and what is done when it does not come.
//!
//! Time and chance come in as arguments, so that a year can be tried out in a moment.

use std::time::Duration;

use chrono::TimeDelta;

use super::AcmeError;
use super::error::Kind;
use super::wait::{Pause, Stopped};
use crate::domain::clock::{Clock, Time, rfc3339};

/// The longest single wait, so that a clock that was set is noticed.
const NAP: Duration = Duration::from_secs(60);

/// From the first to the last second of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValidityPeriod {
    pub not_before: Time,
    pub not_after: Time,
}

impl ValidityPeriod {
    fn lifetime(self) -> TimeDelta {
        (self.not_after - self.not_before).max(TimeDelta::seconds(1))
    }

    /// When the next certificate is fetched: after two thirds of this one's life, less or more by a twentieth of it, so that
    /// not all agents come at once. `chance` is 0 to 1.
    #[must_use]
    pub fn due(self, chance: f64) -> Time {
        let share = 2.0 / 3.0 + (chance.clamp(0.0, 1.0) - 0.5) / 10.0;
        self.not_before + part(self.lifetime(), share)
    }
}

/// How long to wait after so many failures in a row: longer each time, and not longer than a tenth of the certificate's
/// life, or an hour. `chance` is 0 to 1.
#[must_use]
pub fn backoff(failures: u32, held: Option<ValidityPeriod>, chance: f64) -> Duration {
    let hour = Duration::from_secs(3600);
    let tenth = held.map_or(hour, |held| {
        part(held.lifetime(), 0.1).to_std().unwrap_or(hour)
    });
    let longest = tenth.clamp(Duration::from_secs(1), hour);
    let first = Duration::from_secs(30).min(longest);
    let grown = first.saturating_mul(1 << failures.saturating_sub(1).min(10));
    grown
        .min(longest)
        .mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
}

/// Why nothing is kept alive any more.
#[derive(Debug)]
pub enum RenewalStop {
    /// Somebody wanted it.
    Stopped,
    /// There was nothing more to do.
    Over,
    /// The authority, or with an order that the CA renews the CA, has ended it.
    Refused(AcmeError),
}

/// What a try came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewed {
    /// There is a certificate, and it will need another one.
    ValidityPeriod(ValidityPeriod),
    /// There is nothing more to come.
    Over,
}

/// Keeps a certificate alive with `renew`, until somebody stops it or the authority refuses.
pub fn keep(
    mut held: Option<ValidityPeriod>,
    clock: &Clock,
    pause: &dyn Pause,
    chance: &mut dyn FnMut() -> f64,
    renew: &mut dyn FnMut() -> Result<Renewed, AcmeError>,
) -> RenewalStop {
    let mut failures = 0;
    let mut next = held.map_or_else(|| clock.now(), |held| held.due(chance()));
    loop {
        if wait_until(next, clock, pause).is_err() {
            return RenewalStop::Stopped;
        }
        match renew() {
            Ok(Renewed::Over) => return RenewalStop::Over,
            Ok(Renewed::ValidityPeriod(fresh)) => {
                failures = 0;
                held = Some(fresh);
                // A CA that answers with an old certificate must not be asked without end.
                next = fresh.due(chance()).max(clock.now() + TimeDelta::seconds(1));
                let (until, next) = (rfc3339(&fresh.not_after), rfc3339(&next));
                log::info!(until = until.as_str(), next = next.as_str(); "a certificate has come");
            }
            Err(error) => match error.kind() {
                Kind::Stopped => return RenewalStop::Stopped,
                Kind::AuthorityRefuses => return RenewalStop::Refused(error),
                Kind::CaRefuses if matches!(error, AcmeError::StarEnded(_)) => {
                    return RenewalStop::Refused(error);
                }
                Kind::CaRefuses | Kind::Other => {
                    failures += 1;
                    let wait = backoff(failures, held, chance());
                    let why = error.to_string();
                    next = clock.now() + TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX);
                    let (at, seconds) = (rfc3339(&next), wait.as_secs());
                    if held.is_none_or(|held| held.not_after <= clock.now()) {
                        log::error!(why = why.as_str(), next = at.as_str(); "there is no certificate in force");
                    } else {
                        log::warn!(why = why.as_str(), seconds = seconds, next = at.as_str(); "no certificate has come");
                    }
                }
            },
        }
    }
}

fn wait_until(time: Time, clock: &Clock, pause: &dyn Pause) -> Result<(), Stopped> {
    loop {
        let left = (time - clock.now()).to_std().unwrap_or_default();
        if left.is_zero() {
            // Also when there is nothing to wait for, somebody may have asked to stop.
            return pause.pause(Duration::ZERO);
        }
        pause.pause(left.min(NAP))?;
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a share of a certificate's life, to the second"
)]
fn part(whole: TimeDelta, share: f64) -> TimeDelta {
    TimeDelta::seconds((whole.num_seconds() as f64 * share).round() as i64)
}
