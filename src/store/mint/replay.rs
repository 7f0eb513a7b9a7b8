//! Orders with idempotency keys: their keys are taken with the decision, and a grant that was recorded for a key before
//! takes the place of a new one.

use std::collections::HashMap;

use super::Case;
use crate::domain::issuance::{Decided, KeyStatus, Replay};
use crate::domain::tokens::grant::{Grant, Jti};
use crate::store::error::StoreError;
use crate::store::tables::idempotency_keys::Claim;
use crate::store::tx::Tx;

/// The grants that were recorded for these keys before, and whose tokens were not answered.
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

/// Takes the keys of the orders that have one, before anything is written for them: an order whose key another replica has
/// taken in the meantime is not granted.
pub(super) fn take_keys(
    tx: &mut Tx<'_>,
    cases: &[Case<'_>],
    decided: &mut [Decided],
) -> Result<(), StoreError> {
    let mut places = Vec::new();
    let mut claims = Vec::new();
    for (place, (case, decided)) in cases.iter().zip(decided.iter()).enumerate() {
        let (Some(keyed), KeyStatus::New | KeyStatus::Abandoned { .. }) =
            (&case.order.keyed, case.key_status)
        else {
            continue;
        };
        let granted = decided.granted().map(|grant| &grant.jti);
        places.push(place);
        claims.push(Claim {
            keyed,
            status: case.key_status,
            jti: case.key_status.recorded().or(granted),
            answer: None,
        });
    }
    let taken = tx.claim(&claims)?;
    for (place, _) in places.into_iter().zip(taken).filter(|(_, taken)| !taken) {
        decided[place] = Decided::Replayed(Replay::InFlight);
    }
    Ok(())
}
