//! Re-proofing: the service starts the next proofs of the numbers of a right to renew by itself,
//! before the last ones are too old.
//!
//! These transactions run beside mints, which read nothing that is written here, and each takes a
//! bounded number of rights. `domain::control::reproofing` says when.

mod numbers;
mod required;
mod rooms;
mod steps;
mod store_errors;

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::ControlSettings;
use super::start::insert;
use crate::authority::audited::event_by;
use crate::authority::{Authority, StoreError};
use crate::domain::clock::Time;
use crate::domain::control::codes::Codes;
use crate::domain::control::proof::ControlProof;
use crate::domain::control::reproofing::Reproofing;
use crate::domain::control::sending::SendFailure;
use crate::domain::decision::holding_delegations;
use crate::domain::issuance::RuledRequest;
use crate::domain::tokens::renewal::Renewal;
use crate::domain::{Actor, AuditAction, Caller, Event, Spc, Tn, new_id};
use crate::store::{NextDue, Tx};
use crate::telemetry::{ProofOutcome, ReproofOutcome};
use rooms::Rooms;
use store_errors::unreadable;

/// A pause is so many times as long as the run before it.
const PAUSES_PER_RUN: u32 = 120;
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// The most rights of one transaction, so that it holds up nothing for long.
const MAX_RIGHTS: u16 = 5;
/// The most numbers that one transaction looks up, unless one right has more.
const MAX_NUMBERS: usize = 1_000;
/// The most numbers that one transaction asks.
const MAX_ASKED: usize = 20;

/// The failure of a proof that was not started, and only reports that.
const LIMITED: &str = SendFailure::Limited.as_str();

/// What one transaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReproofRun {
    /// How many rights were checked. If there are any, there may be more.
    pub rights: usize,
    /// How many numbers are asked.
    pub asked: usize,
}

impl ReproofRun {
    /// How long to wait before the next run, if this one took so long: then these transactions
    /// occupy the writer for less than a hundredth of the time, which mints hardly notice.
    #[must_use]
    pub fn pause(took: Duration) -> Duration {
        (took * PAUSES_PER_RUN).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
    }
}

/// What the transaction needs.
struct ReproofTask {
    now: Time,
    settings: ControlSettings,
    codes: Arc<dyn Codes>,
    spcs: Vec<Spc>,
    caller: Caller,
    actor: Actor,
    event: Event,
    /// Nobody else knows them.
    random: [u8; 32],
}

/// What became of the rights.
#[derive(Default)]
struct CheckedRights {
    /// When each is due next.
    due: Vec<NextDue>,
    started: Vec<ControlProof>,
    limited: u64,
    without_authority: u64,
}

impl CheckedRights {
    fn is_due(&mut self, right: &Renewal, at: Option<Time>) {
        let was = right.control.as_ref().and_then(|control| control.due_at);
        let right = right.id;
        self.due.extend(was.map(|was| NextDue { right, was, at }));
    }
}

/// A right whose numbers are checked.
struct OpenRight {
    right: Renewal,
    control: Reproofing,
    numbers: Vec<Tn>,
}

impl Authority {
    /// Starts proofs for rights that are due: at most those that one short transaction can take.
    ///
    /// # Errors
    /// If the store fails, or a code is not available.
    pub async fn reproof(&self) -> Result<ReproofRun, StoreError> {
        let now = self.clock.now();
        let settings = &self.control.settings;
        // Usually there is nothing to do: find out by a read, without occupying the writer. While a
        // gateway has no room, its rights stay due.
        let is_due = self.store.read(|tx| {
            let rooms = Rooms::read(tx, settings, now)?;
            let is_due = tx.has_due_reproof(now, &rooms.methods())?
                || !tx.overdue_reproofs(now, &rooms.full(), 1)?.is_empty();
            if is_due {
                self.check_clock(tx)?;
            }
            Ok::<_, StoreError>(is_due)
        })?;
        if !is_due {
            return Ok(ReproofRun::default());
        }
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let caller = Caller::the_service(new_id(now));
        let task = ReproofTask {
            now,
            settings: settings.clone(),
            codes: Arc::clone(&self.control.codes),
            spcs: self.carrier.spcs.clone(),
            actor: self.actor(&caller),
            event: event_by(&caller, now, AuditAction::StartControlProof),
            caller,
            random,
        };
        let work = move |tx: &mut Tx<'_>| task.run(tx);
        let checked = self.store.write_alongside("reproof-control", work).await?;
        let sent = |proof: &&ControlProof| proof.failure.as_deref() != Some(LIMITED);
        let run = ReproofRun {
            rights: checked.due.len(),
            asked: checked.started.iter().filter(sent).count(),
        };
        if run.asked > 0 {
            self.control.signal.notify();
        }
        let metrics = &self.metrics.control;
        for proof in checked.started.iter().filter(sent) {
            metrics.proof(proof.method.as_str(), ProofOutcome::Started);
        }
        for (outcome, count) in [
            (ReproofOutcome::Started, run.asked as u64),
            (ReproofOutcome::Limited, checked.limited),
            (ReproofOutcome::NoAuthority, checked.without_authority),
        ] {
            metrics.reproofs(outcome, count);
        }
        Ok(run)
    }
}

