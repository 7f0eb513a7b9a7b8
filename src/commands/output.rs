//! Printing to standard output.

/// Prints a line. If that fails, because the disk is full or the pipe is closed, the command ends
/// with an error; `println` would panic.
macro_rules! say {
    ($($line:tt)*) => {{
        use ::std::io::Write as _;
        ::std::writeln!(::std::io::stdout(), $($line)*)?;
    }};
}
pub(crate) use say;
