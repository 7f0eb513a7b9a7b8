//! Orders with idempotency keys. A key is claimed in the transaction of the decision; a grant that
//! was recorded for the key earlier is used instead of a new one.

use std::collections::HashMap;

use super::Case;
use crate::domain::issuance::{Decided, KeyStatus, Replay};
use crate::domain::tokens::grant::{Grant, Jti};
use crate::store::error::StoreError;
use crate::store::tables::idempotency_keys::Claim;
use crate::store::tx::Tx;

/// The grants that were recorded for these keys earlier, and whose tokens were not sent.
pub(super) fn recorded_before(
    tx: &mut Tx<'_>,
    keys: &[KeyStatus],
) -> Result<HashMap<Jti, Grant>, StoreError> {
    let ids: Vec<Jti> = keys
        .iter()
        .filter_map(KeyStatus::recorded)
        .cloned()
        .collect();
    let grants = tx.grants_of(&ids)?.into_iter();
    Ok(grants.map(|grant| (grant.jti.clone(), grant)).collect())
}

/// Claims the keys of the orders that have one, before anything is written for them: if another
/// replica has claimed a key in the meantime, its order is not granted.
pub(super) fn claim_keys(
    tx: &mut Tx<'_>,
    cases: &[Case<'_>],
    decided: &mut [Decided],
) -> Result<(), StoreError> {
    let mut indexes = Vec::new();
    let mut claims = Vec::new();
    for (index, (case, decided)) in cases.iter().zip(decided.iter()).enumerate() {
        let (Some(keyed), KeyStatus::New | KeyStatus::Abandoned { .. }) =
            (&case.order.keyed, case.key_status)
        else {
            continue;
        };
        let granted = decided.granted().map(|grant| &grant.jti);
        indexes.push(index);
        claims.push(Claim {
            keyed,
            status: case.key_status,
            // The grant that was recorded for a key first remains the grant of the key.
            jti: case.key_status.recorded().or(granted),
            answer: None,
            refused: matches!(decided, Decided::Denied(_)),
        });
    }
    let claimed = tx.claim(&claims)?;
    for (index, _) in indexes
        .into_iter()
        .zip(claimed)
        .filter(|(_, claimed)| !claimed)
    {
        decided[index] = Decided::Replayed(Replay::InFlight);
    }
    Ok(())
}
