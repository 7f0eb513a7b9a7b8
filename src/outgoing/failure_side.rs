//! Who can put an end to the failure of a request.

use std::io::ErrorKind;

use super::OutgoingError;

/// Where the cause of a failed request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureSide {
    /// On this machine: its network, name resolution, proxy or root certificates.
    Own,
    /// The other server: it refuses or drops connections, or does not speak HTTP.
    Peer,
}

impl FailureSide {
    /// The other server can refuse and drop connections, and answer with anything. What keeps a
    /// connection from being tried or trusted is a matter of this machine.
    pub(super) fn of(error: &ureq::Error) -> Self {
        match error {
            ureq::Error::Io(error) => Self::of_io(error.kind()),
            ureq::Error::Protocol(_)
            | ureq::Error::LargeResponseHeader(..)
            | ureq::Error::BodyExceedsLimit(_)
            | ureq::Error::Timeout(_)
            | ureq::Error::BodyStalled => Self::Peer,
            _ => Self::Own,
        }
    }

    /// A fault in the middle of TLS is of the kind `Other`; a name that is not found has no stable
    /// kind.
    const fn of_io(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::HostUnreachable
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof
            | ErrorKind::TimedOut
            | ErrorKind::InvalidData
            | ErrorKind::Other => Self::Peer,
            _ => Self::Own,
        }
    }
}

impl OutgoingError {
    /// Whether the server has a certificate that none of the trusted CAs has issued.
    #[must_use]
    pub fn is_untrusted(&self) -> bool {
        // OpenSSL has no other way to say so through the layers above it.
        matches!(self, Self::Failed { why, .. } if why.contains("certificate verify failed"))
    }
}
