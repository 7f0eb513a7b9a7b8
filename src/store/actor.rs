//! Checks whether the credential of a transaction's caller is still valid.

use std::collections::HashMap;

use super::error::StoreError;
use super::tx::Tx;
use crate::domain::credentials::api_key::{CredentialEnd, KeyValidity};
use crate::domain::{Actor, Time};

impl Tx<'_> {
    /// Why the credential of this caller is no longer valid; `None` if it is valid.
    pub(super) fn credential_end(
        &mut self,
        actor: &Actor,
    ) -> Result<Option<CredentialEnd>, StoreError> {
        let ended = self.credential_ends(&[actor])?.pop();
        ended.ok_or_else(|| StoreError::corrupt("a credential was not checked"))
    }

    /// For each of these callers, in their order, why its credential is no longer valid. One query
    /// for all of them, and none if no caller used an API key.
    pub(super) fn credential_ends(
        &mut self,
        actors: &[&Actor],
    ) -> Result<Vec<Option<CredentialEnd>>, StoreError> {
        let ids = api_keys_of(actors);
        let known: HashMap<String, KeyValidity> = if ids.is_empty() {
            HashMap::new()
        } else {
            self.key_validities(&ids)?.into_iter().collect()
        };
        Ok(ends_of(actors, &known))
    }
}

/// The API keys of these callers.
pub(super) fn api_keys_of<'a>(actors: &[&'a Actor]) -> Vec<&'a str> {
    let mut ids: Vec<&str> = actors.iter().filter_map(|actor| actor.api_key()).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// For each of these callers, in their order, why its credential is no longer valid, if `known` has
/// their API keys.
pub(super) fn ends_of(
    actors: &[&Actor],
    known: &HashMap<String, KeyValidity>,
) -> Vec<Option<CredentialEnd>> {
    // One instant for the whole batch, and no reading of the clock if no credential can end.
    let mut now: Option<Time> = None;
    let ended = actors.iter().map(|actor| {
        if !actor.can_end() {
            return None;
        }
        let now = *now.get_or_insert_with(|| actor.now());
        actor.ended(actor.api_key().and_then(|id| known.get(id)), now)
    });
    ended.collect()
}
