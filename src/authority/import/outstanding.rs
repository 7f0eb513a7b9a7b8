//! Tokens that can still be redeemed although an import took authority from some of their numbers.

use std::collections::BTreeMap;

use super::index::Index;
use super::outcome::{GRANTS_COUNTED, GRANTS_LISTED, OutstandingTokens};
use super::write::Change;
use crate::domain::NumberRange;
use crate::domain::clock::Time;
use crate::domain::grant::{Grant, Jti};
use crate::store::{StoreError, Tx};

/// Counts and lists them, as far as one answer holds them.
pub(super) fn beyond(
    tx: &mut Tx<'_>,
    change: &Change,
    now: Time,
) -> Result<OutstandingTokens, StoreError> {
    let losses = change.losses();
    let Some(first) = losses.iter().map(|(_, end)| *end).min() else {
        return Ok(OutstandingTokens::default());
    };
    let numbers: Vec<NumberRange> = losses.iter().map(|(numbers, _)| *numbers).collect();
    let (found, more) = tx.grants_touching(&numbers, first.max(now), GRANTS_COUNTED)?;
    let mut by_grant: BTreeMap<String, Vec<NumberRange>> = BTreeMap::new();
    for (jti, numbers) in found {
        by_grant.entry(jti.to_string()).or_default().push(numbers);
    }
    // Until when its token lives stands in the grant itself.
    let ids: Vec<Jti> = by_grant.keys().map(|jti| Jti::from_text(jti)).collect();
    let losses = Index::new(losses.into_iter());
    let mut touched = tx.grants_of(&ids)?;
    touched.retain(|grant| {
        let numbers = by_grant.get(grant.jti.as_str());
        numbers.is_some_and(|numbers| loses(grant, numbers, &losses))
    });
    let count = touched.len() as u64;
    touched.truncate(GRANTS_LISTED);
    Ok(OutstandingTokens {
        count,
        more,
        grants: touched,
    })
}

fn loses(grant: &Grant, numbers: &[NumberRange], losses: &Index<Time>) -> bool {
    numbers.iter().any(|numbers| {
        let mut ends = losses.touching(*numbers).map(|(_, end)| *end);
        ends.any(|end| grant.expires_at > end)
    })
}
