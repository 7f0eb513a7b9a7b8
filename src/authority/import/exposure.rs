//! Tokens that can still be redeemed although an import ended the authority over some of their
//! numbers: counts them, and withdraws their grants.

use std::collections::BTreeMap;

use super::outcome::{GRANTS_COUNTED, GRANTS_LISTED, OutstandingTokens};
use crate::authority::withdraw::MAX_AT_ONCE;
use crate::domain::clock::Time;
use crate::domain::inventory::withdrawal::AuthorityEnd;
use crate::domain::numbers::range_index::Index;
use crate::domain::tokens::grant::Jti;
use crate::domain::{NumberRange, new_id};
use crate::store::{GrantFilter, Loss, StoreError, Tx};

/// The grants that a set of losses concerns: each with its earliest loss, and when its token
/// expires.
#[derive(Debug, Default)]
pub(in crate::authority) struct ExposedGrants {
    grants: BTreeMap<Jti, (AuthorityEnd, Time)>,
    /// Whether the search stopped at its limit.
    more: bool,
}

/// Finds the grants that these losses concern, up to [`GRANTS_COUNTED`].
pub(in crate::authority) fn find(
    tx: &mut Tx<'_>,
    losses: &[Loss],
) -> Result<ExposedGrants, StoreError> {
    let Some(first) = losses.iter().map(|loss| loss.ended.at).min() else {
        return Ok(ExposedGrants::default());
    };
    let with_numbers = |loss: &Loss| Some((loss.numbers?, loss.ended.clone()));
    let lost: Vec<(NumberRange, AuthorityEnd)> = losses.iter().filter_map(with_numbers).collect();
    let numbers: Vec<NumberRange> = lost.iter().map(|(numbers, _)| *numbers).collect();
    let (found, more) = tx.grants_touching(&numbers, first, GRANTS_COUNTED)?;
    let lost = Index::new(lost.into_iter());
    let mut grants: BTreeMap<Jti, (AuthorityEnd, Time)> = BTreeMap::new();
    for row in found {
        let ends = lost.touching(row.numbers).map(|(_, ended)| ended);
        let Some(ended) = ends.filter(|ended| row.expires_at > ended.at).min() else {
            continue;
        };
        let known = grants.get(&row.jti);
        if known.is_none_or(|(known, _)| ended < known) {
            grants.insert(row.jti, (ended.clone(), row.expires_at));
        }
    }
    Ok(ExposedGrants { grants, more })
}

/// Withdraws the exposed grants. If they are too many for one transaction, queues sweeps that do it
/// later.
pub(in crate::authority) fn withdraw(
    tx: &mut Tx<'_>,
    losses: Vec<Loss>,
    exposed: &ExposedGrants,
    now: Time,
) -> Result<u64, StoreError> {
    if exposed.more || exposed.grants.len() > MAX_AT_ONCE {
        let (_, last) = tx.exposure(&GrantFilter::outstanding(now))?;
        let losses: Vec<_> = losses.into_iter().map(|loss| (new_id(now), loss)).collect();
        if let Some(last) = last {
            tx.insert_sweeps(&losses, ("", &last), now)?;
        }
        return Ok(exposed.grants.len() as u64);
    }
    let mut by_loss: BTreeMap<&AuthorityEnd, Vec<&Jti>> = BTreeMap::new();
    for (jti, (ended, _)) in &exposed.grants {
        by_loss.entry(ended).or_default().push(jti);
    }
    let mut count = 0;
    for (ended, ids) in by_loss {
        count += tx.withdraw_grants(&ids, ended, now)?;
    }
    Ok(count as u64)
}

/// The counts of the exposed grants, and the first of them.
pub(in crate::authority) fn listed(
    tx: &mut Tx<'_>,
    exposed: &ExposedGrants,
) -> Result<OutstandingTokens, StoreError> {
    let first: Vec<Jti> = exposed.grants.keys().take(GRANTS_LISTED).cloned().collect();
    Ok(OutstandingTokens {
        count: exposed.grants.len() as u64,
        more: exposed.more,
        grants: tx.grants_of(&first)?,
        until: exposed.grants.values().map(|(_, expires)| *expires).max(),
        withdrawn: 0,
    })
}
