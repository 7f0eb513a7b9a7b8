//! Who is asking, once it is proven.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;
use uuid::Uuid;

use crate::domain::accounts::account::AccountId;
use crate::domain::clock::Time;

/// What a caller may do in general; a policy decides in each case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Everything.
    Admin,
    /// Keeps accounts and the inventory.
    Provisioner,
    /// Mints for the accounts that it was given.
    Portal,
    /// Mints for its own account.
    Account,
    /// Reads.
    Auditor,
    /// Gets tokens by the rights to renew that name it, and nothing else.
    Renewer,
}

/// A text that names no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a role is admin, provisioner, portal, account, auditor or renewer")]
pub struct RoleError;

impl Role {
    /// All roles.
    pub const ALL: [Self; 6] = [
        Self::Admin,
        Self::Provisioner,
        Self::Portal,
        Self::Account,
        Self::Auditor,
        Self::Renewer,
    ];

    /// The word of the commands, the policies and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Provisioner => "provisioner",
            Self::Portal => "portal",
            Self::Account => "account",
            Self::Auditor => "auditor",
            Self::Renewer => "renewer",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut all = Self::ALL.into_iter();
        all.find(|role| role.as_str() == text).ok_or(RoleError)
    }
}

impl<'de> Deserialize<'de> for Role {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

impl Serialize for Role {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What proved a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Proof {
    /// Being on the machine, or in the service itself.
    Presence,
    /// An API key, which the database knows, by its secret of this number.
    ApiKey { secret: i32 },
    /// An `OAuth2` access token (RFC 9068) of an issuer that is trusted.
    AccessToken,
    /// A client certificate.
    Certificate,
}

/// A proven caller, in one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Who was proven, such as the id of an API key; goes into the audit trail.
    pub id: String,
    pub proof: Proof,
    pub role: Role,
    /// The accounts that it speaks for: its own, those that a portal was given, or the reseller whose customers a provisioner
    /// or an auditor is confined to.
    pub accounts: Vec<AccountId>,
    /// The first instant at which the proof holds no more, where it has an end of its own.
    pub expires: Option<Time>,
    /// Names the request in the log, the audit trail and the answer.
    pub request_id: Uuid,
}

impl Caller {
    /// The one account that it is confined to: its own, or the reseller whose customers it keeps or reads. A portal speaks
    /// for several and is the carrier's, as are those without any.
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

    /// Somebody at the command line of the machine: who can read the database may do everything.
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

    /// The service itself, in what it does without being asked.
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
