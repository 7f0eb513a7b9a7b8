//! Opens sessions, and opens them again when they end.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::BytesMut;
use rusmpp::pdus::BindTransceiver;
use rusmpp::{Command, CommandId, CommandStatus};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;
use tokio::time::{Duration, sleep, timeout};

use super::bound::BoundSession;
use super::connection::{Connector, Stream};
use super::pdu::{self, Received};
use super::{SessionState, Submission};
use crate::domain::control::sending::{SendFailure, SendOutcome};
use crate::gateways::gateway::Reports;
use crate::telemetry::RunningTask;

/// The wait before a session is opened again; it doubles up to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// What a session is opened with.
#[derive(Debug)]
pub(super) struct Session {
    pub name: String,
    pub connector: Connector,
    pub bind: BindTransceiver,
    pub timeout: Duration,
    pub enquire_interval: Duration,
    pub window: usize,
    pub shared: Arc<SessionState>,
    pub stopped: watch::Receiver<bool>,
}

/// Why a session has ended.
#[derive(Debug)]
pub(super) enum SessionEnd {
    /// The service stops.
    Stopped,
    Failed(SendFailure, String),
}

/// Keeps a session open until the service stops.
pub(super) fn run(
    runtime: &Runtime,
    mut session: Session,
    mut submissions: Receiver<Submission>,
    reports: &Reports,
    task: RunningTask,
) {
    let mut wait = FIRST_WAIT;
    loop {
        let opened =
            task.attempt(|| runtime.block_on(session.open(&mut submissions, reports, &mut wait)));
        // A panic ends the session like any other fault; it is counted.
        session.shared.is_bound.store(false, Ordering::SeqCst);
        session.shared.is_paused.store(false, Ordering::SeqCst);
        // What was handed over while the session ended was not sent.
        while let Ok(submission) = submissions.try_recv() {
            let lost = SendOutcome::Later(SendFailure::Unreachable, None);
            let _ = submission.answer.try_send(lost);
        }
        match opened {
            Some(SessionEnd::Stopped) => return task.stop(),
            Some(SessionEnd::Failed(failure, why)) => {
                reports.failed(failure);
                let (gateway, failure) = (session.name.as_str(), failure.as_str());
                log::warn!(gateway = gateway, failure = failure; "no session with the SMSC, and will be retried: {why}");
            }
            None => {}
        }
        let stopped = runtime.block_on(async {
            tokio::select! {
                _ = session.stopped.wait_for(|stopped| *stopped) => true,
                () = sleep(wait) => false,
            }
        });
        if stopped {
            return task.stop();
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

impl Session {
    async fn open(
        &mut self,
        submissions: &mut Receiver<Submission>,
        reports: &Reports,
        wait: &mut Duration,
    ) -> SessionEnd {
        let mut stopped = self.stopped.clone();
        let bound = tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return SessionEnd::Stopped,
            bound = timeout(self.timeout, self.bound()) => bound,
        };
        let (stream, buffer) = match bound {
            Ok(Ok(bound)) => bound,
            Ok(Err((failure, why))) => return SessionEnd::Failed(failure, why),
            Err(_) => {
                let why = "not bound in time".to_owned();
                return SessionEnd::Failed(SendFailure::Timeout, why);
            }
        };
        *wait = FIRST_WAIT;
        self.shared.is_bound.store(true, Ordering::SeqCst);
        log::info!(gateway = self.name.as_str(); "bound to the SMSC");
        reports.is_ready();
        let bound = BoundSession::new(self, (stream, buffer), reports);
        bound.serve(submissions, &mut stopped).await
    }

    /// A stream on which the SMSC has accepted the bind, and what it sent after that.
    async fn bound(&self) -> Result<(Box<dyn Stream>, BytesMut), (SendFailure, String)> {
        let interrupted = |error: std::io::Error| (SendFailure::Interrupted, error.to_string());
        let mut stream = self.connector.connect().await?;
        let bind = pdu::frame(CommandStatus::EsmeRok, 1, self.bind.clone());
        stream.write_all(&bind).await.map_err(interrupted)?;
        stream.flush().await.map_err(interrupted)?;
        let mut buffer = BytesMut::new();
        loop {
            match pdu::take(&mut buffer) {
                Ok(None) => {}
                Ok(Some(Received::Known(answer))) if is_bind_answer(&answer) => {
                    return match (answer.id(), answer.status()) {
                        (CommandId::BindTransceiverResp, CommandStatus::EsmeRok) => {
                            Ok((stream, buffer))
                        }
                        (_, status) => Err((SendFailure::Login, format!("bind: {status:?}"))),
                    };
                }
                // Too early, but no reason not to bind.
                Ok(Some(_)) => continue,
                Err(_) => {
                    let why = "the answer to bind is not that of an SMSC".to_owned();
                    return Err((SendFailure::Answer, why));
                }
            }
            if stream.read_buf(&mut buffer).await.map_err(interrupted)? == 0 {
                let why = "closed before the bind was answered".to_owned();
                return Err((SendFailure::Interrupted, why));
            }
        }
    }
}

fn is_bind_answer(command: &Command) -> bool {
    let answers = [CommandId::BindTransceiverResp, CommandId::GenericNack];
    command.sequence_number() == 1 && answers.contains(&command.id())
}
