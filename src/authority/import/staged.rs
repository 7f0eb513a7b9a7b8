//! Imports of tables that are too long for one transaction. All other rules are those of
//! `delegation_diff`, to the letter: the lines come in groups that share no number, so what it
//! finds for each group is what it would find for the whole table.
//!
//! 1. *Begin*: the import takes the next sequence of `change_counter`. The delegations that it adds
//!    were made then: numbers that leave while it runs leave them too.
//! 2. *Stage*: each group is compared and written in a transaction that shares the lock with
//!    minting and excludes other changes of the inventory. No decision sees the rows, but their
//!    numbers are taken: another change that would have to have them free is refused.
//! 3. *Take effect*: one short transaction marks the import as effective, ends the rows that it
//!    ends, and records the event and the job.
//!
//! What fails, or has no heartbeat, is given up first, so that its process cannot continue. Then it
//! is deleted, a part at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;

use super::difference::ImportChange;
use super::error::ImportError;
use super::job_heartbeats::{INTERVAL, JobHeartbeats};
use super::outcome::{Imported, RANGES_NAMED};
use super::{ImportOptions, ImportRun, RunningJob, conclude, delegation_diff, outcome_of, write};
use crate::authority::audited::event_by;
use crate::authority::{Authority, ChangeError};
use crate::domain::clock::Time;
use crate::domain::inventory::Delegation;
use crate::domain::{AccountId, AuditAction, Caller, new_id};
use crate::store::{StoreError, Tx, UnfinishedImport};
use crate::tables::{DelegationRow, Format, SortedDelegations, TableRow, TableSummary};

/// How many lines are compared and written in one transaction. Mints wait meanwhile.
const GROUP: usize = 1_000;
/// The most rows that a long table may end: all of them end in the transaction that it takes effect
/// in, while no token is issued.
const MAX_ENDING: usize = 20_000;
/// The most accounts whose trail gets an event of their own, for the same reason.
const MAX_ACCOUNTS: usize = 2_000;
/// After this time without a heartbeat, an import is given up. It has several in a second.
const MAX_SILENCE_SECONDS: i64 = 15;
/// How many rows of a failed import are deleted in one transaction.
const DISCARDED_AT_ONCE: i64 = 1_000;
/// The name of the transactions.
const NAME: &str = "import-lines";

/// What all groups change, or would change.
#[derive(Debug, Default)]
struct StagedDifference {
    /// Without what ends.
    imported: Imported,
    ending: Vec<(Delegation, Time)>,
    /// How many delegations each account gets; empty if they are too many.
    accounts: BTreeMap<AccountId, u64>,
    more_accounts: bool,
}

/// What one group changes, with its refused lines and notes.
type GroupDifference = (ImportChange, TableSummary);

