//! Exit codes, and how the process ends.

use std::io::{self, Write as _};

/// The exit code of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit(u8);

impl Exit {
    pub const SUCCESS: Self = Self(0);
    pub const FAILURE: Self = Self(1);
    /// `serve` cannot start because of its configuration. A supervisor need not start it again
    /// before that is changed. It is `EX_CONFIG` of `sysexits.h`.
    pub const CONFIGURATION: Self = Self(78);
    /// `serve` cannot start because an HSM refuses the PIN. A supervisor must not start it again:
    /// each start would try the PIN, until the token is locked. It is `EX_NOPERM` of `sysexits.h`.
    pub const PIN_REFUSED: Self = Self(77);

    /// Ends the process without running the exit handlers of libraries. Threads that are not joined
    /// can still be inside one: in the PKCS #11 module of an HSM, which can hang, or in libpq.
    /// Memory that a handler frees would still be in use there.
    pub fn leave(self) -> ! {
        // A reader that closed the pipe does not want the rest.
        let _ = io::stdout().flush();
        signal_hook::low_level::exit(self.0.into())
    }
}

impl From<u8> for Exit {
    fn from(code: u8) -> Self {
        Self(code)
    }
}
