//! Tokens that can still be redeemed although an import took authority from some of their numbers: they are counted, and
//! their grants are taken back.

use std::collections::BTreeMap;

use super::outcome::{GRANTS_COUNTED, GRANTS_LISTED, OutstandingTokens};
use crate::authority::withdraw::MAX_AT_ONCE;
use crate::domain::clock::Time;
use crate::domain::inventory::withdrawal::AuthorityEnd;
use crate::domain::numbers::range_index::Index;
use crate::domain::tokens::grant::Jti;
use crate::domain::{NumberRange, new_id};
use crate::store::{GrantFilter, Loss, StoreError, Tx};

/// What some losses touch: each grant with the loss that comes first, and when its token expires.
#[derive(Debug, Default)]
pub(super) struct ExposedGrants {
    grants: BTreeMap<Jti, (AuthorityEnd, Time)>,
    /// Whether there are more than were looked at.
    more: bool,
}

/// Finds what these losses touch, as far as it is counted.
pub(super) fn touched(tx: &mut Tx<'_>, losses: &[Loss]) -> Result<ExposedGrants, StoreError> {
    let Some(first) = losses.iter().map(|loss| loss.ended.at).min() else {
        return Ok(ExposedGrants::default());
    };
    let of = |loss: &Loss| Some((loss.numbers?, loss.ended.clone()));
    let lost: Vec<(NumberRange, AuthorityEnd)> = losses.iter().filter_map(of).collect();
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

/// Takes back what these losses touch. Where that is more than one transaction takes, it is left to sweeps.
pub(super) fn withdraw_for(
    tx: &mut Tx<'_>,
    losses: Vec<Loss>,
    touched: &ExposedGrants,
    now: Time,
) -> Result<u64, StoreError> {
    if touched.more || touched.grants.len() > MAX_AT_ONCE {
        let (_, last) = tx.exposure(&GrantFilter::outstanding(now))?;
        let losses: Vec<_> = losses.into_iter().map(|loss| (new_id(now), loss)).collect();
        if let Some(last) = last {
            tx.insert_sweeps(&losses, ("", &last), now)?;
        }
        return Ok(touched.grants.len() as u64);
    }
    let mut by_loss: BTreeMap<&AuthorityEnd, Vec<&Jti>> = BTreeMap::new();
    for (jti, (ended, _)) in &touched.grants {
        by_loss.entry(ended).or_default().push(jti);
    }
    let mut count = 0;
    for (ended, ids) in by_loss {
        count += tx.withdraw_grants(&ids, ended, now)?;
    }
    Ok(count as u64)
}

/// Counts and lists what is touched.
pub(super) fn listed(
    tx: &mut Tx<'_>,
    touched: &ExposedGrants,
) -> Result<OutstandingTokens, StoreError> {
    let first: Vec<Jti> = touched.grants.keys().take(GRANTS_LISTED).cloned().collect();
    Ok(OutstandingTokens {
        count: touched.grants.len() as u64,
        more: touched.more,
        grants: tx.grants_of(&first)?,
        until: touched.grants.values().map(|(_, expires)| *expires).max(),
        withdrawn: 0,
    })
}
