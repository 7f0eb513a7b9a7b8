//! Keeping a certificate alive, with a clock and a chance that the test holds in its hands.

use std::cell::RefCell;
use std::time::Duration;

use chrono::TimeDelta;
use tn_authority::acme::renewal::{RenewalStop, Renewed, ValidityPeriod, backoff, keep};
use tn_authority::acme::{AcmeError, Pause, Stopped};
use tn_authority::domain::{Clock, Time};

use crate::support::clock_starts;

/// A pause that moves the clock, and stops when the time is over.
struct Moves {
    clock: Clock,
    until: Time,
}

impl Pause for Moves {
    fn pause(&self, time: Duration) -> Result<(), Stopped> {
        if self.clock.now() >= self.until {
            return Err(Stopped);
        }
        let time = TimeDelta::from_std(time).expect("a short time");
        // A clock of whole seconds.
        self.clock
            .set(self.clock.now() + time.max(TimeDelta::seconds(1)));
        Ok(())
    }
}

fn after(seconds: i64) -> Time {
    clock_starts() + TimeDelta::seconds(seconds)
}

/// Keeps hourly certificates for so many seconds; says when each try was, and how it ended.
fn hourly(
    seconds: i64,
    held: Option<ValidityPeriod>,
    chance: f64,
    outcome: &dyn Fn(i64) -> Result<(), AcmeError>,
) -> (Vec<i64>, RenewalStop) {
    let clock = Clock::fixed_at(clock_starts());
    let pause = Moves {
        clock: clock.clone(),
        until: after(seconds),
    };
    let tries = RefCell::new(Vec::new());
    let mut renew = || {
        let now = clock.now();
        let at = (now - clock_starts()).num_seconds();
        tries.borrow_mut().push(at);
        outcome(at)?;
        let not_after = now + TimeDelta::seconds(3600);
        Ok(Renewed::ValidityPeriod(ValidityPeriod {
            not_before: now,
            not_after,
        }))
    };
    let ended = keep(held, &clock, &pause, &mut || chance, &mut renew);
    (tries.into_inner(), ended)
}

#[test]
fn the_next_one_comes_after_about_two_thirds_of_a_life() {
    let held = ValidityPeriod {
        not_before: after(0),
        not_after: after(90_000),
    };
    assert_eq!(held.due(0.5), after(60_000));
    assert_eq!(held.due(0.0), after(55_500));
    assert_eq!(held.due(1.0), after(64_500));
    for chance in [0.0, 0.3, 1.0] {
        let (tries, ended) = hourly(86_400, None, chance, &|_| Ok(()));
        assert!(matches!(ended, RenewalStop::Stopped));
        assert!(
            tries
                .windows(2)
                .all(|pair| (2219..=2700).contains(&(pair[1] - pair[0]))),
            "{tries:?}"
        );
        assert!(tries.len() >= 32, "{tries:?}");
    }
}

/// What is there already is not ordered again before it is due, and at once when it is past due.
#[test]
fn what_is_held_is_kept_until_it_is_due() {
    let held = |from, to| {
        Some(ValidityPeriod {
            not_before: after(from),
            not_after: after(to),
        })
    };
    assert_eq!(hourly(2000, held(0, 3000), 0.5, &|_| Ok(())).0.len(), 0);
    assert_eq!(hourly(1000, held(-3000, 100), 0.5, &|_| Ok(())).0[0], 1);
}

#[test]
fn a_failure_is_tried_again_with_longer_and_longer_waits() {
    let broken = |at| {
        if (3000..=20_000).contains(&at) {
            Err(AcmeError::Nonces)
        } else {
            Ok(())
        }
    };
    let (tries, _) = hourly(40_000, None, 0.5, &broken);
    let failing: Vec<i64> = tries
        .iter()
        .copied()
        .filter(|at| (3000..=20_000).contains(at))
        .collect();
    // A tenth of the hour at most, so that an outage of the CA does not cost the certificate.
    let waits: Vec<i64> = failing.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits.windows(2).all(|pair| pair[1] >= pair[0]), "{waits:?}");
    assert!(
        waits[0] <= 31 && waits.iter().all(|wait| *wait <= 361),
        "{waits:?}"
    );
    assert!(tries.iter().any(|at| *at > 20_000), "it recovers");

    let held = ValidityPeriod {
        not_before: after(0),
        not_after: after(3600),
    };
    assert!(backoff(1, Some(held), 0.0) < backoff(1, Some(held), 1.0));
    assert_eq!(backoff(u32::MAX, None, 1.0), Duration::from_secs(3600));
    let short = ValidityPeriod {
        not_before: after(0),
        not_after: after(0),
    };
    assert_eq!(backoff(9, Some(short), 1.0), Duration::from_secs(1));
}

#[test]
fn the_refusal_of_the_authority_ends_it() {
    let refused = || Err(AcmeError::Withheld(Box::default()));
    let (tries, ended) = hourly(86_400, None, 0.5, &|at| {
        if at < 5000 { Ok(()) } else { refused() }
    });
    assert!(matches!(
        ended,
        RenewalStop::Refused(AcmeError::Withheld(_))
    ));
    assert_eq!(
        tries.iter().filter(|at| **at >= 5000).count(),
        1,
        "{tries:?}"
    );
    // The CA's refusal is no end: its rules may change, and the right to the numbers stands.
    let (tries, ended) = hourly(20_000, None, 0.5, &|_| {
        Err(AcmeError::TokenRefused { problem: None })
    });
    assert!(matches!(ended, RenewalStop::Stopped) && tries.len() > 3);
}

/// The certificate still verifies, and an agent can answer meanwhile.
#[test]
fn without_proof_of_control_it_waits_until_the_certificate_ends() {
    use tn_authority::acme::ProblemDocument;
    let lacks = || {
        let problem = ProblemDocument {
            code: "control-not-proven".to_owned(),
            detail: "start a proof for +12125551001".to_owned(),
            ..ProblemDocument::default()
        };
        Err(AcmeError::Withheld(Box::new(problem)))
    };
    // The agent answers after a while: no certificate is lost.
    let (tries, ended) = hourly(20_000, None, 0.5, &|at| {
        if (2000..3000).contains(&at) {
            lacks()
        } else {
            Ok(())
        }
    });
    assert!(matches!(ended, RenewalStop::Stopped));
    assert!(
        tries.iter().any(|at| (2000..3000).contains(at)),
        "{tries:?}"
    );
    assert!(
        tries.iter().filter(|at| (3000..3600).contains(*at)).count() > 0,
        "{tries:?}"
    );
    assert!(tries.iter().any(|at| *at > 15_000), "{tries:?}");

    // It never answers.
    let (tries, ended) = hourly(86_400, None, 0.5, &|at| {
        if at < 2000 { Ok(()) } else { lacks() }
    });
    let RenewalStop::Refused(error) = ended else {
        panic!("{ended:?}")
    };
    let waiting: Vec<i64> = tries.iter().copied().filter(|at| *at >= 2000).collect();
    assert!(
        waiting.len() > 3 && *waiting.last().expect("one") <= 3605,
        "{tries:?}"
    );
    let said = error.to_string();
    for part in ["control-not-proven", "+12125551001", "control-agent"] {
        assert!(said.contains(part), "{said}");
    }

    // Without a certificate there is nothing to wait with.
    let (tries, ended) = hourly(86_400, None, 0.5, &|_| lacks());
    assert!(matches!(ended, RenewalStop::Refused(_)));
    assert_eq!(tries.len(), 1);
}
