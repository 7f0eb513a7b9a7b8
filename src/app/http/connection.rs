//! The bytes of one connection. It reads a request only when the one before it is answered, and
//! ends when the client makes no progress.
//!
//! The HTTP library reads whatever has arrived, and bounds neither what it parses of it nor what it
//! keeps for a client that does not read.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use actix_tls::accept::openssl::TlsStream;
use actix_web::rt::net::TcpStream;
use openssl::ssl::SslRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

use super::flow::{Flow, Stage};
use super::head_scan::HeadScan;
use super::patience::{ClientTimeouts, Patience, Wait};
use super::slots::Slot;
use crate::api::ClientPresence;
use crate::telemetry::Cut;

/// Bytes that are read at once while a head is expected.
const HEAD_STEP: usize = 2 * 1024;
/// Bytes of a body that are read at once.
const BODY_STEP: usize = 32 * 1024;

/// The stream below the HTTP library, with or without TLS.
pub(super) trait Transport: AsyncRead + AsyncWrite + Unpin + 'static {
    fn tcp(&self) -> &TcpStream;

    fn tls(&self) -> Option<&SslRef>;
}

impl Transport for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }

    fn tls(&self) -> Option<&SslRef> {
        None
    }
}

impl Transport for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref()
    }

    fn tls(&self) -> Option<&SslRef> {
        Some(self.ssl())
    }
}

/// An open connection.
pub(super) struct Connection<T> {
    stream: T,
    flow: Rc<Flow>,
    patience: Patience,
    slot: Slot,
    client: ClientPresence,
    /// What was read beyond the end of a head.
    ahead: Vec<u8>,
    scan: HeadScan,
    /// Bytes that the HTTP library was given since it last had to wait.
    given: usize,
    /// Whether the first request has arrived.
    is_in_use: bool,
    /// Whether a part of the next request has been read.
    has_started: bool,
    /// Whether the client has to read before more can be written.
    is_blocked: bool,
    cut: Option<Cut>,
}

impl<T: Transport> Connection<T> {
    pub(super) fn new(stream: T, slot: Slot, timeouts: ClientTimeouts) -> Self {
        Self {
            stream,
            flow: Rc::new(Flow::new()),
            patience: Patience::new(timeouts),
            slot,
            client: ClientPresence::default(),
            ahead: Vec::new(),
            scan: HeadScan::default(),
            given: 0,
            is_in_use: false,
            has_started: false,
            is_blocked: false,
            cut: None,
        }
    }

    pub(super) fn flow(&self) -> &Rc<Flow> {
        &self.flow
    }

    /// Whether the client is still there.
    pub(super) fn client(&self) -> &ClientPresence {
        &self.client
    }

    /// Notes whether the client has closed its side of the connection. If it has not, and has sent
    /// nothing, the task is woken when it does.
    fn note_departure(&self, cx: &mut Context<'_>) {
        let tcp = self.stream.tcp();
        if tcp.poll_read_ready(cx).is_ready() {
            let ready = pin!(tcp.ready(Interest::READABLE));
            if let Poll::Ready(Ok(ready)) = ready.poll(&mut Context::from_waker(Waker::noop()))
                && ready.is_read_closed()
            {
                self.client.leave();
            }
        }
    }

    /// The TLS session, if there is TLS.
    pub(super) fn tls(&self) -> Option<&SslRef> {
        self.stream.tls()
    }

    fn awaited(&self) -> Wait {
        match self.flow.stage() {
            _ if self.is_blocked => Wait::Reader,
            Stage::Answering => Wait::Handler,
            Stage::Body => Wait::Body,
            Stage::Idle if self.has_started => Wait::Head,
            Stage::Idle if self.is_in_use => Wait::NextRequest,
            Stage::Idle => Wait::Request,
        }
    }

    /// Waits for the client, or finds that it has waited long enough.
    fn wait(&mut self, cx: &mut Context<'_>) -> Option<Cut> {
        if self.flow.take_change() {
            (self.is_in_use, self.has_started) = (true, false);
            self.patience.progressed();
        }
        let (slot, wait) = (&self.slot, self.awaited());
        if let Poll::Ready(cut) = self.patience.poll(cx, wait, || slot.is_pressed()) {
            slot.cut(cut);
            if cut == Cut::Reader {
                // The system would otherwise keep trying to deliver what it has buffered.
                let _ = self.stream.tcp().set_zero_linger();
            }
            self.cut = Some(cut);
        }
        self.cut
    }

