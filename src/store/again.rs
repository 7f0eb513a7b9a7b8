//! Orders whose requests may come again: their keys are taken with the decision, and a grant that was recorded for a key
//! before takes the place of a new one.

use std::collections::HashMap;

use super::error::StoreError;
use super::issue::{Order, Outcome};
use super::tables::idempotency_keys::{Claim, Met, Repeated};
use super::tx::Tx;
use crate::domain::Denial;
use crate::domain::decision::Facts;
use crate::domain::tokens::grant::{Grant, GrantState, Jti};

/// Decides an order whose grant was recorded before and not answered: it stands, if all of it would be given again.
pub(super) fn decide(order: &Order, facts: &Facts, recorded: Option<&Grant>) -> Outcome {
    let Some(recorded) = recorded.filter(|grant| grant.state(order.now) == GrantState::Active)
    else {
        return Err(Repeated::GrantEnded);
    };
    match order.decide(facts) {
        Ok(now) if now.expires_at >= recorded.expires_at => Ok(Ok(recorded.clone())),
        // The service's own want, which is over some time.
        Err(denial @ Denial::NoCertificate(_)) => Ok(Err(denial)),
        Ok(_) | Err(_) => Err(Repeated::GrantEnded),
    }
}

/// The grants that were recorded for these orders before, by those who did not answer.
pub(super) fn recorded_before(
    tx: &mut Tx<'_>,
    met: &[Met],
) -> Result<HashMap<Jti, Grant>, StoreError> {
    let ids: Vec<Jti> = met
        .iter()
        .filter_map(|met| met.recorded().cloned())
        .collect();
    let grants = tx.grants_of(&ids)?.into_iter();
    Ok(grants.map(|grant| (grant.jti.clone(), grant)).collect())
}

/// Takes the keys of the orders that have one, before anything is written for them: what another replica has taken in the
/// meantime is undone here.
pub(super) fn take_keys(
    tx: &mut Tx<'_>,
    orders: &[&Order],
    met: &[Met],
    outcomes: &mut [Outcome],
) -> Result<(), StoreError> {
    let mut places = Vec::new();
    let mut claims = Vec::new();
    for (place, (order, met)) in orders.iter().zip(met).enumerate() {
        let (Some(attempt), Met::New | Met::Old { .. }) = (&order.attempt, met) else {
            continue;
        };
        let granted = outcomes[place].as_ref().ok().and_then(|o| o.as_ref().ok());
        places.push(place);
        claims.push(Claim {
            attempt,
            met,
            jti: met.recorded().or(granted.map(|grant| &grant.jti)),
            answer: None,
        });
    }
    let taken = tx.claim(&claims)?;
    for (place, _) in places.into_iter().zip(taken).filter(|(_, taken)| !taken) {
        outcomes[place] = Err(Repeated::InFlight);
    }
    Ok(())
}
