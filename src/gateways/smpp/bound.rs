//! A session that is bound: submits, answers the SMSC, and watches the time.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;

use bytes::BytesMut;
use rusmpp::pdus::{DataSmResp, DeliverSmResp};
use rusmpp::{Command, CommandStatus, Pdu};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;
use tokio::time::{Duration, Instant, interval, timeout};
use uuid::Uuid;

use super::Submission;
use super::connection::Stream;
use super::pdu::{self, Received};
use super::receipts::{self, normalized};
use super::session::{Session, SessionEnd};
use crate::domain::control::sending::{SendFailure, SendOutcome};
use crate::gateways::gateway::Reports;

/// How long nothing is submitted after the SMSC asked to send more slowly.
const PAUSE: Duration = Duration::from_secs(1);
/// How often timeouts are checked.
const TICK: Duration = Duration::from_millis(100);
/// How long the SMSC has to answer an `unbind`.
const UNBIND_TIMEOUT: Duration = Duration::from_secs(2);
/// The largest sequence number (SMPP 3.4 §3.2).
const MAX_SEQUENCE: u32 = 0x7fff_ffff;

/// A message that waits for its answer.
struct AwaitedAnswer {
    proof: Uuid,
    answer: SyncSender<SendOutcome>,
    deadline: Instant,
}

/// A session that is bound.
pub(super) struct BoundSession<'a> {
    session: &'a Session,
    stream: Box<dyn Stream>,
    buffer: BytesMut,
    reports: &'a Reports,
    waiting: HashMap<u32, AwaitedAnswer>,
    /// The last sequence number that was used.
    sequence: u32,
    /// When the SMSC last sent anything.
    heard: Instant,
    /// When an `enquire_link` was sent that has no answer.
    enquired: Option<Instant>,
    paused_until: Option<Instant>,
}

type Continued = Result<(), SessionEnd>;

impl<'a> BoundSession<'a> {
    /// A session on a stream, with what the SMSC sent after its answer to the bind.
    pub(super) fn new(
        session: &'a Session,
        (stream, buffer): (Box<dyn Stream>, BytesMut),
        reports: &'a Reports,
    ) -> Self {
        Self {
            session,
            stream,
            buffer,
            reports,
            waiting: HashMap::new(),
            // The bind was 1.
            sequence: 1,
            heard: Instant::now(),
            enquired: None,
            paused_until: None,
        }
    }

    /// Serves until the session ends. What has no answer by then may have been sent.
    pub(super) async fn serve(
        mut self,
        submissions: &mut Receiver<Submission>,
        stopped: &mut watch::Receiver<bool>,
    ) -> SessionEnd {
        let end = self.serve_until(submissions, stopped).await;
        for (_, waiting) in self.waiting.drain() {
            let unclear = SendOutcome::Unclear(SendFailure::Interrupted, None);
            let _ = waiting.answer.try_send(unclear);
        }
        end
    }

