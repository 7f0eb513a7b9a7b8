//! Readiness: whether this replica could issue a token now. A heartbeat writes the row of this
//! replica every second, through the writer, as a token would be recorded; what it learns is kept
//! in memory, so that the question is answered without waiting for anything.

mod checks;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use uuid::Uuid;

use super::Authority;
use super::issue::IssueError;
use crate::domain::replica::{SharedSetting, SharedSettings};
use crate::domain::signing::distrust::Distrust;
use crate::domain::{Time, new_id};
use crate::store::{Heartbeat, ReplicaIdentity, StoreError, SynchronousStandbys, WriterHealth};
pub use checks::{CheckResult, ReadinessCheck};
use checks::{
    ReadinessFacts, RequiredDurability, durability_failure, replica_failure, schema_failure,
};

/// Without a heartbeat for this time, a replica records no grants: what it knows of the server and
/// of the others is too old, and they do not count it any more.
const HEARTBEAT_PATIENCE: Duration = Duration::from_secs(30);

/// When this replica counts as ready.
#[derive(Debug, Clone)]
pub struct ReadinessSettings {
    /// The name of this replica, for operators.
    pub name: String,
    pub shared: SharedSettings,
    /// The greatest age of the last commit, read and heartbeat, and the longest wait of the
    /// writer.
    pub max_age: Duration,
    /// Whether a synchronous standby must confirm each commit.
    pub require_synchronous: bool,
    /// Whether the storage of the server keeps what it confirms, although `fsync` or
    /// `full_page_writes` is off.
    pub trust_storage: bool,
    /// Seconds by which the clocks of the database and of this machine may differ without a
    /// warning.
    pub max_clock_offset: u32,
}

/// What this replica knows of itself, of the others, and of the server.
#[derive(Debug)]
pub(super) struct Readiness {
    settings: ReadinessSettings,
    id: Uuid,
    /// By the last heartbeat; `None` in a process that has none, such as a command.
    known: RwLock<Option<LastHeartbeat>>,
    /// The checks that fail, and since when.
    failing: Mutex<BTreeMap<ReadinessCheck, Time>>,
    clock_is_off: AtomicBool,
}

/// What a heartbeat has shown.
#[derive(Debug, Clone)]
struct LastHeartbeat {
    at: Instant,
    heartbeat: Arc<Heartbeat>,
    /// Why this replica must not record a grant. Each mint asks it.
    refusal: Option<String>,
}

/// Whether a token could be issued, and what is in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadinessReport {
    pub checks: Vec<CheckResult>,
}

impl ReadinessReport {
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.checks.iter().all(|one| one.failure.is_none())
    }

    /// What is wrong, for operators.
    #[must_use]
    pub fn failures(&self) -> String {
        let failures = self.checks.iter().filter_map(|one| one.failure.as_deref());
        failures.collect::<Vec<_>>().join("; ")
    }
}

impl Readiness {
    pub(super) fn new(settings: ReadinessSettings, now: Time) -> Self {
        Self {
            settings,
            id: new_id(now),
            known: RwLock::default(),
            failing: Mutex::default(),
            clock_is_off: AtomicBool::new(false),
        }
    }

    fn durability(&self) -> RequiredDurability {
        RequiredDurability {
            synchronous: self.settings.require_synchronous,
            trust_storage: self.settings.trust_storage,
        }
    }

    fn note(&self, beat: Heartbeat, at: Instant) {
        let durability = || durability_failure(beat.server.as_ref()?, self.durability());
        let refusal = replica_failure(&beat)
            .or_else(|| schema_failure(&beat))
            .or_else(durability);
        *self.known.write() = Some(LastHeartbeat {
            at,
            heartbeat: Arc::new(beat),
            refusal,
        });
    }

