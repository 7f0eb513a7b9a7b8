//! Log lines that others could cause at will.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

const INTERVAL: Duration = Duration::from_secs(60);

/// Lets a line through once a minute.
#[derive(Debug, Default)]
pub struct OnceAMinute(Mutex<Option<Instant>>);

impl OnceAMinute {
    /// Whether to write the line now.
    pub fn is_due(&self, now: Instant) -> bool {
        let mut last = self.0.lock();
        let is_due = last.is_none_or(|at| now.saturating_duration_since(at) >= INTERVAL);
        if is_due {
            *last = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_written_once_a_minute() {
        let (line, start) = (OnceAMinute::default(), Instant::now());
        assert!(line.is_due(start));
        assert!(!line.is_due(start + INTERVAL / 2));
        assert!(line.is_due(start + INTERVAL));
    }
}
