//! Whose rows a caller may see and change: all of them, or those of a reseller and its customers. What lies outside is
//! answered as if it were not there.

use super::Refused;
use crate::domain::account::Account;
use crate::domain::{AccountId, Caller, Role};
use crate::store::{StoreError, Tx};

/// What a caller may know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scope {
    /// The carrier's own people.
    Everything,
    /// These accounts and all that is below them.
    Below(Vec<AccountId>),
}

impl Scope {
    pub(super) fn of(caller: &Caller) -> Self {
        match caller.role {
            Role::Admin => Self::Everything,
            Role::Provisioner | Role::Auditor if caller.accounts.is_empty() => Self::Everything,
            Role::Provisioner | Role::Auditor | Role::Portal | Role::Account => {
                Self::Below(caller.accounts.clone())
            }
        }
    }

    /// Whether an account is in it.
    pub(super) fn holds(&self, account: &Account) -> bool {
        match self {
            Self::Everything => true,
            Self::Below(roots) => account.is_within(roots),
        }
    }

    /// The account, if it is there and in it.
    pub(super) fn account(
        &self,
        tx: &mut Tx<'_>,
        id: &AccountId,
    ) -> Result<Option<Account>, StoreError> {
        Ok(tx.account(id)?.filter(|account| self.holds(account)))
    }

    /// The account, which must be there and in it.
    pub(super) fn must_know(&self, tx: &mut Tx<'_>, id: &AccountId) -> Result<Account, Refused> {
        self.account(tx, id)?
            .ok_or_else(|| Refused::UnknownAccount(id.clone()))
    }

    /// Refuses what a reseller may know of and not change: itself.
    pub(super) fn must_be_above(&self, account: &Account) -> Result<(), Refused> {
        match self {
            Self::Below(roots) if !roots.iter().any(|root| account.above.contains(root)) => {
                Err(Refused::OwnAccount)
            }
            Self::Everything | Self::Below(_) => Ok(()),
        }
    }

    /// The accounts at its top, for lists; `None` is everything.
    pub(super) fn roots(&self, tx: &mut Tx<'_>) -> Result<Option<Vec<Account>>, StoreError> {
        match self {
            Self::Everything => Ok(None),
            Self::Below(ids) => tx.accounts(&ids.iter().collect::<Vec<_>>()).map(Some),
        }
    }
}
