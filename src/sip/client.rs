//! A client transaction of a request that is no `INVITE` (RFC 3261 §17.1.2): sends, repeats on UDP,
//! and waits for the final response.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use thiserror::Error;

use super::message::{BRANCH_START, MAX_MESSAGE, SipMessage, StartLine};
use super::target::{SipTarget, SipTransport};

/// T1: an estimate of the round trip. Repetitions start with it.
const T1: Duration = Duration::from_millis(500);
/// T2: the longest pause between two repetitions.
const T2: Duration = Duration::from_secs(4);

/// Why there is no final response.
#[derive(Debug, Error)]
pub enum SipError {
    #[error("no final response within {} seconds", .0.as_secs())]
    Timeout(Duration),
    #[error("the connection failed: {0}")]
    Connection(#[from] io::Error),
    #[error("the response is malformed")]
    Malformed,
}

/// Sends a request, and returns the status of the final response. The request has no `Via` yet.
///
/// Only a response to this very request counts: from the address that it was sent to, with its
/// branch, `Call-ID` and `CSeq`.
///
/// # Errors
/// [`SipError`], after `timeout` at the latest, besides the time of the resolver.
pub fn send(
    target: &SipTarget,
    request: &SipMessage,
    timeout: Duration,
    branch: &str,
) -> Result<u16, SipError> {
    let address = target.resolve()?;
    let deadline = Instant::now() + timeout;
    let late = |error: SipError| match error {
        SipError::Connection(error)
            if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) =>
        {
            SipError::Timeout(timeout)
        }
        error => error,
    };
    let sent = match target.transport() {
        SipTransport::Udp => over_udp(address, request, deadline, branch),
        SipTransport::Tcp => over_tcp(address, request, deadline, branch),
    };
    sent.map_err(late)
}

fn over_udp(
    address: SocketAddr,
    request: &SipMessage,
    deadline: Instant,
    branch: &str,
) -> Result<u16, SipError> {
    let any: SocketAddr = if address.is_ipv4() {
        ([0, 0, 0, 0], 0).into()
    } else {
        ([0u16; 8], 0).into()
    };
    let socket = UdpSocket::bind(any)?;
    // The kernel drops datagrams from other addresses.
    socket.connect(address)?;
    let request = with_via(request, SipTransport::Udp, socket.local_addr()?, branch);
    let bytes = request.to_bytes();
    let mut buffer = vec![0; MAX_MESSAGE];
    let mut pause = T1;
    loop {
        socket.send(&bytes)?;
        let repeat_at = (Instant::now() + pause).min(deadline);
        pause = (2 * pause).min(T2);
        while let Some(left) = time_left(repeat_at) {
            socket.set_read_timeout(Some(left))?;
            let length = match socket.recv(&mut buffer) {
                Ok(length) => length,
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    break;
                }
                Err(error) => return Err(error.into()),
            };
            // What is malformed, or answers something else, is ignored like any stray datagram.
            let Some(status) = SipMessage::from_datagram(&buffer[..length])
                .ok()
                .and_then(|response| status_for(&request, &response))
            else {
                continue;
            };
            if status >= 200 {
                return Ok(status);
            }
            pause = T2;
        }
        if time_left(deadline).is_none() {
            return Err(io::Error::from(ErrorKind::TimedOut).into());
        }
    }
}

fn over_tcp(
    address: SocketAddr,
    request: &SipMessage,
    deadline: Instant,
    branch: &str,
) -> Result<u16, SipError> {
    let left = || time_left(deadline).ok_or_else(|| io::Error::from(ErrorKind::TimedOut));
    let mut stream = TcpStream::connect_timeout(&address, left()?)?;
    let request = with_via(request, SipTransport::Tcp, stream.local_addr()?, branch);
    stream.set_write_timeout(Some(left()?))?;
    stream.write_all(&request.to_bytes())?;
    let (mut received, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        stream.set_read_timeout(Some(left()?))?;
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Err(io::Error::from(ErrorKind::UnexpectedEof).into());
        }
        received.extend_from_slice(&buffer[..length]);
        while let Some((response, length)) =
            SipMessage::from_stream(&received).map_err(|_| SipError::Malformed)?
        {
            received.drain(..length);
            if let Some(status) = status_for(&request, &response).filter(|status| *status >= 200) {
                return Ok(status);
            }
        }
    }
}

/// The request with its topmost `Via`, which asks for the port that the answer is sent to (RFC
/// 3581).
fn with_via(
    request: &SipMessage,
    transport: SipTransport,
    local: SocketAddr,
    branch: &str,
) -> SipMessage {
    let via = format!(
        "SIP/2.0/{} {local};rport;branch={BRANCH_START}{branch}",
        transport.as_str()
    );
    let mut whole = request.clone();
    whole.put_via(&via);
    whole
}

/// The status of a response to this request; `None` if it answers another.
fn status_for(request: &SipMessage, response: &SipMessage) -> Option<u16> {
    let StartLine::Response { status } = response.start else {
        return None;
    };
    let same = |name| response.header(name) == request.header(name);
    let is_answer = response.branch() == request.branch() && same("call-id") && same("cseq");
    is_answer.then_some(status)
}

fn time_left(deadline: Instant) -> Option<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    // The system takes a timeout of zero for none.
    (left > Duration::from_millis(1)).then_some(left)
}
