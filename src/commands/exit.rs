//! How a command ends.

use std::io::{self, Write as _};

/// The exit code of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit(u8);

impl Exit {
    pub const SUCCESS: Self = Self(0);
    pub const FAILURE: Self = Self(1);

    /// Ends the process without the ends of libraries. Threads that nobody waits for may still be in one: in the module of
    /// an HSM, which may hang, or in libpq. What it frees at exit would be gone under their feet.
    pub fn leave(self) -> ! {
        // Whoever closed the pipe does not want the rest.
        let _ = io::stdout().flush();
        signal_hook::low_level::exit(self.0.into())
    }
}

impl From<u8> for Exit {
    fn from(code: u8) -> Self {
        Self(code)
    }
}
