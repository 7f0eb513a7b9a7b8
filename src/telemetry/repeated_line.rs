//! Log lines that an outage would repeat many times a second.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long the same line is left out after it was written.
const INTERVAL: Duration = Duration::from_secs(30);

/// Decides whether a line is written again, and counts those that are left out.
#[derive(Debug, Default)]
pub struct RepeatedLine(Mutex<Option<LastLine>>);

#[derive(Debug)]
struct LastLine {
    written: Instant,
    left_out: u64,
}

impl RepeatedLine {
    /// How many lines were left out since the last one, if another is to be written now.
    pub fn left_out(&self, now: Instant) -> Option<u64> {
        let mut last = self.0.lock();
        match &mut *last {
            Some(line) if now.saturating_duration_since(line.written) < INTERVAL => {
                line.left_out += 1;
                None
            }
            line => {
                let left_out = line.as_ref().map_or(0, |line| line.left_out);
                *line = Some(LastLine {
                    written: now,
                    left_out: 0,
                });
                Some(left_out)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_written_once_in_an_interval_with_the_count_of_the_others() {
        let (line, start) = (RepeatedLine::default(), Instant::now());
        assert_eq!(line.left_out(start), Some(0));
        assert_eq!(line.left_out(start + INTERVAL / 3), None);
        assert_eq!(line.left_out(start + INTERVAL / 2), None);
        assert_eq!(line.left_out(start + INTERVAL), Some(2));
        assert_eq!(line.left_out(start + INTERVAL * 2), Some(0));
    }
}
