//! Sums of refused tokens: the first refusals of one caller, account and code in a second are
//! recorded one by one, and the others of that second as one audit event. So a client that repeats
//! a refused request cannot fill the database.
//!
//! Sums are in memory until they are written. Grants are never summed, nor are refused changes,
//! except guesses at codes of proofs of control that are over.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::decided::Decided;
use super::replay::Replay;
use crate::domain::audit::AuditEvent;
use crate::domain::clock::Time;
use crate::domain::decision::denial::Denial;
use crate::domain::ids::new_id;

/// How many refusals of one kind are recorded one by one in a second.
const RECORDED_EACH_SECOND: u32 = 10;
/// The most kinds that are tracked at one time. Further ones are recorded one by one.
const MAX_KINDS: usize = 10_000;
/// The subject of refusals for any accounts that are not the caller's, so that inventing accounts
/// does not evade the sum.
const ANY_ACCOUNT: &str = "*";
/// The members of a detail that all refusals of a kind share, or of which one is an example.
const KEPT_MEMBERS: [&str; 6] = [
    "reason",
    "policies",
    "policies_left_out",
    "policies_failed",
    "policy_set",
    "renewal",
];

/// What is summed together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RefusalKind {
    caller: String,
    subject: String,
    code: String,
}

impl RefusalKind {
    /// The kind of a refusal that changed nothing and can be repeated without end.
    #[must_use]
    pub fn of_change(event: &AuditEvent) -> Self {
        Self {
            caller: event.caller.clone(),
            subject: event.subject.clone(),
            code: event.outcome.clone(),
        }
    }

    /// The kind of a refused token; `None` for what is not summed.
    #[must_use]
    pub fn of(event: &AuditEvent, decided: &Decided) -> Option<Self> {
        let subject = match decided {
            Decided::Denied(Denial::NotTheCallers) => ANY_ACCOUNT,
            Decided::Denied(_) | Decided::Replayed(Replay::GrantEnded) => &event.subject,
            Decided::Granted(_)
            | Decided::Replayed(Replay::Answered(_) | Replay::InFlight | Replay::OtherRequest) => {
                return None;
            }
        };
        Some(Self {
            caller: event.caller.clone(),
            subject: subject.to_owned(),
            code: event.outcome.clone(),
        })
    }
}

/// How many refusals of a kind were recorded one by one in its latest second.
#[derive(Debug, Clone, Copy)]
struct RecordedInSecond {
    second: Time,
    recorded: u32,
}

impl RecordedInSecond {
    const fn starting(second: Time) -> Self {
        Self {
            second,
            recorded: 0,
        }
    }

    /// How many count at `at`. Orders can be decided out of order; an earlier second counts as the
    /// latest one.
    fn at(self, at: Time) -> u32 {
        if at > self.second { 0 } else { self.recorded }
    }

    fn add(&mut self, at: Time) {
        self.recorded = self.at(at) + 1;
        self.second = self.second.max(at);
    }
}

/// Refusals that are not recorded yet.
#[derive(Debug, Clone)]
struct Sum {
    count: u64,
    first: Time,
    /// The newest of them.
    event: AuditEvent,
}

#[derive(Debug)]
struct TrackedKind {
    recorded: RecordedInSecond,
    sum: Option<Sum>,
}

/// All sums of this process.
#[derive(Debug, Default)]
pub struct RefusalSums(HashMap<RefusalKind, TrackedKind>);

/// The refusals of one transaction. They count only once it is committed, since it can run twice.
#[derive(Debug, Default)]
pub struct StagedRefusals {
    recorded: HashMap<RefusalKind, RecordedInSecond>,
    all: Vec<Staged>,
}

#[derive(Debug)]
enum Staged {
    Recorded(RefusalKind, Time),
    Summed(RefusalKind, Box<AuditEvent>),
}

/// A sum, as it is written.
#[derive(Debug)]
pub struct WrittenSum {
    kind: RefusalKind,
    count: u64,
    last: Time,
    pub event: AuditEvent,
}

