//! Lists and shows proofs of control, as far as the caller may see them. All of it blocks.

use std::collections::HashSet;

use uuid::Uuid;

use crate::authority::scope::Visibility;
use crate::authority::{Action, Authority, ChangeError};
use crate::domain::control::proof::ControlProof;
use crate::domain::{AccountId, Caller, Tn};
use crate::store::{Page, PageOf, StoreError, Tx};

impl Authority {
    /// A page of the proofs of an account, oldest first, whatever became of them.
    pub fn control_proofs(
        &self,
        caller: &Caller,
        account: &AccountId,
        page: &Page,
    ) -> Result<PageOf<ControlProof>, ChangeError> {
        let scope = Visibility::of(caller);
        self.store.read(|tx| {
            scope.must_know(tx, account)?;
            let mut found = tx.list_control_proofs((Some(account), None), None, page)?;
            scope.redact_proofs(tx, &mut found.items)?;
            Ok(found)
        })
    }

    /// A page of the proofs of a number, of whichever accounts the caller may see, oldest first.
    ///
    /// # Errors
    /// If the caller may not read the inventory.
    pub fn control_proofs_of_number(
        &self,
        caller: &Caller,
        number: Tn,
        page: &Page,
    ) -> Result<PageOf<ControlProof>, ChangeError> {
        self.require(caller, Action::Read)?;
        let scope = Visibility::of(caller);
        self.store.read(|tx| {
            let within = scope.within(tx)?;
            let mut found = tx.list_control_proofs((None, Some(number)), within.as_ref(), page)?;
            scope.redact_proofs(tx, &mut found.items)?;
            Ok(found)
        })
    }

    /// One proof.
    pub fn control_proof(&self, caller: &Caller, id: Uuid) -> Result<ControlProof, ChangeError> {
        let scope = Visibility::of(caller);
        self.store.read(|tx| {
            let mut proof = visible(tx, &scope, id)?;
            scope.redact_proofs(tx, std::slice::from_mut(&mut proof))?;
            Ok(proof)
        })
    }
}

/// The proof, if the caller may see its account.
pub(super) fn visible(
    tx: &mut Tx<'_>,
    scope: &Visibility,
    id: Uuid,
) -> Result<ControlProof, ChangeError> {
    let not_found = || ChangeError::NotFound("control proof");
    let (proof, _) = tx.control_proof(id)?.ok_or_else(not_found)?;
    scope.account(tx, &proof.account)?.ok_or_else(not_found)?;
    Ok(proof)
}

impl Visibility {
    /// Removes from proofs who started and confirmed them, unless it is a key of an account that
    /// the caller may see, or the account key that had to answer.
    pub(super) fn redact_proofs(
        &self,
        tx: &mut Tx<'_>,
        proofs: &mut [ControlProof],
    ) -> Result<(), StoreError> {
        if *self == Self::Everything || proofs.is_empty() {
            return Ok(());
        }
        let callers: HashSet<&str> = proofs.iter().flat_map(callers_of).collect();
        let keys = tx.accounts_of_api_keys(&callers.into_iter().collect::<Vec<_>>())?;
        let mentioned: HashSet<&AccountId> = keys.values().flatten().collect();
        let known = tx.accounts(&mentioned.into_iter().collect::<Vec<_>>())?;
        let visible = known.into_iter().filter(|account| self.holds(account));
        let visible: HashSet<AccountId> = visible.map(|account| account.id).collect();
        let is_visible = |caller: &str| {
            let accounts = keys.get(caller);
            accounts.is_some_and(|accounts| accounts.iter().all(|one| visible.contains(one)))
        };
        for proof in proofs {
            if !is_visible(&proof.started_by) {
                proof.started_by.clear();
            }
            let key = proof.fingerprint.map(|key| key.to_string());
            if let Some(confirmed) = &mut proof.confirmed
                && !is_visible(&confirmed.by)
                && Some(&confirmed.by) != key.as_ref()
            {
                confirmed.by.clear();
            }
        }
        Ok(())
    }
}

fn callers_of(proof: &ControlProof) -> impl Iterator<Item = &str> {
    let confirmed = proof.confirmed.as_ref();
    std::iter::once(proof.started_by.as_str()).chain(confirmed.map(|by| by.by.as_str()))
}