    /// Remembers since when checks fail, and logs what has changed.
    fn noted(&self, check: ReadinessCheck, failure: Option<String>, now: Time) -> CheckResult {
        let mut failing = self.failing.lock();
        let name = check.as_str();
        let since = if let Some(why) = &failure {
            Some(*failing.entry(check).or_insert_with(|| {
                log::warn!(check = name; "not ready: {why}");
                now
            }))
        } else {
            if failing.remove(&check).is_some() {
                log::info!(check = name; "the check of readiness succeeds again");
            }
            None
        };
        CheckResult {
            check,
            failure,
            since,
        }
    }
}

impl Authority {
    /// Whether a token could be issued now, by what is in memory. Waits for nothing.
    #[must_use]
    pub fn readiness(&self) -> ReadinessReport {
        let (readiness, now) = (&self.readiness, self.clock.now());
        let (known, ended_tasks) = (readiness.known.read().clone(), self.ended_tasks());
        let beat = known.as_ref().map(|known| &*known.heartbeat);
        let facts = ReadinessFacts {
            now: Instant::now(),
            max_age: readiness.settings.max_age,
            durability: readiness.durability(),
            writer: self.store.writer_health(),
            unusable: self.store.is_usable().err().map(|e| e.to_string()),
            last_read: self.store.last_read(),
            heartbeat: beat,
            heartbeat_at: known.as_ref().map(|known| known.at),
            unsigned: self.unsigned(beat, now),
            ended_tasks: &ended_tasks,
        };
        let checks = ReadinessCheck::ALL.map(|check| {
            let result = readiness.noted(check, facts.failure(check), now);
            let succeeds = result.failure.is_none();
            self.metrics.availability.check(check.as_str(), succeeds);
            result
        });
        let report = ReadinessReport {
            checks: checks.into(),
        };
        self.metrics.availability.ready(report.is_ready());
        report
    }

    /// How the writer is, for the supervisor of the process.
    #[must_use]
    pub fn writer_health(&self) -> WriterHealth {
        self.store.writer_health()
    }

    /// Writes the row of this replica, and learns what the others and the server say.
    ///
    /// # Errors
    /// If it cannot be written, as nothing else can be then.
    pub async fn beat(&self) -> Result<(), StoreError> {
        let readiness = &self.readiness;
        let own = ReplicaIdentity {
            id: readiness.id,
            name: readiness.settings.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            shared: readiness.settings.shared.clone(),
        };
        let beat = self.store.beat(own, self.clock.clone()).await?;
        self.measure_heartbeat(&beat);
        readiness.note(beat, Instant::now());
        Ok(())
    }

    /// Reads from the database, unless a request has done so within `interval`, so that readiness
    /// knows whether that works.
    pub fn probe_readers(&self, interval: Duration) {
        self.store.probe_readers(interval);
    }

    /// Removes the row of this replica, which stops.
    ///
    /// # Errors
    /// If it cannot be removed; it expires then.
    pub async fn leave(&self) -> Result<(), StoreError> {
        self.store.leave(self.readiness.id).await
    }

    /// Whether the others refuse this replica, because it differs from them.
    #[must_use]
    pub fn is_refused_by_replicas(&self) -> bool {
        self.must_agree_with_replicas().is_err()
    }

    /// Refuses to agree with others on anything while this replica differs from them, as far as is
    /// known.
    pub(super) fn must_agree_with_replicas(&self) -> Result<(), StoreError> {
        self.must_know(|known| replica_failure(&known.heartbeat))
    }

    /// Refuses to record grants on a replica that differs from others, does not know the schema,
    /// or whose commits are not durable; or that has not asked for long.
    pub(super) fn must_not_be_refused(&self) -> Result<(), IssueError> {
        Ok(self.must_know(|known| known.refusal.clone())?)
    }

    fn must_know(
        &self,
        refusal: impl Fn(&LastHeartbeat) -> Option<String>,
    ) -> Result<(), StoreError> {
        let readiness = &self.readiness;
        let known = readiness.known.read();
        let why = known.as_ref().and_then(|known| {
            let age = known.at.elapsed();
            refusal(known).or_else(|| outdated(age, readiness.settings.max_age))
        });
        why.map_or(Ok(()), |why| Err(StoreError::Unavailable(why)))
    }

