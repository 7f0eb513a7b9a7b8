//! The jobs of the writer: orders and changes. Each keeps its outcome until COMMIT.

use std::sync::Weak;
use std::time::Instant;

use super::super::client_presence::ClientPresence;
use super::super::error::StoreError;
use super::super::timeouts::TransactionKind;
use super::super::tx::Tx;
use super::reply::{Overdue, Reply};
use crate::domain::issuance::{Decided, MintOrder};
use crate::domain::tokens::grant::{Grant, Recorded};
use crate::domain::{Actor, AuditAction, Denial};

/// The outcome of an order: a recorded grant, or a recorded denial.
pub type Verdict = Result<Recorded<Grant>, Denial>;

/// A job that waits for the writer.
#[derive(Debug)]
pub(in crate::store) struct QueuedJob {
    pub(super) job: WriteJob,
    /// Since when it waits for the exclusive lock, if it was tried and another process had it.
    pub(super) refused_since: Option<Instant>,
}

impl From<WriteJob> for QueuedJob {
    fn from(job: WriteJob) -> Self {
        Self {
            job,
            refused_since: None,
        }
    }
}

/// A job for the writer, which keeps its outcome until COMMIT.
pub(in crate::store) enum WriteJob {
    Issue(Box<IssueJob>),
    Change(Box<dyn Change>),
}

impl std::fmt::Debug for WriteJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Job").field(&self.name()).finish()
    }
}

/// An order, its decision, and the channel to the request that waits for it.
pub(super) struct IssueJob {
    pub(super) order: MintOrder,
    pub(super) decided: Option<Decided>,
    /// Who waits for the token, if it is known.
    pub(super) client: Option<ClientPresence>,
    pub(super) reply: Reply<Verdict, StoreError>,
}

/// A change of the database: a closure that can run more than once, with its type erased.
pub(super) trait Change: Send {
    fn name(&self) -> &'static str;
    /// Whether it excludes minting and other changes, on all replicas.
    fn is_exclusive(&self) -> bool;
    fn run(&mut self, tx: &mut Tx<'_>);
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
    fn is_answered(&self) -> bool;
    fn overdue(&self) -> Weak<dyn Overdue>;
}

pub(super) struct ChangeOf<F, T, E> {
    /// The caller whose credential must still be valid; `None` for writes of the service itself.
    pub(super) actor: Option<Actor>,
    pub(super) name: &'static str,
    pub(super) exclusive: bool,
    pub(super) work: F,
    pub(super) outcome: Option<Result<T, E>>,
    pub(super) reply: Reply<T, E>,
}

impl<F, T, E> Change for ChangeOf<F, T, E>
where
    F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send,
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn is_exclusive(&self) -> bool {
        self.exclusive
    }

    fn run(&mut self, tx: &mut Tx<'_>) {
        let (actor, work, mut ended) = (&self.actor, &mut self.work, None);
        let mut outcome = tx.savepoint(|tx| {
            if let Some(actor) = actor {
                ended = tx.credential_end(actor)?;
            }
            match ended {
                None => work(tx),
                Some(_) => Err(StoreError::ProofEnded.into()),
            }
        });
        // In a savepoint of its own, since the first one was rolled back.
        if let (Some(actor), Some(ended)) = (actor, ended) {
            let refusal = actor.refusal(self.name, ended, actor.now());
            if let Err(error) = tx.savepoint(|tx| tx.record(&refusal)) {
                outcome = Err(error.into());
            }
        }
        self.outcome = Some(outcome);
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let outcome = match (committed, self.outcome) {
            (Ok(()), Some(outcome)) => outcome,
            (Ok(()), None) => {
                Err(StoreError::Unavailable("the change was not run".to_owned()).into())
            }
            (Err(error), _) => Err(error.into()),
        };
        self.reply.send(outcome);
    }

    fn is_answered(&self) -> bool {
        self.reply.is_answered()
    }

    fn overdue(&self) -> Weak<dyn Overdue> {
        self.reply.overdue()
    }
}

impl WriteJob {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Issue(_) => "issue",
            Self::Change(change) => change.name(),
        }
    }

    pub(super) fn is_exclusive(&self) -> bool {
        match self {
            Self::Issue(_) => false,
            Self::Change(change) => change.is_exclusive(),
        }
    }

    pub(super) fn answer(self, committed: Result<(), StoreError>) {
        match self {
            Self::Change(change) => change.answer(committed),
            Self::Issue(job) => {
                let verdict = match (committed, job.decided) {
                    (Ok(()), Some(Decided::Granted(grant))) => {
                        Ok(Ok(Recorded::after_commit(grant)))
                    }
                    (Ok(()), Some(Decided::Denied(denial))) => Ok(Err(denial)),
                    (Ok(()), Some(Decided::Replayed(replay))) => Err(replay.into()),
                    (Ok(()), None) => Err(StoreError::Unavailable(
                        "the order was not decided".to_owned(),
                    )),
                    (Err(error), _) => Err(error),
                };
                job.reply.send(verdict);
            }
        }
    }

    /// How long its transaction may take: those that compare a whole table take longest.
    pub(super) fn kind(&self) -> TransactionKind {
        if let Self::Issue(_) = self {
            return TransactionKind::Mint;
        }
        let long = [AuditAction::Import, AuditAction::UndoImport];
        if long.iter().any(|action| action.as_str() == self.name()) {
            TransactionKind::Long
        } else {
            TransactionKind::Request
        }
    }

    /// Whether the caller was told already that the database is not available, so that it must not
    /// be done any more.
    pub(super) fn is_answered(&self) -> bool {
        match self {
            Self::Issue(job) => job.reply.is_answered(),
            Self::Change(change) => change.is_answered(),
        }
    }

    /// Whether it is an order whose client has left. A change is done nevertheless, since it counts
    /// without its answer.
    pub(super) fn is_abandoned(&self) -> bool {
        match self {
            Self::Issue(job) => job.client.as_ref().is_some_and(ClientPresence::has_left),
            Self::Change(_) => false,
        }
    }

    pub(super) fn overdue(&self) -> Weak<dyn Overdue> {
        match self {
            Self::Issue(job) => job.reply.overdue(),
            Self::Change(change) => change.overdue(),
        }
    }
}
