//! API keys as the carrier keeps them, and how long they prove anybody. Never with a secret, nor with its hash.

use std::net::IpAddr;

use thiserror::Error;

use super::caller::Role;
use crate::domain::accounts::account::AccountId;
use crate::domain::clock::Time;
use crate::domain::network::cidr::Network;
use crate::domain::words::words;

/// An API key. Its id, role, accounts and networks stay as they were made: whoever needs others makes another key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    pub id: String,
    pub role: Role,
    /// The accounts that it speaks for.
    pub accounts: Vec<AccountId>,
    /// What it is for.
    pub label: String,
    pub created_at: Time,
    /// Where it works from; from anywhere when there is none.
    pub allow_from: Vec<Network>,
    pub validity: KeyValidity,
    pub rotated_at: Option<Time>,
    /// To the minute or so.
    pub last_used_at: Option<Time>,
}

/// Until when a key works, with which of its secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyValidity {
    pub expires_at: Option<Time>,
    pub revoked_at: Option<Time>,
    /// The number of the newest secret; counts from 1.
    pub secret: i32,
    /// The first second at which the secret before that one no longer works; `None` if it does not.
    pub previous_until: Option<Time>,
}

/// Why credentials that proved somebody prove nobody any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum CredentialEnd {
    #[error("they are not known any more")]
    Unknown,
    #[error("they were revoked")]
    Revoked,
    #[error("they have expired")]
    Expired,
    #[error("their secret was rotated away")]
    Rotated,
}

words! {
    /// The word of the log, the metrics and the audit trail. Callers are not told.
    for CredentialEnd {
        Unknown = "unknown",
        Revoked = "revoked",
        Expired = "expired",
        Rotated = "rotated",
    }
}

impl KeyValidity {
    /// Why the key proves nobody at an instant, whatever its secret; `None` if it does.
    #[must_use]
    pub fn ended(&self, now: Time) -> Option<CredentialEnd> {
        if self.revoked_at.is_some() {
            // Whatever the clocks of the replicas say: it was revoked before this was read.
            return Some(CredentialEnd::Revoked);
        }
        let is_over = self.expires_at.is_some_and(|end| end <= now);
        is_over.then_some(CredentialEnd::Expired)
    }

    /// The same for whoever has the secret of this number.
    #[must_use]
    pub fn ended_for(&self, secret: i32, now: Time) -> Option<CredentialEnd> {
        let is_previous = secret.checked_add(1) == Some(self.secret);
        let still_works = self.previous_until.is_some_and(|end| now < end);
        let rotated = secret != self.secret && !(is_previous && still_works);
        let rotated = rotated.then_some(CredentialEnd::Rotated);
        self.ended(now).or(rotated)
    }
}

/// Where a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    Active,
    Expired,
    Revoked,
}

impl ApiKey {
    /// Where it stands at an instant.
    #[must_use]
    pub fn state(&self, now: Time) -> KeyState {
        match self.validity.ended(now) {
            None => KeyState::Active,
            Some(CredentialEnd::Expired | CredentialEnd::Rotated) => KeyState::Expired,
            Some(CredentialEnd::Revoked | CredentialEnd::Unknown) => KeyState::Revoked,
        }
    }

    /// Whether it works from this address. From an address that nobody knows, only a key that works from anywhere does.
    #[must_use]
    pub fn works_from(&self, address: Option<IpAddr>) -> bool {
        self.allow_from.is_empty()
            || address.is_some_and(|ip| self.allow_from.iter().any(|net| net.contains(ip)))
    }
}

words! {
    /// The word of the API.
    impl Serialize for KeyState {
        Active = "active",
        Expired = "expired",
        Revoked = "revoked",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::from_unix;

    #[test]
    fn a_secret_works_until_its_end_and_not_after() {
        let at = from_unix;
        let key = KeyValidity {
            expires_at: Some(at(100)),
            revoked_at: None,
            secret: 3,
            previous_until: Some(at(50)),
        };
        for (secret, now, ended) in [
            (3, 0, None),
            (3, 99, None),
            (3, 100, Some(CredentialEnd::Expired)),
            (2, 49, None),
            (2, 50, Some(CredentialEnd::Rotated)),
            (2, 100, Some(CredentialEnd::Expired)),
            (1, 0, Some(CredentialEnd::Rotated)),
            (4, 0, Some(CredentialEnd::Rotated)),
            (i32::MAX, 0, Some(CredentialEnd::Rotated)),
        ] {
            assert_eq!(key.ended_for(secret, at(now)), ended, "{secret} at {now}");
        }
        let revoked = KeyValidity {
            revoked_at: Some(at(1_000)),
            ..key
        };
        assert_eq!(revoked.ended_for(3, at(0)), Some(CredentialEnd::Revoked));
    }
}
