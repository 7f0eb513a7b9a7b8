//! What a role may speak for: one rule for API keys, access tokens and client certificates.

use thiserror::Error;

use crate::domain::{AccountId, Role};

/// Why a role and its accounts do not go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum StandingError {
    #[error("role `{0}` speaks for exactly one account; name one")]
    OneAccount(Role),
    #[error("role `portal` needs the accounts that it may mint for; name them")]
    NoAccounts,
    #[error("role `admin` speaks for no account; name none")]
    SomeAccounts,
    #[error(
        "role `{0}` is confined to one reseller and its customers at most; name one account, or none"
    )]
    SeveralResellers(Role),
}

/// The accounts, sorted and each once, if the role can speak for them.
pub(super) fn standing(
    role: Role,
    mut accounts: Vec<AccountId>,
) -> Result<Vec<AccountId>, StandingError> {
    accounts.sort_unstable();
    accounts.dedup();
    match (role, accounts.len()) {
        (Role::Account | Role::Renewer, 1) => {}
        (Role::Account | Role::Renewer, _) => return Err(StandingError::OneAccount(role)),
        (Role::Portal, 0) => return Err(StandingError::NoAccounts),
        (Role::Portal, _) | (Role::Admin, 0) | (Role::Provisioner | Role::Auditor, 0 | 1) => {}
        (Role::Admin, _) => return Err(StandingError::SomeAccounts),
        (Role::Provisioner | Role::Auditor, _) => {
            return Err(StandingError::SeveralResellers(role));
        }
    }
    Ok(accounts)
}