    /// Says whether the server is a standby, when it was asked because nothing can be written.
    pub fn measure_recovery(&self, in_recovery: bool) {
        let gauge = &self.metrics.availability.database_in_recovery;
        gauge.set(in_recovery.into());
    }

    /// Sets the metrics that are measured when they are read.
    pub fn measure_availability(&self) {
        let _sets_gauges = self.readiness();
        let (health, now) = (self.store.writer_health(), Instant::now());
        let metrics = &self.metrics.availability;
        let age = |at: Instant| now.saturating_duration_since(at).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a time of this century")]
        if let Some(last) = health.last_commit {
            let wall = self.clock.unix_micros() as f64 / 1e6;
            metrics.last_commit.set(wall - age(last));
        }
        metrics.blocked.set(health.blocked_since.map_or(0.0, age));
        let (busy, idle) = self.store.readers();
        metrics.readers("busy", busy);
        metrics.readers("idle", idle);
    }

    /// Why nothing can be signed, on current certificates.
    fn unsigned(&self, beat: Option<&Heartbeat>, now: Time) -> Option<String> {
        let Some(signers) = self.signers.as_ref() else {
            return Some(IssueError::NoSigner.to_string());
        };
        // What this replica agreed on may be older than the heartbeat.
        let mut distrusts: Vec<Distrust> = signers.known_distrusts();
        distrusts.extend(beat.iter().flat_map(|beat| beat.distrusts.clone()));
        signers.ready(now, &distrusts).err().map(|e| e.to_string())
    }

    fn measure_heartbeat(&self, beat: &Heartbeat) {
        let metrics = &self.metrics.availability;
        let differences = beat.own.differences(&beat.others, beat.now);
        for setting in SharedSetting::ALL {
            let number = differences.iter().filter(|d| d.setting == setting).count();
            metrics.differences(setting.as_str(), number);
        }
        // A standby could not have written the row.
        metrics.database_in_recovery.set(0);
        let Some(server) = &beat.server else { return };
        metrics
            .synchronous_standbys
            .set(match server.synchronous_standbys {
                SynchronousStandbys::NotConfigured => 0,
                SynchronousStandbys::Connected(number) => number.into(),
                SynchronousStandbys::Hidden => -1,
            });
        #[expect(clippy::cast_precision_loss, reason = "a difference of clocks")]
        let offset = server.clock_offset_micros as f64 / 1e6;
        metrics.clock_offset.set(offset);
        let max = self.readiness.settings.max_clock_offset;
        let is_off = offset.abs() > f64::from(max);
        if self.readiness.clock_is_off.swap(is_off, Ordering::SeqCst) != is_off {
            if is_off {
                log::warn!(
                    "the clock of the database is {offset:.1} s ahead of that of this machine, more than \
                     `database.max_clock_offset`; synchronize the clocks, since tokens are valid by them"
                );
            } else {
                log::info!("the clocks of the database and of this machine agree again");
            }
        }
    }
}

/// Why what a heartbeat of this age has shown cannot be relied on. The bound is far above the age
/// at which a replica is not ready, so that a heartbeat that is late costs no token.
fn outdated(age: Duration, max_age: Duration) -> Option<String> {
    let most = max_age.max(HEARTBEAT_PATIENCE);
    (age > most).then(|| format!("no heartbeat for {} s; see the log", age.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_old_heartbeat_has_shown_is_no_reason_to_record_a_grant() {
        let seconds = Duration::from_secs;
        assert_eq!(outdated(seconds(30), seconds(3)), None);
        let why = outdated(seconds(31), seconds(3)).expect("a refusal");
        assert!(why.contains("no heartbeat for 31 s"), "{why}");
        assert_eq!(outdated(seconds(60), seconds(60)), None);
    }
}