impl ReproofTask {
    fn run(&self, tx: &mut Tx<'_>) -> Result<CheckedRights, StoreError> {
        let mut checked = CheckedRights::default();
        if !tx.lock_reproofs()? {
            return Ok(checked);
        }
        let mut rooms = Rooms::read(tx, &self.settings, self.now)?;
        let mut due = tx.due_reproofs(self.now, &rooms.methods(), MAX_RIGHTS)?;
        // Where no number can be asked, those that have waited for too long are reported.
        due.extend(tx.overdue_reproofs(self.now, &rooms.full(), MAX_RIGHTS)?);
        let open = self.open(tx, due, &mut checked)?;
        let open = self.with_authority(tx, open, &mut checked)?;
        let drafts = self.steps(tx, &open, &mut rooms, &mut checked)?;
        checked.started = insert(tx, &drafts, &self.event, None)?;
        tx.set_reproofs_due(&checked.due)?;
        Ok(checked)
    }

    /// The rights that are not over, as many as one transaction can take, each with the numbers
    /// that it has to prove: all, or the sample that stands for them.
    fn open(
        &self,
        tx: &mut Tx<'_>,
        due: Vec<Renewal>,
        checked: &mut CheckedRights,
    ) -> Result<Vec<OpenRight>, StoreError> {
        let (mut open, mut numbers) = (Vec::new(), 0);
        for right in due {
            let Some(control) = right.control.clone() else {
                continue;
            };
            let has_expired = right.not_after.is_some_and(|end| end <= self.now);
            if right.revoked_at.is_some() || has_expired {
                checked.is_due(&right, None);
                continue;
            }
            let required = self.required(tx, &right)?;
            if required.is_empty() {
                // The configuration has no sample any more that stands for such a long list.
                let until = control.without_authority_until(self.now);
                checked.is_due(&right, Some(until));
                continue;
            }
            if numbers > 0 && numbers + required.len() > MAX_NUMBERS {
                break;
            }
            numbers += required.len();
            open.push(OpenRight {
                right,
                control,
                numbers: required,
            });
        }
        Ok(open)
    }

    /// Those of the rights whose account has authority over each of these numbers now, by the
    /// delegation of the right. The others would get no token, so they are not asked.
    fn with_authority(
        &self,
        tx: &mut Tx<'_>,
        open: Vec<OpenRight>,
        checked: &mut CheckedRights,
    ) -> Result<Vec<OpenRight>, StoreError> {
        let questions = open.iter().map(|one| {
            let by = (self.actor.clone(), self.spcs.as_slice());
            RuledRequest::for_numbers(by, &one.right.account, &one.numbers, self.now)
        });
        let questions = questions.collect::<Result<Vec<RuledRequest>, _>>();
        let questions = questions.map_err(|error| unreadable(&error))?;
        if questions.is_empty() {
            return Ok(Vec::new());
        }
        // Those without facts stay due.
        let facts = tx.facts_of_several(&questions.iter().collect::<Vec<_>>())?;
        let mut holding = Vec::new();
        for ((one, ruled), facts) in open.into_iter().zip(&questions).zip(&facts) {
            let question = ruled.question(facts.lifetime);
            let held = holding_delegations(&question, facts, &one.numbers);
            let holds_all = held.is_ok_and(|held| {
                let holds = |held: &Result<Vec<Uuid>, _>| {
                    let held = held.as_ref();
                    held.is_ok_and(|rows| rows.contains(&one.right.delegation))
                };
                held.len() == one.numbers.len() && held.iter().all(holds)
            });
            if holds_all {
                holding.push(one);
            } else {
                let until = one.control.without_authority_until(self.now);
                checked.is_due(&one.right, Some(until));
                checked.without_authority += 1;
            }
        }
        Ok(holding)
    }
}
