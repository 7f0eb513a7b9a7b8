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
    /// A COMMIT and a heartbeat succeeded a few seconds ago at most.
    Database,
    /// A connection for reading worked a few seconds ago at most.
    Readers,
    /// The writer does not wait for the database or the lock for longer than a few seconds.
    Lock,
    /// The schema is one that this version may write.
    Schema,
    /// The role of the service may read its tables, all of their rows, and write what a token
    /// needs.
    Privileges,
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
    pub const ALL: [Self; 9] = [
        Self::Database,
        Self::Readers,
        Self::Lock,
        Self::Schema,
        Self::Privileges,
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
            Self::Readers => "readers",
            Self::Lock => "lock",
            Self::Schema => "schema",
            Self::Privileges => "privileges",
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
    /// The greatest age of the last commit, read and heartbeat, and the longest wait of the
    /// writer.
    pub(super) max_age: Duration,
    pub(super) durability: RequiredDurability,
    pub(super) writer: WriterHealth,
    /// Why the store cannot be used at all.
    pub(super) unusable: Option<String>,
    pub(super) last_read: Instant,
    pub(super) heartbeat: Option<&'a Heartbeat>,
    /// When that was; `None` if there was none.
    pub(super) heartbeat_at: Option<Instant>,
    /// Why nothing can be signed.
    pub(super) unsigned: Option<String>,
    pub(super) ended_tasks: &'a [&'static str],
}

impl ReadinessFacts<'_> {
    /// What is wrong with this condition.
    pub(super) fn failure(&self, check: ReadinessCheck) -> Option<String> {
        match check {
            ReadinessCheck::Start => None,
            ReadinessCheck::Database => {
                let unusable = self.unusable.clone();
                unusable
                    .or_else(|| self.commit_failure())
                    .or_else(|| self.heartbeat_failure())
            }
            ReadinessCheck::Readers => self.reader_failure(),
            ReadinessCheck::Lock => self.lock_failure(),
            ReadinessCheck::Schema => self.heartbeat.and_then(schema_failure),
            ReadinessCheck::Privileges => self.server().and_then(ServerState::privilege_fault),
            ReadinessCheck::Durability => {
                let server = self.server();
                server.and_then(|server| durability_failure(server, self.durability))
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

    fn server(&self) -> Option<&ServerState> {
        self.heartbeat.and_then(|beat| beat.server.as_ref())
    }

    fn age(&self, at: Instant) -> Option<Duration> {
        let age = self.now.saturating_duration_since(at);
        (age > self.max_age).then_some(age)
    }

    /// What the checks know of the server and of other replicas is as old as the heartbeat.
    fn heartbeat_failure(&self) -> Option<String> {
        let age = self.age(self.heartbeat_at?)?;
        Some(format!("no heartbeat for {} s; see the log", age.as_secs()))
    }

    /// Keys of callers, for instance, are read.
    fn reader_failure(&self) -> Option<String> {
        let age = self.age(self.last_read)?;
        Some(format!(
            "no connection for reading has worked for {} s; see the log",
            age.as_secs()
        ))
    }

    fn commit_failure(&self) -> Option<String> {
        let Some(at) = self.writer.last_commit else {
            return Some("nothing was committed yet".to_owned());
        };
        let age = self.age(at)?;
        Some(format!("no commit for {} s; see the log", age.as_secs()))
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

/// What a commit has to outlive.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequiredDurability {
    /// The loss of the server.
    pub(super) synchronous: bool,
    /// The storage keeps what it was given, whatever `fsync` and `full_page_writes` are.
    pub(super) trust_storage: bool,
}

/// Why a token could outlive its grant.
pub(super) fn durability_failure(
    server: &ServerState,
    required: RequiredDurability,
) -> Option<String> {
    let require = required.synchronous;
    if !server.commits_are_durable() {
        return Some(format!(
            "`synchronous_commit` is `{}`, so a crash can lose the grant of a released token; set it \
             to `on` for the role of the service",
            server.synchronous_commit
        ));
    }
    if !required.trust_storage
        && let Some(fault) = server.storage_fault()
    {
        return Some(fault);
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
    const REQUIRED: RequiredDurability = RequiredDurability {
        synchronous: false,
        trust_storage: false,
    };

    fn facts(now: Instant, writer: WriterHealth) -> ReadinessFacts<'static> {
        ReadinessFacts {
            now,
            max_age: AGE,
            durability: REQUIRED,
            writer,
            unusable: None,
            last_read: now,
            heartbeat: None,
            heartbeat_at: None,
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

    /// A replica that writes, and does not get to know the keys of its callers, issues nothing.
    #[test]
    fn a_commit_is_no_proof_that_something_can_be_read_or_that_the_heartbeat_works() {
        let start = Instant::now();
        let late = start + AGE + Duration::from_millis(1);
        let writer = WriterHealth {
            last_commit: Some(late),
            blocked_since: None,
            connected: true,
            step_since: None,
        };
        let mut facts = facts(late, writer);
        facts.last_read = start;
        assert_eq!(failing(&facts), ["readers"]);
        facts.last_read = late;
        facts.heartbeat_at = Some(start);
        assert_eq!(failing(&facts), ["database"]);
        facts.heartbeat_at = Some(late);
        assert_eq!(failing(&facts), [""; 0]);
    }

    #[test]
    fn a_commit_must_be_durable_and_where_required_replicated() {
        let server = |commit: &str, synchronous_standbys| ServerState {
            unix_micros: 0,
            clock_offset_micros: 0,
            synchronous_commit: commit.to_owned(),
            synchronous_standbys,
            unsafe_settings: Vec::new(),
            refused_tables: String::new(),
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
            let required = RequiredDurability {
                synchronous: required,
                ..REQUIRED
            };
            assert_eq!(
                durability_failure(&state, required).is_some(),
                fails,
                "{state:?}"
            );
        }
        let mut unsafe_server = server("on", none);
        unsafe_server.unsafe_settings = vec!["fsync", "full_page_writes"];
        let why = durability_failure(&unsafe_server, REQUIRED).expect("a failure");
        assert!(
            why.starts_with("`fsync` and `full_page_writes` must be on"),
            "{why}"
        );
        let trusted = RequiredDurability {
            trust_storage: true,
            ..REQUIRED
        };
        assert_eq!(durability_failure(&unsafe_server, trusted), None);
    }

    #[test]
    fn a_table_that_the_role_cannot_use_is_named() {
        let mut server = ServerState {
            unix_micros: 0,
            clock_offset_micros: 0,
            synchronous_commit: "on".to_owned(),
            synchronous_standbys: SynchronousStandbys::NotConfigured,
            unsafe_settings: Vec::new(),
            refused_tables: String::new(),
        };
        assert_eq!(server.privilege_fault(), None);
        server.refused_tables = "grants (INSERT)".to_owned();
        let why = server.privilege_fault().expect("a failure");
        assert!(why.contains("grants (INSERT)"), "{why}");
    }
}
