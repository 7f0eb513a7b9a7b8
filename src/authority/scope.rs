//! Whose rows a caller may see and change: all of them, or those of a reseller and its customers. What lies outside is
//! answered as if it were not there.

use super::ChangeError;
use crate::domain::accounts::account::{Account, Suspension};
use crate::domain::inventory::withdrawal::Withdrawn;
use crate::domain::{AccountId, Caller, Role};
use crate::store::{StoreError, Tx, Within};

/// What a caller may know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Visibility {
    /// The carrier's own people.
    Everything,
    /// Some accounts.
    AccountSubset(AccountSubset),
}

/// A part of the accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AccountSubset {
    pub roots: Vec<AccountId>,
    /// Whether all that is below them is in it too.
    pub below: bool,
}

impl Visibility {
    pub(super) fn of(caller: &Caller) -> Self {
        match caller.role {
            Role::Admin => Self::Everything,
            Role::Provisioner | Role::Auditor if caller.accounts.is_empty() => Self::Everything,
            Role::Provisioner | Role::Auditor => Self::part(caller.accounts.clone(), true),
            // Customers of these accounts are not theirs to keep.
            Role::Portal | Role::Account => Self::part(caller.accounts.clone(), false),
            // It uses rights, and may know of nothing.
            Role::Renewer => Self::part(Vec::new(), false),
        }
    }

    const fn part(roots: Vec<AccountId>, below: bool) -> Self {
        Self::AccountSubset(AccountSubset { roots, below })
    }

    /// Whether it has customers of its accounts in it too.
    pub(super) const fn reaches_below(&self) -> bool {
        match self {
            Self::Everything => true,
            Self::AccountSubset(part) => part.below,
        }
    }

    /// Whether an account is in it.
    pub(super) fn holds(&self, account: &Account) -> bool {
        match self {
            Self::Everything => true,
            Self::AccountSubset(part) if part.below => account.is_within(&part.roots),
            Self::AccountSubset(part) => part.roots.contains(&account.id),
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
    pub(super) fn must_know(
        &self,
        tx: &mut Tx<'_>,
        id: &AccountId,
    ) -> Result<Account, ChangeError> {
        self.account(tx, id)?
            .ok_or_else(|| ChangeError::UnknownAccount(id.clone()))
    }

    /// Refuses what a reseller may know of and not change: itself.
    pub(super) fn must_be_above(&self, account: &Account) -> Result<(), ChangeError> {
        match self {
            Self::AccountSubset(part) if !part.is_above(account) => Err(ChangeError::OwnAccount),
            Self::Everything | Self::AccountSubset(_) => Ok(()),
        }
    }

    /// The account, which is to be changed: it must be there, and below a reseller who asks, who is in good standing.
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

    /// Refuses a reseller that is suspended, or that somebody above it is.
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

    /// In whose name it suspends an account below it: the nearest reseller that it is of, or the carrier.
    pub(super) fn suspends_as(&self, account: &Account) -> Option<AccountId> {
        match self {
            Self::Everything => None,
            Self::AccountSubset(part) => {
                let mut above = account.above.iter();
                above.find(|id| part.roots.contains(id)).cloned()
            }
        }
    }

    /// Whether it may lift a suspension of an account below it: its own, and those by anybody below.
    pub(super) fn may_lift(&self, account: &Account, suspension: &Suspension) -> bool {
        match (self, &suspension.by) {
            (Self::Everything, _) => true,
            (Self::AccountSubset(_), None) => false,
            (Self::AccountSubset(part), Some(by)) => {
                let mut from_there_up = account.above.iter().skip_while(|id| *id != by);
                part.below && from_there_up.any(|id| part.roots.contains(id))
            }
        }
    }

    /// Takes out of a withdrawal what a reseller may not know: the row above it that ended.
    pub(super) fn hide_cause(&self, withdrawn: &mut Withdrawn) {
        match self {
            Self::Everything => {}
            Self::AccountSubset(_) => withdrawn.ended.cause = None,
        }
    }

    /// What lists have of it; `None` is everything.
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
    /// Whether an account is below it.
    fn is_above(&self, account: &Account) -> bool {
        let is_above = |root| account.above.contains(root);
        self.below && self.roots.iter().any(is_above)
    }
}