    /// Waits to read. A client that sends too slowly is treated as one that has nothing more to
    /// send, so that the HTTP library closes the connection in order.
    fn wait_to_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.wait(cx) {
            None => Poll::Pending,
            Some(Cut::Idle | Cut::Request | Cut::Body | Cut::Share) => Poll::Ready(Ok(())),
            Some(Cut::Reader) => Poll::Ready(Err(not_read())),
        }
    }

    /// Gives the HTTP library one head, or a part of it, and then lets it answer.
    fn poll_head(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let is_at_end = self.given > 0 && !self.scan.is_in_head();
        if is_at_end || self.given >= HEAD_STEP {
            if self.has_more(cx) {
                cx.waker().wake_by_ref();
            }
            return Poll::Pending;
        }
        let room = buf.remaining().min(HEAD_STEP);
        if self.ahead.is_empty() {
            let mut bytes = [0; HEAD_STEP];
            let mut part = ReadBuf::new(&mut bytes[..room]);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut part))?;
            let read = part.filled();
            self.note_departure(cx);
            let end = self.scan.take(read);
            buf.put_slice(&read[..end]);
            self.ahead.extend_from_slice(&read[end..]);
        } else {
            let end = self.scan.take(&self.ahead[..self.ahead.len().min(room)]);
            self.give_ahead(end, buf);
        }
        Poll::Ready(Ok(()))
    }

    /// Whether there is more to read now. If not, the task is woken when there is.
    fn has_more(&self, cx: &mut Context<'_>) -> bool {
        !self.ahead.is_empty()
            || self.stream.tls().is_some_and(|tls| tls.pending() > 0)
            || self.stream.tcp().poll_read_ready(cx).is_ready()
    }

    fn poll_body(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.given >= BODY_STEP {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.ahead.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        self.give_ahead(self.ahead.len().min(buf.remaining()), buf);
        Poll::Ready(Ok(()))
    }

    fn give_ahead(&mut self, end: usize, buf: &mut ReadBuf<'_>) {
        buf.put_slice(&self.ahead[..end]);
        if end < self.ahead.len() {
            self.ahead.drain(..end);
        } else {
            self.ahead = Vec::new();
        }
    }

    fn wait_to_write<R>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<R>> {
        self.is_blocked = true;
        match self.wait(cx) {
            None | Some(Cut::Idle | Cut::Request | Cut::Body | Cut::Share) => Poll::Pending,
            Some(Cut::Reader) => Poll::Ready(Err(not_read())),
        }
    }
}

fn not_read() -> io::Error {
    io::Error::new(
        io::ErrorKind::TimedOut,
        "the client does not read its answers",
    )
}

impl<T: Transport> AsyncRead for Connection<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let (before, stage) = (buf.filled().len(), this.flow.stage());
        let read = match stage {
            // The service has to act, or the client has to read what was written.
            Stage::Answering => {
                this.note_departure(cx);
                None
            }
            Stage::Idle | Stage::Body if this.is_blocked => None,
            Stage::Idle => Some(this.poll_head(cx, buf)),
            Stage::Body => Some(this.poll_body(cx, buf)),
        };
        match read {
            None => {
                this.flow.read_later(cx.waker());
                this.wait_to_read(cx)
            }
            Some(Poll::Pending) => {
                this.given = 0;
                this.wait_to_read(cx)
            }
            Some(Poll::Ready(Ok(()))) => {
                this.given += buf.filled().len() - before;
                match stage {
                    Stage::Body => this.patience.progressed(),
                    // A head has to be complete in time, however many bytes of it arrive.
                    Stage::Idle | Stage::Answering => this.has_started = true,
                }
                Poll::Ready(Ok(()))
            }
            Some(Poll::Ready(Err(error))) => Poll::Ready(Err(error)),
        }
    }
}

impl<T: Transport> AsyncWrite for Connection<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, buf);
        match written {
            Poll::Ready(Ok(_)) => this.patience.progressed(),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => return this.wait_to_write(cx),
        }
        written
    }

    /// The HTTP library flushes when the stream has accepted all that it had to write.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        if flushed.is_pending() {
            return this.wait_to_write(cx);
        }
        if std::mem::take(&mut this.is_blocked) {
            this.flow.wake_reader();
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let closed = Pin::new(&mut this.stream).poll_shutdown(cx);
        if closed.is_pending() {
            return this.wait_to_write(cx);
        }
        closed
    }
}
