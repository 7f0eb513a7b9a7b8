//! What has to be so for a token to be issued now, as a pure function of what this replica knows.
//! Nothing here waits for the database.

use std::time::{Duration, Instant};

use crate::domain::Time;
use crate::domain::replica::ReplicaDifference;
use crate::store::{Heartbeat, ServerState, SynchronousStandbys, WriterHealth};

/// A condition of readiness. The names are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReadinessCheck {
    /// The service has been opened; before, it waits for the database.
    Start,
    /// A COMMIT succeeded a few seconds ago at most.
    Database,
    /// The writer does not wait for the database or the lock for longer than a few seconds.
    Lock,
    /// The schema is one that this version may write.
    Schema,
    /// A commit is on the disk, and on a synchronous standby if the configuration requires one.
    Durability,
    /// A key can sign, and its certificate is valid and agreed on.
    Signer,
    /// This replica has in common with the others what it must.
    Replicas,
    /// All background tasks are running.
    Background,
}

impl ReadinessCheck {
    /// All that a running service checks.
    pub const ALL: [Self; 7] = [
        Self::Database,
        Self::Lock,
        Self::Schema,
        Self::Durability,
        Self::Signer,
        Self::Replicas,
        Self::Background,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Database => "database",
            Self::Lock => "lock",
            Self::Schema => "schema",
            Self::Durability => "durability",
            Self::Signer => "signer",
            Self::Replicas => "replicas",
            Self::Background => "background",
        }
    }
}

/// The outcome of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckResult {
    pub check: ReadinessCheck,
    /// What is wrong, for operators; `None` if nothing is.
    pub failure: Option<String>,
    /// Since when it has been wrong.
    pub since: Option<Time>,
}

/// All that the checks are made of.
pub(super) struct ReadinessFacts<'a> {
    pub(super) now: Instant,
    /// The greatest age of the last commit, and the longest wait of the writer.
    pub(super) max_age: Duration,
    pub(super) require_synchronous: bool,
    pub(super) writer: WriterHealth,
    /// Why the store cannot be used at all.
    pub(super) unusable: Option<String>,
    pub(super) heartbeat: Option<&'a Heartbeat>,
    /// Why nothing can be signed.
    pub(super) unsigned: Option<String>,
    pub(super) ended_tasks: &'a [&'static str],
}

impl ReadinessFacts<'_> {
    /// What is wrong with this condition.
    pub(super) fn failure(&self, check: ReadinessCheck) -> Option<String> {
        match check {
            ReadinessCheck::Start => None,
            ReadinessCheck::Database => self.unusable.clone().or_else(|| self.commit_failure()),
            ReadinessCheck::Lock => self.lock_failure(),
            ReadinessCheck::Schema => self.heartbeat.and_then(schema_failure),
            ReadinessCheck::Durability => {
                let server = self.heartbeat.and_then(|beat| beat.server.as_ref());
                server.and_then(|server| durability_failure(server, self.require_synchronous))
            }
            ReadinessCheck::Signer => self.unsigned.clone(),
            ReadinessCheck::Replicas => self.heartbeat.and_then(replica_failure),
            ReadinessCheck::Background if self.ended_tasks.is_empty() => None,
            ReadinessCheck::Background => Some(format!(
                "background tasks have ended: {}; restart the service",
                self.ended_tasks.join(", ")
            )),
        }
    }

    fn commit_failure(&self) -> Option<String> {
        let Some(at) = self.writer.last_commit else {
            return Some("nothing was committed yet".to_owned());
        };
        let age = self.now.saturating_duration_since(at);
        (age > self.max_age).then(|| format!("no commit for {} s; see the log", age.as_secs()))
    }

    fn lock_failure(&self) -> Option<String> {
        let waited = self
            .now
            .saturating_duration_since(self.writer.blocked_since?);
        (waited > self.max_age).then(|| {
            format!(
                "the writer has waited {} s for the database or for the lock that a change holds",
                waited.as_secs()
            )
        })
    }
}

/// Why this replica must not write to the schema.
pub(super) fn schema_failure(beat: &Heartbeat) -> Option<String> {
    let unknown = beat.unknown_migration.as_ref()?;
    Some(format!(
        "the schema has the migration `{unknown}`, which this version does not know; run a newer version"
    ))
}