impl RefusalSums {
    /// Decides how a refusal is recorded, given those that the transaction has staged already.
    /// Returns the event if it is to be recorded by itself.
    pub fn stage(
        &self,
        kind: RefusalKind,
        event: AuditEvent,
        staged: &mut StagedRefusals,
    ) -> Option<AuditEvent> {
        let (at, known) = (event.at, self.0.get(&kind));
        let is_new = known.is_none() && !staged.recorded.contains_key(&kind);
        if is_new && self.0.len() + staged.recorded.len() >= MAX_KINDS {
            return Some(event);
        }
        let start = RecordedInSecond::starting(at);
        let of_this_transaction = staged.recorded.entry(kind.clone()).or_insert(start);
        let before = known.map_or(0, |known| known.recorded.at(at));
        if before + of_this_transaction.at(at) < RECORDED_EACH_SECOND {
            of_this_transaction.add(at);
            staged.all.push(Staged::Recorded(kind, at));
            Some(event)
        } else {
            staged.all.push(Staged::Summed(kind, Box::new(event)));
            None
        }
    }

    /// Counts the refusals of a transaction that is committed.
    pub fn commit(&mut self, staged: StagedRefusals) {
        for one in staged.all {
            match one {
                Staged::Recorded(kind, at) => self.kind(kind, at).recorded.add(at),
                Staged::Summed(kind, event) => self.kind(kind, event.at).add(*event),
            }
        }
    }

    fn kind(&mut self, kind: RefusalKind, at: Time) -> &mut TrackedKind {
        if self.0.len() >= MAX_KINDS {
            self.0
                .retain(|_, known| known.sum.is_some() || known.recorded.second >= at);
        }
        self.0.entry(kind).or_insert_with(|| TrackedKind {
            recorded: RecordedInSecond::starting(at),
            sum: None,
        })
    }

    /// The sums to be written: those that began in a second that is over, or all. They stay until
    /// [`Self::written`].
    #[must_use]
    pub fn due(&self, now: Time, all: bool) -> Vec<WrittenSum> {
        let sums = self.0.iter().filter_map(|(kind, known)| {
            let sum = known.sum.as_ref()?;
            // Whatever has a part of an earlier second: under a lasting flood, all have one of this
            // second, too.
            (all || sum.first < now).then(|| sum.to_write(kind, now))
        });
        sums.collect()
    }

    /// Removes sums that are in the database, and the kinds of which nothing is left.
    pub fn written(&mut self, sums: &[WrittenSum], now: Time) {
        for written in sums {
            let known = self.0.get_mut(&written.kind);
            let Some(sum) = known.and_then(|known| known.sum.as_mut()) else {
                continue;
            };
            sum.count = sum.count.saturating_sub(written.count);
            sum.first = written.last;
        }
        self.0.retain(|_, known| {
            known.sum.take_if(|sum| sum.count == 0);
            known.sum.is_some() || known.recorded.second >= now
        });
    }
}

impl TrackedKind {
    fn add(&mut self, event: AuditEvent) {
        match &mut self.sum {
            Some(sum) => {
                sum.count += 1;
                sum.first = sum.first.min(event.at);
                if event.at >= sum.event.at {
                    sum.event = event;
                }
            }
            None => {
                self.sum = Some(Sum {
                    count: 1,
                    first: event.at,
                    event,
                });
            }
        }
    }
}

