//! Validity windows: half-open, `[from, until)`, to the second.

use thiserror::Error;

use crate::domain::clock::{Time, rfc3339};

/// Why two instants do not make a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the window ends at {}, not after it starts at {}", rfc3339(.until), rfc3339(.from))]
pub struct WindowError {
    from: Time,
    until: Time,
}

/// When something is valid: from an instant until just before another, or without a known end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    from: Time,
    until: Option<Time>,
}

impl Window {
    /// The window `[from, until)`; without a known end if `until` is `None`.
    ///
    /// # Errors
    /// [`WindowError`] if it does not end after it starts.
    pub fn new(from: Time, until: Option<Time>) -> Result<Self, WindowError> {
        match until {
            Some(until) if until <= from => Err(WindowError { from, until }),
            _ => Ok(Self { from, until }),
        }
    }

    /// The window that starts at `from`, without a known end.
    #[must_use]
    pub const fn open(from: Time) -> Self {
        Self { from, until: None }
    }

    /// The first instant at which it is valid.
    #[must_use]
    pub const fn from(self) -> Time {
        self.from
    }

    /// The first instant at which it is no longer valid, if known.
    #[must_use]
    pub const fn until(self) -> Option<Time> {
        self.until
    }

    /// Whether it is valid at `time`.
    #[must_use]
    pub fn contains(self, time: Time) -> bool {
        self.from <= time && self.until.is_none_or(|until| time < until)
    }

    /// When both are valid, if they ever are.
    #[must_use]
    pub fn intersection(self, other: Self) -> Option<Self> {
        let until = match (self.until, other.until) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (until, None) | (None, until) => until,
        };
        Self::new(self.from.max(other.from), until).ok()
    }

    /// Whether `other` lies entirely in this window.
    #[must_use]
    pub fn encloses(self, other: Self) -> bool {
        self.intersection(other) == Some(other)
    }

    /// Whether there is an instant at which both are valid.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.until.is_none_or(|until| other.from < until)
            && other.until.is_none_or(|until| self.from < until)
    }
}
