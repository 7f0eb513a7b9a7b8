//! Which accounts, and so whose rows, a caller can see and change: all of them, or those of a
//! reseller and its customers. Anything else is answered as if it did not exist.

use super::ChangeError;
use crate::domain::accounts::account::{Account, Suspension};
use crate::domain::inventory::withdrawal::Withdrawn;
use crate::domain::{AccountId, Caller, Role};
use crate::store::{StoreError, Tx, Within};

/// What a caller can see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Visibility {
    /// Everything, for the carrier's own staff.
    Everything,
    /// Only some accounts.
    AccountSubset(AccountSubset),
}

/// A subset of the accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AccountSubset {
    pub roots: Vec<AccountId>,
    /// Whether all customers of the roots are included too.
    pub below: bool,
}

impl Visibility {
    pub(super) fn of(caller: &Caller) -> Self {
        match caller.role {
            Role::Admin => Self::Everything,
            Role::Provisioner | Role::Auditor if caller.accounts.is_empty() => Self::Everything,
            Role::Provisioner | Role::Auditor => Self::subset(caller.accounts.clone(), true),
            // These roles act for the account itself, and do not manage its customers.
            Role::Portal | Role::Account => Self::subset(caller.accounts.clone(), false),
            // A renewer uses renewal rights, and sees nothing.
            Role::Renewer => Self::subset(Vec::new(), false),
        }
    }

    const fn subset(roots: Vec<AccountId>, below: bool) -> Self {
        Self::AccountSubset(AccountSubset { roots, below })
    }

    /// Whether the customers of its accounts are included.
    pub(super) const fn reaches_below(&self) -> bool {
        match self {
            Self::Everything => true,
            Self::AccountSubset(subset) => subset.below,
        }
    }

    /// Whether the account is visible.
    pub(super) fn holds(&self, account: &Account) -> bool {
        match self {
            Self::Everything => true,
            Self::AccountSubset(subset) if subset.below => account.is_within(&subset.roots),
            Self::AccountSubset(subset) => subset.roots.contains(&account.id),
        }
    }

    /// The account, if it exists and is visible.
    pub(super) fn account(
        &self,
        tx: &mut Tx<'_>,
        id: &AccountId,
    ) -> Result<Option<Account>, StoreError> {
        Ok(tx.account(id)?.filter(|account| self.holds(account)))
    }

    /// The account; refuses one that does not exist or is not visible.
    pub(super) fn must_know(
        &self,
        tx: &mut Tx<'_>,
        id: &AccountId,
    ) -> Result<Account, ChangeError> {
        self.account(tx, id)?
            .ok_or_else(|| ChangeError::UnknownAccount(id.clone()))
    }

    /// Refuses what a reseller can see but not change: its own account.
    pub(super) fn must_be_above(&self, account: &Account) -> Result<(), ChangeError> {
        match self {
            Self::AccountSubset(subset) if !subset.is_above(account) => {
                Err(ChangeError::OwnAccount)
            }
            Self::Everything | Self::AccountSubset(_) => Ok(()),
        }
    }

    /// The account, to be changed. It must exist and be below the calling reseller, which must not
    /// be suspended.
    pub(super) fn must_manage(
        &self,
        tx: &mut Tx<'_>,
        id: &AccountId,
    ) -> Result<Account, ChangeError> {
        let account = self.must_know(tx, id)?;
        self.must_be_above(&account)?;
        self.must_be_in_good_standing(tx)?;
        Ok(account)
    }

    /// Refuses a reseller that is suspended, or has a suspended reseller above it.
    pub(super) fn must_be_in_good_standing(&self, tx: &mut Tx<'_>) -> Result<(), ChangeError> {
        let roots = self
            .within(tx)?
            .map_or_else(Vec::new, |within| within.roots);
        let above: Vec<&AccountId> = roots.iter().flat_map(|root| &root.above).collect();
        let above = if above.is_empty() {
            Vec::new()
        } else {
            tx.accounts(&above)?
        };
        let mut all = roots.iter().chain(&above);
        if all.any(|account| account.suspended_since.is_some()) {
            return Err(ChangeError::Forbidden);
        }
        Ok(())
    }

    /// The reseller in whose name the caller suspends an account: the nearest one above the account
    /// that the caller acts for. `None` is the carrier.
    pub(super) fn suspends_as(&self, account: &Account) -> Option<AccountId> {
        match self {
            Self::Everything => None,
            Self::AccountSubset(subset) => {
                let mut above = account.above.iter();
                above.find(|id| subset.roots.contains(id)).cloned()
            }
        }
    }

    /// Whether the caller can lift a suspension: one imposed by itself or by a reseller below it.
    pub(super) fn may_lift(&self, account: &Account, suspension: &Suspension) -> bool {
        match (self, &suspension.by) {
            (Self::Everything, _) => true,
            (Self::AccountSubset(_), None) => false,
            (Self::AccountSubset(subset), Some(by)) => {
                let mut from_there_up = account.above.iter().skip_while(|id| *id != by);
                subset.below && from_there_up.any(|id| subset.roots.contains(id))
            }
        }
    }

    /// Removes from a withdrawal what a reseller may not see: the row that ended, which can be
    /// above it.
    pub(super) fn hide_cause(&self, withdrawn: &mut Withdrawn) {
        match self {
            Self::Everything => {}
            Self::AccountSubset(_) => withdrawn.ended.cause = None,
        }
    }

    /// The filter for lists; `None` is everything.
    pub(super) fn within(&self, tx: &mut Tx<'_>) -> Result<Option<Within>, StoreError> {
        match self {
            Self::Everything => Ok(None),
            Self::AccountSubset(AccountSubset { roots, below }) => Ok(Some(Within {
                roots: tx.accounts(&roots.iter().collect::<Vec<_>>())?,
                below: *below,
            })),
        }
    }
}

impl AccountSubset {
    /// Whether an account is below one of the roots.
    fn is_above(&self, account: &Account) -> bool {
        let is_above = |root| account.above.contains(root);
        self.below && self.roots.iter().any(is_above)
    }
}