impl Authority {
    /// Imports a long table.
    pub(super) async fn import_many(
        &self,
        caller: &Caller,
        (lines, summary): (&SortedDelegations, TableSummary),
        options: ImportOptions,
        job: Option<&RunningJob>,
    ) -> Result<Imported, ImportError> {
        let now = self.clock.now();
        if options.dry_run || summary.refused.count > 0 {
            let found = self.preview(lines, summary, now, job).await?;
            if !options.dry_run {
                return Err(ImportError::Lines(found.imported.summary.refused));
            }
            return self.store.read_at_length(|tx| {
                let change = ImportChange::of_ends(found.ending);
                let ends = outcome_of(tx, &change, TableSummary::default(), true, now)?;
                Ok(found.imported.with_ends(ends))
            });
        }
        let mut heartbeats = JobHeartbeats::of(self, job);
        while !self.discard_failed_imports(INTERVAL).await? {
            heartbeats.beat().await?;
        }
        let id = job.map_or_else(|| new_id(now), |job| job.id);
        let begin = move |tx: &mut Tx<'_>| {
            must_be_alone(tx, now)?;
            Ok::<_, ImportError>(tx.begin_staged_import(id, now)?)
        };
        let sequence: i64 = self.change_as_service(NAME, begin).await?;
        let staged = self.stage(lines, summary, (sequence, now), job).await;
        let outcome = match staged {
            Ok(found) => {
                let import = UnfinishedImport {
                    sequence,
                    import: id,
                    heartbeat_at: None,
                };
                self.take_effect(caller, import, found, options, job).await
            }
            Err(error) if job.is_none() => self.refuse(caller, error).await,
            Err(error) => Err(error),
        };
        let Err(error) = outcome else {
            return outcome;
        };
        let end = move |tx: &mut Tx<'_>| tx.give_up_import(sequence);
        // If this fails, it is given up once its heartbeat is too old.
        let ended = self.store.write_alongside(NAME, end).await;
        if job.is_some() || ended.is_err() {
            // The runner records the failure of a job, and deletes the rows when it is idle.
            return Err(error);
        }
        if let Err(cause) = self.discard_failed_imports(Duration::MAX).await {
            log::warn!("the rows of a failed import are not deleted yet: {cause}");
        }
        Err(error)
    }

    /// Compares all groups with the database, and writes nothing.
    async fn preview(
        &self,
        lines: &SortedDelegations,
        summary: TableSummary,
        now: Time,
        job: Option<&RunningJob>,
    ) -> Result<StagedDifference, ImportError> {
        let mut found = StagedDifference::of(summary);
        let mut heartbeats = JobHeartbeats::of(self, job);
        for group in lines.groups(GROUP)? {
            heartbeats.beat().await?;
            let group = group?;
            let in_group = self.store.read_at_length(|tx| compare(tx, &group, now))?;
            found.add(in_group)?;
        }
        Ok(found)
    }

    /// Compares all groups with the database and writes what they add; after the first refused
    /// line, it only compares.
    async fn stage(
        &self,
        lines: &SortedDelegations,
        summary: TableSummary,
        (sequence, now): (i64, Time),
        job: Option<&RunningJob>,
    ) -> Result<StagedDifference, ImportError> {
        let mut found = StagedDifference::of(summary);
        let mut heartbeats = JobHeartbeats::of(self, job);
        for group in lines.groups(GROUP)? {
            heartbeats.beat().await?;
            let (group, at) = (Arc::new(group?), self.clock.now());
            let is_clean = found.imported.summary.refused.count == 0;
            let work = move |tx: &mut Tx<'_>| {
                if !tx.record_import_heartbeat(sequence, at)? {
                    return Ok(Err(ImportError::Lost));
                }
                let (change, summary) = match compare(tx, &group, now) {
                    Ok(in_group) => in_group,
                    Err(ImportError::Refused(ChangeError::Store(error))) => return Err(error),
                    Err(refused) => return Ok(Err(refused)),
                };
                if is_clean && summary.refused.count == 0 {
                    let mut added = change.delegations.add.clone();
                    for row in &mut added {
                        row.sequence = sequence;
                    }
                    tx.stage_delegations(&added)?;
                }
                Ok(Ok((change, summary)))
            };
            found.add(self.store.write_alongside(NAME, work).await??)?;
        }
        if found.imported.summary.refused.count > 0 {
            return Err(ImportError::Lines(found.imported.summary.refused));
        }
        Ok(found)
    }

    /// The instant from which on the import counts.
    async fn take_effect(
        &self,
        caller: &Caller,
        import: UnfinishedImport,
        found: StagedDifference,
        options: ImportOptions,
        job: Option<&RunningJob>,
    ) -> Result<Imported, ImportError> {
        let now = self.clock.now();
        let event = event_by(caller, now, AuditAction::Import);
        let about = found.imported.summary.format.to_owned();
        let run = ImportRun {
            id: import.import,
            is_job: job.is_some(),
            event: event.clone(),
            about: about.clone(),
            spc: None,
            options,
            now,
        };
        let last = new_id(now);
        let work = move |tx: &mut Tx<'_>| {
            if !tx.record_import_heartbeat(import.sequence, now)? {
                return Err(ImportError::Lost);
            }
            let added = found.imported.added.ranges;
            if added == 0 {
                tx.give_up_import(import.sequence)?;
                tx.discard_import(import, 1)?;
            } else {
                tx.make_import_effective(import.sequence, last, now)?;
            }
            write::record_delegations(tx, &run.event, &found.accounts)?;
            let change = ImportChange::of_ends(still_open(tx, &found.ending, now)?);
            let (changes, _) = write::apply(tx, &run.event, &change, &[], now)?;
            tx.insert_row_changes(run.id, &changes)?;
            let ends = outcome_of(tx, &change, TableSummary::default(), false, now)?;
            let imported = found.imported.clone().with_ends(ends);
            conclude(tx, &run, imported, added + changes.len() as u64)
        };
        match job {
            Some(_) => {
                let actor = self.actor(caller);
                self.store.change(actor, "import", work).await
            }
            None => self.change(event, about, work).await,
        }
    }

    /// Records that an import was refused before it could take effect.
    async fn refuse(&self, caller: &Caller, why: ImportError) -> Result<Imported, ImportError> {
        let event = event_by(caller, self.clock.now(), AuditAction::Import);
        let refused = move |_: &mut Tx<'_>| Err(why.clone());
        self.change(event, Format::Delegations, refused).await
    }

    /// Deletes what imports have left that failed or whose processes are gone, for about this long.
    /// Returns whether all is gone.
    ///
    /// # Errors
    /// If the database cannot be reached; the next call continues.
    pub async fn discard_failed_imports(&self, patience: Duration) -> Result<bool, StoreError> {
        let (now, started) = (self.clock.now(), Instant::now());
        let is_failed = move |import: &UnfinishedImport| !is_alive(import, now);
        let failed: Vec<UnfinishedImport> = self.store.read(|tx| {
            let unfinished = tx.unfinished_imports()?;
            Ok::<_, StoreError>(unfinished.into_iter().filter(is_failed).collect())
        })?;
        for import in failed {
            let give_up = move |tx: &mut Tx<'_>| {
                let mut known = tx.unfinished_imports()?.into_iter();
                let known = known.find(|known| known.sequence == import.sequence);
                let is_failed = known.as_ref().is_some_and(is_failed);
                if is_failed {
                    tx.give_up_import(import.sequence)?;
                }
                Ok::<_, StoreError>(is_failed)
            };
            let mut goes_on = self.change_as_service(NAME, give_up).await?;
            while goes_on {
                if started.elapsed() >= patience {
                    return Ok(false);
                }
                let discard = move |tx: &mut Tx<'_>| tx.discard_import(import, DISCARDED_AT_ONCE);
                goes_on = !self.store.write_alongside(NAME, discard).await?;
            }
        }
        Ok(true)
    }
}

