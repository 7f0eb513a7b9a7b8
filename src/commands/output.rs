//! What commands say on standard output.

/// Says a line. What cannot be said, since the disk is full or nobody reads on, ends the command with an error, and not with
/// the panic of `println`.
macro_rules! say {
    ($($line:tt)*) => {{
        use ::std::io::Write as _;
        ::std::writeln!(::std::io::stdout(), $($line)*)?;
    }};
}
pub(crate) use say;
