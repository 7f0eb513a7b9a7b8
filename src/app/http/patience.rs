//! How long a connection waits for its client.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::rt::time::{Sleep, sleep};

use crate::telemetry::Cut;

/// How often it is checked whether a client makes progress. All waits are counted in this unit, so
/// a connection that is in use costs one timer in this time, not one for each request.
const TICK: Duration = Duration::from_secs(1);
/// Seconds that an idle connection stays open. The HTTP library has the same timeout, but starts it
/// again with every tick.
pub(super) const KEEP_ALIVE: u64 = 5;
/// Seconds without progress when few connections are left for others.
const UNDER_PRESSURE: u64 = 2;

/// The timeouts of the configuration, in seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClientTimeouts {
    pub(super) request: u64,
    pub(super) write: u64,
}

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// The service itself.
    Handler,
    /// The start of the first request.
    Request,
    /// The start of another request.
    NextRequest,
    /// The rest of the head of a request.
    Head,
    /// More of a body.
    Body,
    /// The client must read.
    Reader,
}

impl Wait {
    /// The timeout in seconds, and what ends when it has passed.
    fn timeout(self, timeouts: ClientTimeouts) -> Option<(u64, Cut)> {
        // The HTTP library and the handlers have the same timeouts, and answer 408. One second more
        // lets them do so.
        let request = timeouts.request.saturating_add(1);
        match self {
            Self::Handler => None,
            Self::Request | Self::Head => Some((request, Cut::Request)),
            Self::NextRequest => Some((KEEP_ALIVE, Cut::Idle)),
            Self::Body => Some((request, Cut::Body)),
            Self::Reader => Some((timeouts.write, Cut::Reader)),
        }
    }
}

/// Counts the seconds in which nothing happens.
#[derive(Debug)]
pub(super) struct Patience {
    timeouts: ClientTimeouts,
    tick: Pin<Box<Sleep>>,
    wait: Wait,
    /// Ticks without progress.
    ticks: u64,
    has_progressed: bool,
}

impl Patience {
    pub(super) fn new(timeouts: ClientTimeouts) -> Self {
        Self {
            timeouts,
            tick: Box::pin(sleep(TICK)),
            wait: Wait::Request,
            ticks: 0,
            has_progressed: true,
        }
    }

    pub(super) fn progressed(&mut self) {
        self.has_progressed = true;
    }

    /// Ready when the client has made no progress for too long. Called whenever the connection
    /// waits; it wakes the task once in every tick.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        wait: Wait,
        is_pressed: impl Fn() -> bool,
    ) -> Poll<Cut> {
        while self.tick.as_mut().poll(cx).is_ready() {
            self.tick.set(sleep(TICK));
            if let Some(cut) = self.count(wait, is_pressed()) {
                return Poll::Ready(cut);
            }
        }
        Poll::Pending
    }

    fn count(&mut self, wait: Wait, is_pressed: bool) -> Option<Cut> {
        if std::mem::take(&mut self.has_progressed)
            || std::mem::replace(&mut self.wait, wait) != wait
        {
            self.wait = wait;
            self.ticks = 0;
            return None;
        }
        self.ticks += 1;
        let (seconds, cut) = wait.timeout(self.timeouts)?;
        let seconds = if is_pressed {
            seconds.min(UNDER_PRESSURE)
        } else {
            seconds
        };
        (self.ticks >= seconds).then_some(cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patience() -> Patience {
        Patience::new(ClientTimeouts {
            request: 10,
            write: 30,
        })
    }

    fn ticks_until_cut(
        patience: &mut Patience,
        wait: Wait,
        is_pressed: bool,
    ) -> (usize, Option<Cut>) {
        for n in 0..1_000 {
            if let Some(cut) = patience.count(wait, is_pressed) {
                return (n, Some(cut));
            }
        }
        (1_000, None)
    }

    #[actix_web::test]
    async fn each_wait_has_its_timeout_and_a_shorter_one_under_pressure() {
        for (wait, is_pressed, expected) in [
            (Wait::Handler, false, (1_000, None)),
            (Wait::Handler, true, (1_000, None)),
            (Wait::Request, false, (11, Some(Cut::Request))),
            (Wait::Head, false, (11, Some(Cut::Request))),
            (Wait::NextRequest, false, (5, Some(Cut::Idle))),
            (Wait::Body, false, (11, Some(Cut::Body))),
            (Wait::Reader, false, (30, Some(Cut::Reader))),
            (Wait::Request, true, (2, Some(Cut::Request))),
            (Wait::NextRequest, true, (2, Some(Cut::Idle))),
            (Wait::Reader, true, (2, Some(Cut::Reader))),
        ] {
            let found = ticks_until_cut(&mut patience(), wait, is_pressed);
            assert_eq!(found, expected, "{wait:?} {is_pressed}");
        }
    }

    #[actix_web::test]
    async fn progress_starts_the_timeout_again() {
        let mut patience = patience();
        for _ in 0..100 {
            for _ in 0..30 {
                assert_eq!(patience.count(Wait::Reader, false), None);
            }
            patience.progressed();
        }
        assert_eq!(ticks_until_cut(&mut patience, Wait::Reader, false).0, 30);
    }
}
