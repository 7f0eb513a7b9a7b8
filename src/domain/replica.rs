//! The replicas of the service, and what they must have in common: with different API key secrets,
//! a key that one replica has created is refused by the other; with different service provider
//! codes, one ends what the other publishes.

use std::fmt;

use uuid::Uuid;

use super::{Spc, Time};

/// Seconds after which a replica that does not write its row any more counts no longer.
pub const EXPIRES_AFTER: i64 = 30;

/// A replica that runs now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// A new one at each start.
    pub id: Uuid,
    pub name: String,
    pub version: String,
    pub shared: SharedSettings,
    /// By the clock of the database, as is `seen_at`.
    pub started_at: Time,
    pub seen_at: Time,
}

/// What all replicas must have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SharedSettings {
    /// Keyed fingerprints of the API key secret, and of the one before it if it still works.
    pub secrets: Vec<String>,
    /// The carrier's codes.
    pub spcs: SpcList,
    /// The codes of replicas that were not restarted yet while the codes are changed.
    pub previous_spcs: Option<SpcList>,
}

/// Service provider codes, in order and once each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpcList(Vec<Spc>);

impl SpcList {
    #[must_use]
    pub fn new(spcs: &[Spc]) -> Self {
        let mut spcs = spcs.to_vec();
        spcs.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        spcs.dedup();
        Self(spcs)
    }

    #[must_use]
    pub fn as_slice(&self) -> &[Spc] {
        &self.0
    }
}

impl fmt::Display for SpcList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, spc) in self.0.iter().enumerate() {
            let space = if n == 0 { "" } else { " " };
            write!(f, "{space}{}", spc.as_str())?;
        }
        Ok(())
    }
}

/// A setting in which two replicas differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharedSetting {
    ApiKeySecret,
    Spcs,
}

impl SharedSetting {
    pub const ALL: [Self; 2] = [Self::ApiKeySecret, Self::Spcs];

    /// The name of the setting in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ApiKeySecret => "api-key-secret",
            Self::Spcs => "spcs",
        }
    }
}

/// A difference between this replica and another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaDifference {
    pub setting: SharedSetting,
    /// The name of the other replica.
    pub other: String,
    /// Whether this replica is the one that is refused: the one that started later.
    pub is_refused: bool,
    own_spcs: SpcList,
    other_spcs: SpcList,
}

impl fmt::Display for ReplicaDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let other = &self.other;
        match self.setting {
            SharedSetting::ApiKeySecret => write!(
                f,
                "the replica `{other}` has another API key secret; give both the same \
                 `api_keys.secret_file`, and while it is changed, the former one as \
                 `api_keys.previous_secret_file`"
            ),
            SharedSetting::Spcs => write!(
                f,
                "the replica `{other}` has the service provider codes `{}`, and this one has `{}`; give \
                 both the same `carrier.spcs`, and while they are changed, the former ones as \
                 `carrier.previous_spcs`",
                self.other_spcs, self.own_spcs
            ),
        }
    }
}

impl Replica {
    /// The settings in which this replica differs from others that run now.
    #[must_use]
    pub fn differences(&self, others: &[Self], now: Time) -> Vec<ReplicaDifference> {
        let is_running = |other: &&Self| {
            other.id != self.id && (now - other.seen_at).num_seconds() <= EXPIRES_AFTER
        };
        let mut found = Vec::new();
        for other in others.iter().filter(is_running) {
            for setting in SharedSetting::ALL {
                if !self.shared.agrees(&other.shared, setting) {
                    found.push(ReplicaDifference {
                        setting,
                        other: other.name.clone(),
                        is_refused: (self.started_at, self.id) > (other.started_at, other.id),
                        own_spcs: self.shared.spcs.clone(),
                        other_spcs: other.shared.spcs.clone(),
                    });
                }
            }
        }
        found
    }
}

impl SharedSettings {
    /// Whether two replicas agree on a setting, or are in the middle of a change of it that one of
    /// them knows of.
    fn agrees(&self, other: &Self, setting: SharedSetting) -> bool {
        match setting {
            SharedSetting::ApiKeySecret => self.secrets.iter().any(|s| other.secrets.contains(s)),
            SharedSetting::Spcs => {
                self.spcs == other.spcs
                    || self.previous_spcs.as_ref() == Some(&other.spcs)
                    || other.previous_spcs.as_ref() == Some(&self.spcs)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::from_unix;

    fn list(codes: &str) -> SpcList {
        let codes = codes.split(' ').map(|code| code.parse().expect("a code"));
        SpcList::new(&codes.collect::<Vec<Spc>>())
    }

    fn replica(n: u8, secrets: &[&str], spcs: &str) -> Replica {
        Replica {
            id: Uuid::from_u128(n.into()),
            name: format!("replica-{n}"),
            version: "1".to_owned(),
            shared: SharedSettings {
                secrets: secrets.iter().map(|&s| s.to_owned()).collect(),
                spcs: list(spcs),
                previous_spcs: None,
            },
            started_at: from_unix(1_000 + i64::from(n)),
            seen_at: from_unix(2_000),
        }
    }

    fn found(own: &Replica, other: &Replica) -> Vec<(SharedSetting, bool)> {
        let found = own.differences(std::slice::from_ref(other), from_unix(2_000));
        found.iter().map(|d| (d.setting, d.is_refused)).collect()
    }

    #[test]
    fn the_replica_that_started_later_is_refused() {
        let (first, second) = (replica(1, &["a"], "1234"), replica(2, &["b"], "1234 5678"));
        let both = SharedSetting::ALL;
        assert_eq!(found(&first, &second), both.map(|s| (s, false)));
        assert_eq!(found(&second, &first), both.map(|s| (s, true)));
        let said = second.differences(&[first], from_unix(2_000));
        assert!(
            said[1]
                .to_string()
                .contains("`1234`, and this one has `1234 5678`")
        );
        assert!(said.iter().all(|d| d.to_string().contains("`replica-1`")));
    }

    #[test]
    fn a_change_that_one_replica_knows_of_is_no_difference() {
        let old = replica(1, &["a"], "1234");
        let mut new = replica(2, &["b", "a"], "5678 1234");
        assert_eq!(found(&new, &old), [(SharedSetting::Spcs, true)]);
        new.shared.previous_spcs = Some(list("1234"));
        assert_eq!((found(&new, &old), found(&old, &new)), (vec![], vec![]));
        // The order of the codes does not matter.
        let same = replica(3, &["b"], "1234 5678");
        assert_eq!(found(&same, &new), []);
    }

    #[test]
    fn a_replica_that_is_gone_does_not_count_and_nobody_differs_from_itself() {
        let (first, second) = (replica(1, &["a"], "1234"), replica(2, &["b"], "1234"));
        let later = from_unix(2_000 + EXPIRES_AFTER);
        assert_eq!(
            second
                .differences(std::slice::from_ref(&first), later)
                .len(),
            1
        );
        let later = from_unix(2_001 + EXPIRES_AFTER);
        assert_eq!(second.differences(std::slice::from_ref(&first), later), []);
        let mut itself = first.clone();
        itself.shared = second.shared;
        assert_eq!(found(&first, &itself), []);
    }
}