impl Sum {
    fn to_write(&self, kind: &RefusalKind, now: Time) -> WrittenSum {
        let mut detail: Map<String, Value> =
            self.event.detail.as_object().cloned().unwrap_or_default();
        detail.retain(|name, _| KEPT_MEMBERS.contains(&name.as_str()));
        detail.insert("count".to_owned(), json!(self.count));
        detail.insert("first".to_owned(), json!(self.first));
        detail.insert("last".to_owned(), json!(self.event.at));
        WrittenSum {
            kind: kind.clone(),
            count: self.count,
            last: self.event.at,
            event: AuditEvent {
                id: new_id(now),
                subject: kind.subject.clone(),
                detail: detail.into(),
                ..self.event.clone()
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::clock::from_unix;

    fn event(at: i64, caller: &str) -> AuditEvent {
        AuditEvent {
            id: Uuid::nil(),
            at: from_unix(at),
            caller: caller.to_owned(),
            action: "issue".to_owned(),
            subject: "acme".to_owned(),
            outcome: "not-authorized".to_owned(),
            detail: json!({ "reason": "not held", "tkvalue": "MAo" }),
            request_id: Uuid::nil(),
            account: None,
            caller_account: None,
        }
    }

    fn refused(event: &AuditEvent) -> Option<RefusalKind> {
        RefusalKind::of(event, &Decided::Denied(Denial::RenewalEnded))
    }

    /// Refuses so many, in one transaction. Returns how many are recorded one by one.
    fn refuse(sums: &mut RefusalSums, at: i64, number: usize) -> usize {
        let mut staged = StagedRefusals::default();
        let recorded = (0..number).filter_map(|_| {
            let event = event(at, "key");
            sums.stage(refused(&event)?, event, &mut staged)
        });
        let recorded = recorded.count();
        sums.commit(staged);
        recorded
    }

    #[test]
    fn ten_a_second_are_recorded_and_the_rest_is_one_event() {
        let mut sums = RefusalSums::default();
        assert_eq!(refuse(&mut sums, 100, 4), 4);
        assert_eq!(refuse(&mut sums, 100, 10), 6);
        assert_eq!(refuse(&mut sums, 100, 30), 0);
        assert!(sums.due(from_unix(100), false).is_empty());
        assert_eq!(refuse(&mut sums, 101, 12), 10);
        // Although refusals of this second are among them.
        assert_eq!(sums.due(from_unix(101), false).len(), 1);
        // Of an order that waited longer than others.
        assert_eq!(refuse(&mut sums, 99, 1), 0);
        let due = sums.due(from_unix(102), false);
        let [sum] = due.as_slice() else {
            panic!("{due:?}")
        };
        assert_eq!(
            sum.event.detail,
            json!({
                "reason": "not held", "count": 37,
                "first": "1970-01-01T00:01:39Z", "last": "1970-01-01T00:01:41Z",
            })
        );
        // What comes while the sum is written stays for the next one.
        refuse(&mut sums, 101, 5);
        sums.written(&due, from_unix(102));
        let due = sums.due(from_unix(102), false);
        assert_eq!(due.iter().map(|sum| sum.count).collect::<Vec<_>>(), [5]);
        sums.written(&due, from_unix(102));
        assert!(sums.0.is_empty());
    }

    #[test]
    fn a_transaction_that_is_not_committed_counts_nothing() {
        let mut sums = RefusalSums::default();
        let mut staged = StagedRefusals::default();
        for _ in 0..20 {
            let event = event(100, "key");
            let kind = refused(&event).expect("a kind");
            sums.stage(kind, event, &mut staged);
        }
        drop(staged);
        assert_eq!(refuse(&mut sums, 100, 20), 10);
        assert_eq!(sums.due(from_unix(100), true)[0].count, 10);
    }

    #[test]
    fn accounts_of_others_are_one_kind_and_the_number_of_kinds_is_bounded() {
        let foreign = |event: &AuditEvent| {
            RefusalKind::of(event, &Decided::Denied(Denial::NotTheCallers)).expect("a kind")
        };
        let other = AuditEvent {
            subject: "other".to_owned(),
            ..event(100, "key")
        };
        assert_eq!(foreign(&other), foreign(&event(100, "key")));

        let mut sums = RefusalSums::default();
        for n in 0..MAX_KINDS + 100 {
            let event = event(100, &format!("key {n}"));
            let mut staged = StagedRefusals::default();
            let recorded = sums.stage(foreign(&event), event, &mut staged);
            assert!(recorded.is_some());
            sums.commit(staged);
        }
        assert_eq!(sums.0.len(), MAX_KINDS);
        sums.written(&[], from_unix(101));
        assert!(sums.0.is_empty());
    }
}