/// Why a token could outlive its grant.
pub(super) fn durability_failure(server: &ServerState, require: bool) -> Option<String> {
    if !server.commits_are_durable() {
        return Some(format!(
            "`synchronous_commit` is `{}`, so a crash can lose the grant of a released token; set it \
             to `on` for the role of the service",
            server.synchronous_commit
        ));
    }
    match server.synchronous_standbys {
        SynchronousStandbys::NotConfigured if require => Some(
            "`synchronous_standby_names` is empty, and `database.require_synchronous` is set"
                .to_owned(),
        ),
        SynchronousStandbys::Connected(0) if require => Some(
            "no synchronous standby is connected, and `database.require_synchronous` is set"
                .to_owned(),
        ),
        SynchronousStandbys::NotConfigured
        | SynchronousStandbys::Connected(_)
        | SynchronousStandbys::Hidden => None,
    }
}

/// Why the others refuse this replica.
pub(super) fn replica_failure(beat: &Heartbeat) -> Option<String> {
    let differences = beat.own.differences(&beat.others, beat.now);
    let refused = differences.iter().filter(|one| one.is_refused);
    let texts: Vec<String> = refused.map(ReplicaDifference::to_string).collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: Duration = Duration::from_secs(3);

    fn facts(now: Instant, writer: WriterHealth) -> ReadinessFacts<'static> {
        ReadinessFacts {
            now,
            max_age: AGE,
            require_synchronous: false,
            writer,
            unusable: None,
            heartbeat: None,
            unsigned: None,
            ended_tasks: &[],
        }
    }

    fn failing(facts: &ReadinessFacts<'_>) -> Vec<&'static str> {
        let failing = ReadinessCheck::ALL.into_iter();
        let failing = failing.filter(|check| facts.failure(*check).is_some());
        failing.map(ReadinessCheck::as_str).collect()
    }

    #[test]
    fn a_commit_that_is_too_old_is_no_proof_that_another_would_succeed() {
        let start = Instant::now();
        let mut writer = WriterHealth {
            last_commit: None,
            blocked_since: None,
            connected: true,
            step_since: None,
        };
        assert_eq!(failing(&facts(start, writer)), ["database"]);
        writer.last_commit = Some(start);
        assert_eq!(failing(&facts(start + AGE, writer)), [""; 0]);
        let later = start + AGE + Duration::from_millis(1);
        assert_eq!(failing(&facts(later, writer)), ["database"]);
        // A writer that waits says so, too.
        writer.blocked_since = Some(start);
        assert_eq!(failing(&facts(later, writer)), ["database", "lock"]);
    }

    #[test]
    fn what_does_not_concern_the_database_is_named_as_well() {
        let start = Instant::now();
        let writer = WriterHealth {
            last_commit: Some(start),
            blocked_since: None,
            connected: true,
            step_since: None,
        };
        let mut facts = facts(start, writer);
        (facts.ended_tasks, facts.unsigned) = (&["policies"], Some("no key".to_owned()));
        facts.unusable = Some("the file was replaced".to_owned());
        assert_eq!(failing(&facts), ["database", "signer", "background"]);
    }

    #[test]
    fn a_commit_must_be_durable_and_where_required_replicated() {
        let server = |commit: &str, synchronous_standbys| ServerState {
            unix_micros: 0,
            clock_offset_micros: 0,
            synchronous_commit: commit.to_owned(),
            synchronous_standbys,
        };
        let none = SynchronousStandbys::NotConfigured;
        for (state, required, fails) in [
            (server("on", none), false, false),
            (server("on", none), true, true),
            (server("local", none), false, true),
            (server("on", SynchronousStandbys::Connected(0)), true, true),
            (
                server("on", SynchronousStandbys::Connected(0)),
                false,
                false,
            ),
            (server("on", SynchronousStandbys::Connected(1)), true, false),
            (
                server("remote_apply", SynchronousStandbys::Hidden),
                true,
                false,
            ),
        ] {
            assert_eq!(
                durability_failure(&state, required).is_some(),
                fails,
                "{state:?}"
            );
        }
    }
}
