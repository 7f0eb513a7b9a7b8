//! Which accounts a role allows: one rule for API keys, access tokens and client certificates.

use thiserror::Error;

use crate::domain::{AccountId, Role};

/// Why a role does not allow the accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RoleAccountsError {
    #[error("role `{0}` requires exactly one account")]
    OneAccount(Role),
    #[error("role `portal` requires the accounts that it requests tokens for")]
    NoAccounts,
    #[error("role `admin` allows no account; name none")]
    SomeAccounts,
    #[error("role `{0}` allows at most one account, the reseller that it is restricted to")]
    SeveralResellers(Role),
}

/// Returns the accounts, sorted and without duplicates, if the role allows them.
pub(super) fn role_accounts(
    role: Role,
    mut accounts: Vec<AccountId>,
) -> Result<Vec<AccountId>, RoleAccountsError> {
    accounts.sort_unstable();
    accounts.dedup();
    match (role, accounts.len()) {
        (Role::Account | Role::Renewer, 1) => {}
        (Role::Account | Role::Renewer, _) => return Err(RoleAccountsError::OneAccount(role)),
        (Role::Portal, 0) => return Err(RoleAccountsError::NoAccounts),
        (Role::Portal, _) | (Role::Admin, 0) | (Role::Provisioner | Role::Auditor, 0 | 1) => {}
        (Role::Admin, _) => return Err(RoleAccountsError::SomeAccounts),
        (Role::Provisioner | Role::Auditor, _) => {
            return Err(RoleAccountsError::SeveralResellers(role));
        }
    }
    Ok(accounts)
}
