//! The authenticated caller of a request, and its role.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};
use thiserror::Error;
use uuid::Uuid;

use crate::domain::accounts::account::AccountId;
use crate::domain::clock::Time;
use crate::domain::text::words::{listed, words};
use crate::domain::tokens::fingerprint::Fingerprint;

/// What a caller may do in general. Policies decide on each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// May do everything.
    Admin,
    /// Manages accounts and the inventory.
    Provisioner,
    /// Requests tokens for the accounts that it was given.
    Portal,
    /// Requests tokens for its own account.
    Account,
    /// May only read.
    Auditor,
    /// Gets tokens only by rights to renew that name it.
    Renewer,
}

/// A text that names no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a role is {}", listed(&Role::WORDS))]
pub struct RoleError;

words! {
    /// The name in commands, policies and the database.
    impl Display, Serialize for Role {
        Admin = "admin",
        Provisioner = "provisioner",
        Portal = "portal",
        Account = "account",
        Auditor = "auditor",
        Renewer = "renewer",
    }
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_word(text).ok_or(RoleError)
    }
}

impl<'de> Deserialize<'de> for Role {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// How a caller was authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Proof {
    /// Access to the machine, or a part of the service itself.
    Presence,
    /// An API key in the database, by its secret with this number.
    ApiKey { secret: i32 },
    /// An `OAuth2` access token (RFC 9068) of a trusted issuer.
    AccessToken,
    /// A client certificate.
    Certificate,
    /// An answer that an ACME account key has signed; it authorizes nothing else.
    AccountKey,
}

/// An authenticated caller, in one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The identity, such as the id of an API key; recorded in the audit trail.
    pub id: String,
    pub proof: Proof,
    pub role: Role,
    /// The accounts that it can act for: its own, those that a portal was given, or the reseller
    /// whose customers a provisioner or an auditor is confined to.
    pub accounts: Vec<AccountId>,
    /// The first instant at which the credential is no longer valid, if it has an expiry of its
    /// own.
    pub expires: Option<Time>,
    /// Identifies the request in the log, the audit trail and the answer.
    pub request_id: Uuid,
}

impl Caller {
    /// The one account that it is confined to: its own, or the reseller whose customers it manages
    /// or reads. A portal acts for several accounts and belongs to the carrier, as do callers
    /// without an account.
    #[must_use]
    pub fn confined_to(&self) -> Option<&AccountId> {
        match (self.role, self.accounts.as_slice()) {
            (Role::Provisioner | Role::Account | Role::Auditor | Role::Renewer, [only]) => {
                Some(only)
            }
            (
                Role::Admin
                | Role::Portal
                | Role::Provisioner
                | Role::Account
                | Role::Auditor
                | Role::Renewer,
                _,
            ) => None,
        }
    }

    /// A user at the command line of the machine. With access to the database, everything is
    /// permitted anyway.
    #[must_use]
    pub fn at_the_command_line(request_id: Uuid) -> Self {
        Self {
            id: "command".to_owned(),
            proof: Proof::Presence,
            role: Role::Admin,
            accounts: Vec::new(),
            expires: None,
            request_id,
        }
    }

    /// The holder of an ACME account key that has signed an answer for an account.
    #[must_use]
    pub fn of_account_key(key: Fingerprint, account: AccountId, request_id: Uuid) -> Self {
        Self {
            id: key.to_string(),
            proof: Proof::AccountKey,
            role: Role::Account,
            accounts: vec![account],
            expires: None,
            request_id,
        }
    }

    /// The service itself, for background work.
    #[must_use]
    pub fn the_service(request_id: Uuid) -> Self {
        Self {
            id: "service".to_owned(),
            proof: Proof::Presence,
            role: Role::Admin,
            accounts: Vec::new(),
            expires: None,
            request_id,
        }
    }
}
