//! API keys as the carrier administers them, and when they are valid. They contain neither the
//! secret nor its hash.

use std::net::IpAddr;

use thiserror::Error;

use super::caller::Role;
use crate::domain::accounts::account::AccountId;
use crate::domain::clock::Time;
use crate::domain::network::cidr::Network;
use crate::domain::text::words::words;

/// An API key. Its id, role, accounts and networks never change: to change them, create another
/// key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    pub id: String,
    pub role: Role,
    /// The accounts that it can act for.
    pub accounts: Vec<AccountId>,
    /// A description, for people.
    pub label: String,
    pub created_at: Time,
    /// The networks that it can be used from; any, if empty.
    pub allow_from: Vec<Network>,
    pub validity: KeyValidity,
    pub rotated_at: Option<Time>,
    /// Accurate to about a minute.
    pub last_used_at: Option<Time>,
}

/// How long a key is valid, and with which of its secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyValidity {
    pub expires_at: Option<Time>,
    pub revoked_at: Option<Time>,
    /// The number of the newest secret, counted from 1.
    pub secret: i32,
    /// The first second at which the previous secret is no longer accepted; `None` if it is not
    /// accepted now.
    pub previous_until: Option<Time>,
}

/// Why a credential that was valid no longer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum CredentialEnd {
    #[error("they no longer exist")]
    Unknown,
    #[error("they were revoked")]
    Revoked,
    #[error("they have expired")]
    Expired,
    #[error("their secret was rotated")]
    Rotated,
}

words! {
    /// The name in the log, the metrics and the audit trail. Callers do not see it.
    for CredentialEnd {
        Unknown = "unknown",
        Revoked = "revoked",
        Expired = "expired",
        Rotated = "rotated",
    }
}

impl KeyValidity {
    /// Why the key is not valid at an instant, whichever secret is used; `None` if it is.
    #[must_use]
    pub fn ended(&self, now: Time) -> Option<CredentialEnd> {
        if self.revoked_at.is_some() {
            // Regardless of clock differences between replicas: it was revoked before this was
            // read.
            return Some(CredentialEnd::Revoked);
        }
        let is_over = self.expires_at.is_some_and(|end| end <= now);
        is_over.then_some(CredentialEnd::Expired)
    }

    /// The same for a caller that has the secret with this number.
    #[must_use]
    pub fn ended_for(&self, secret: i32, now: Time) -> Option<CredentialEnd> {
        let is_previous = secret.checked_add(1) == Some(self.secret);
        let is_accepted = self.previous_until.is_some_and(|end| now < end);
        let rotated = secret != self.secret && !(is_previous && is_accepted);
        let rotated = rotated.then_some(CredentialEnd::Rotated);
        self.ended(now).or(rotated)
    }
}

/// The state of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    Active,
    Expired,
    Revoked,
}

impl ApiKey {
    /// The state of the key at an instant.
    #[must_use]
    pub fn state(&self, now: Time) -> KeyState {
        match self.validity.ended(now) {
            None => KeyState::Active,
            Some(CredentialEnd::Expired | CredentialEnd::Rotated) => KeyState::Expired,
            Some(CredentialEnd::Revoked | CredentialEnd::Unknown) => KeyState::Revoked,
        }
    }

    /// Whether the key can be used from this address. If the address is unknown, only a key without
    /// networks can.
    #[must_use]
    pub fn works_from(&self, address: Option<IpAddr>) -> bool {
        self.allow_from.is_empty()
            || address.is_some_and(|ip| self.allow_from.iter().any(|net| net.contains(ip)))
    }
}

words! {
    /// The name in the API.
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