    async fn serve_until(
        &mut self,
        submissions: &mut Receiver<Submission>,
        stopped: &mut watch::Receiver<bool>,
    ) -> SessionEnd {
        let mut ticks = interval(TICK);
        loop {
            if let Err(end) = self.handle_received().await {
                return end;
            }
            let has_room = self.waiting.len() < self.session.window;
            let continued = tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => return self.unbind().await,
                read = self.stream.read_buf(&mut self.buffer) => self.has_read(read),
                Some(submission) = submissions.recv(), if has_room => self.submit(submission).await,
                _ = ticks.tick() => self.check_time().await,
            };
            if let Err(end) = continued {
                return end;
            }
        }
    }

    fn has_read(&mut self, read: std::io::Result<usize>) -> Continued {
        let failed = |why: String| Err(SessionEnd::Failed(SendFailure::Interrupted, why));
        match read {
            Ok(0) => failed("the SMSC closed the connection".to_owned()),
            Ok(_) => {
                self.heard = Instant::now();
                Ok(())
            }
            Err(error) => failed(error.to_string()),
        }
    }

    async fn write(&mut self, framed: &[u8]) -> Continued {
        let stream = &mut self.stream;
        let written = timeout(self.session.timeout, async {
            stream.write_all(framed).await?;
            stream.flush().await
        });
        match written.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(SessionEnd::Failed(
                SendFailure::Interrupted,
                error.to_string(),
            )),
            Err(_) => Err(SessionEnd::Failed(
                SendFailure::Timeout,
                "the SMSC does not read".to_owned(),
            )),
        }
    }

    fn next_sequence(&mut self) -> u32 {
        self.sequence = match self.sequence {
            MAX_SEQUENCE => 1,
            sequence => sequence + 1,
        };
        self.sequence
    }

    async fn submit(&mut self, submission: Submission) -> Continued {
        let sequence = self.next_sequence();
        let framed = pdu::frame(CommandStatus::EsmeRok, sequence, *submission.message);
        let waiting = AwaitedAnswer {
            proof: submission.proof,
            answer: submission.answer,
            deadline: Instant::now() + self.session.timeout,
        };
        // Before it is written: a part of it may have arrived if that fails.
        self.waiting.insert(sequence, waiting);
        self.write(&framed).await
    }

    /// Handles all PDUs that have arrived as a whole.
    async fn handle_received(&mut self) -> Continued {
        loop {
            match pdu::take(&mut self.buffer) {
                Ok(None) => return Ok(()),
                Ok(Some(Received::Known(command))) => self.handle(*command).await?,
                Ok(Some(Received::Unreadable { sequence })) => self.nack(sequence).await?,
                Err(_) => {
                    let why = "what arrived is not SMPP".to_owned();
                    return Err(SessionEnd::Failed(SendFailure::Answer, why));
                }
            }
        }
    }

    async fn handle(&mut self, command: Command) -> Continued {
        let (sequence, status) = (command.sequence_number(), command.status());
        let ok = CommandStatus::EsmeRok;
        match command.pdu() {
            Some(Pdu::DeliverSm(message)) => {
                if let Some(receipt) = receipts::receipt_in(message) {
                    self.reports.receipt(receipt);
                }
                let answer = pdu::frame(ok, sequence, DeliverSmResp::default());
                self.write(&answer).await
            }
            Some(Pdu::DataSm(_)) => {
                let answer = pdu::frame(ok, sequence, DataSmResp::default());
                self.write(&answer).await
            }
            Some(Pdu::EnquireLink) => {
                let answer = pdu::frame(ok, sequence, Pdu::EnquireLinkResp);
                self.write(&answer).await
            }
            Some(Pdu::Unbind) => {
                let answer = pdu::frame(ok, sequence, Pdu::UnbindResp);
                self.write(&answer).await?;
                let why = "the SMSC ended the session".to_owned();
                Err(SessionEnd::Failed(SendFailure::Interrupted, why))
            }
            Some(Pdu::EnquireLinkResp) => {
                self.enquired = None;
                Ok(())
            }
            Some(Pdu::SubmitSmResp(answer)) => {
                self.answered(sequence, status, Some(answer.message_id().as_str()));
                Ok(())
            }
            // An answer that is an error may have no body.
            None | Some(Pdu::GenericNack) => {
                self.answered(sequence, status, None);
                Ok(())
            }
            Some(Pdu::AlertNotification(_) | Pdu::Outbind(_)) => Ok(()),
            // Requests that only a client sends, and answers to them.
            Some(_) => self.nack(sequence).await,
        }
    }

    async fn nack(&mut self, sequence: u32) -> Continued {
        let nack = pdu::frame(CommandStatus::EsmeRinvcmdid, sequence, Pdu::GenericNack);
        self.write(&nack).await
    }

    /// The SMSC answered a message.
    fn answered(&mut self, sequence: u32, status: CommandStatus, id: Option<&str>) {
        let Some(waiting) = self.waiting.remove(&sequence) else {
            return;
        };
        let outcome = meaning(status);
        if outcome == SendOutcome::Later(SendFailure::Throttled, None) {
            self.paused_until = Some(Instant::now() + PAUSE);
            self.session.shared.is_paused.store(true, Ordering::SeqCst);
        }
        let _ = waiting.answer.try_send(outcome);
        if let (SendOutcome::Accepted, Some(id)) = (outcome, id.filter(|id| !id.is_empty())) {
            self.reports.accepted(waiting.proof, normalized(id));
        }
    }

    /// Ends what has waited too long, and checks a session that is idle.
    async fn check_time(&mut self) -> Continued {
        let now = Instant::now();
        self.waiting.retain(|_, waiting| {
            let is_late = waiting.deadline <= now;
            if is_late {
                let unclear = SendOutcome::Unclear(SendFailure::Timeout, None);
                let _ = waiting.answer.try_send(unclear);
            }
            !is_late
        });
        if self.paused_until.is_some_and(|until| until <= now) {
            self.paused_until = None;
            self.session.shared.is_paused.store(false, Ordering::SeqCst);
            self.reports.is_ready();
        }
        match self.enquired {
            Some(at) if now.duration_since(at) >= self.session.timeout => {
                let why = "the SMSC does not answer `enquire_link`".to_owned();
                Err(SessionEnd::Failed(SendFailure::Timeout, why))
            }
            None if now.duration_since(self.heard) >= self.session.enquire_interval => {
                self.enquired = Some(now);
                let sequence = self.next_sequence();
                let enquire = pdu::frame(CommandStatus::EsmeRok, sequence, Pdu::EnquireLink);
                self.write(&enquire).await
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Ends the session in an orderly way, within a bound.
    async fn unbind(&mut self) -> SessionEnd {
        let sequence = self.next_sequence();
        let unbind = pdu::frame(CommandStatus::EsmeRok, sequence, Pdu::Unbind);
        let farewell = async {
            self.stream.write_all(&unbind).await?;
            self.stream.flush().await?;
            loop {
                while let Ok(Some(received)) = pdu::take(&mut self.buffer) {
                    let Received::Known(command) = received else {
                        continue;
                    };
                    let (sequence, status) = (command.sequence_number(), command.status());
                    match command.pdu() {
                        Some(Pdu::UnbindResp) => return Ok(()),
                        Some(Pdu::SubmitSmResp(answer)) => {
                            let id = answer.message_id().as_str().to_owned();
                            self.answered(sequence, status, Some(&id));
                        }
                        _ => {}
                    }
                }
                if self.stream.read_buf(&mut self.buffer).await? == 0 {
                    return std::io::Result::Ok(());
                }
            }
        };
        // Whether it was answered makes no difference any more.
        let _ = timeout(UNBIND_TIMEOUT, farewell).await;
        SessionEnd::Stopped
    }
}

/// What the status of an answer to `submit_sm` means.
const fn meaning(status: CommandStatus) -> SendOutcome {
    match status {
        CommandStatus::EsmeRok => SendOutcome::Accepted,
        CommandStatus::EsmeRthrottled | CommandStatus::EsmeRmsgqful => {
            SendOutcome::Later(SendFailure::Throttled, None)
        }
        // This message, or what the configuration says of it, will never be accepted.
        CommandStatus::EsmeRinvmsglen
        | CommandStatus::EsmeRinvsrcadr
        | CommandStatus::EsmeRinvdstadr
        | CommandStatus::EsmeRinvsrcton
        | CommandStatus::EsmeRinvsrcnpi
        | CommandStatus::EsmeRinvdstton
        | CommandStatus::EsmeRinvdstnpi
        | CommandStatus::EsmeRinvdcs
        | CommandStatus::EsmeRinvexpiry
        | CommandStatus::EsmeRinvregdlvflg
        | CommandStatus::EsmeRprohibited => SendOutcome::Refused(SendFailure::Refused),
        // Such as a system error, which can come after the message was accepted.
        _ => SendOutcome::Unclear(SendFailure::Refused, None),
    }
}