/// Refuses an import of delegations while another one is being staged.
pub(super) fn must_be_alone(tx: &mut Tx<'_>, now: Time) -> Result<(), ImportError> {
    let others = tx.unfinished_imports()?;
    if others.iter().any(|other| is_alive(other, now)) {
        return Err(ImportError::UnderWay);
    }
    Ok(())
}

fn is_alive(import: &UnfinishedImport, now: Time) -> bool {
    let since = now - TimeDelta::seconds(MAX_SILENCE_SECONDS);
    import.heartbeat_at.is_some_and(|at| at >= since)
}

fn compare(
    tx: &mut Tx<'_>,
    group: &[TableRow<DelegationRow>],
    now: Time,
) -> Result<GroupDifference, ImportError> {
    let mut summary = TableSummary::default();
    let change = delegation_diff::compare(tx, group, now, &mut summary)?;
    Ok((change, summary))
}

/// The rows to end as they are now: some may have been changed while the table was staged.
fn still_open(
    tx: &mut Tx<'_>,
    ending: &[(Delegation, Time)],
    now: Time,
) -> Result<Vec<(Delegation, Time)>, StoreError> {
    let mut open = Vec::with_capacity(ending.len());
    for (known, end) in ending {
        let newest = tx.delegation(known.row.id)?;
        let newest = newest.filter(|row| row.belief.superseded_at.is_none());
        open.extend(newest.map(|row| (row, (*end).max(now))));
    }
    Ok(open)
}

impl StagedDifference {
    fn of(summary: TableSummary) -> Self {
        Self {
            imported: Imported {
                summary,
                ..Imported::default()
            },
            ..Self::default()
        }
    }

    /// Adds what a group changes.
    fn add(&mut self, (change, summary): GroupDifference) -> Result<(), ImportError> {
        let (all, part) = (&mut self.imported, change.amounts());
        all.summary.add(summary);
        for (all, part) in [
            (&mut all.added, part.added),
            (&mut all.unchanged, part.unchanged),
        ] {
            all.ranges += part.ranges;
            all.numbers += part.numbers;
        }
        let left = RANGES_NAMED - all.difference.added.len();
        let named = part.difference.added.into_iter().take(left);
        all.difference.added.extend(named);
        for row in &change.delegations.add {
            self.count(&row.account);
        }
        self.ending.extend(change.delegations.end);
        if self.ending.len() > MAX_ENDING {
            return Err(ImportError::EndsTooManyRows { limit: MAX_ENDING });
        }
        Ok(())
    }

    fn count(&mut self, account: &AccountId) {
        if self.more_accounts {
            return;
        }
        if let Some(count) = self.accounts.get_mut(account) {
            *count += 1;
        } else if self.accounts.len() < MAX_ACCOUNTS {
            self.accounts.insert(account.clone(), 1);
        } else {
            self.more_accounts = true;
            self.accounts.clear();
        }
    }
}

impl Imported {
    /// With what an import ends.
    fn with_ends(mut self, ends: Self) -> Self {
        self.ended = ends.ended;
        self.difference.ended = ends.difference.ended;
        self.outstanding = ends.outstanding;
        self.dry_run = ends.dry_run;
        self
    }
}
