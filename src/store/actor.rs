//! Whether the credential of the caller that a transaction runs for is still valid.

use std::collections::HashMap;

use super::error::StoreError;
use super::tx::Tx;
use crate::domain::credentials::api_key::CredentialEnd;
use crate::domain::{Actor, Time};

impl Tx<'_> {
    /// Why the credential of this caller is valid no longer; `None` if it is.
    pub(super) fn ended_of(&mut self, actor: &Actor) -> Result<Option<CredentialEnd>, StoreError> {
        let ended = self.ended(&[actor])?.pop();
        ended.ok_or_else(|| StoreError::corrupt("a credential was not checked"))
    }

    /// Why the credential of each of these is valid no longer, in their order: one query for all of them, and none if no one
    /// came by an API key.
    pub(super) fn ended(
        &mut self,
        actors: &[&Actor],
    ) -> Result<Vec<Option<CredentialEnd>>, StoreError> {
        let mut ids: Vec<&str> = actors.iter().filter_map(|actor| actor.api_key()).collect();
        ids.sort_unstable();
        ids.dedup();
        let known: HashMap<String, _> = if ids.is_empty() {
            HashMap::new()
        } else {
            self.key_validities(&ids)?.into_iter().collect()
        };
        let mut now: Option<Time> = None;
        let ended = actors.iter().map(|actor| {
            if !actor.can_end() {
                return None;
            }
            let now = *now.get_or_insert_with(|| actor.now());
            actor.ended(actor.api_key().and_then(|id| known.get(id)), now)
        });
        Ok(ended.collect())
    }
}
