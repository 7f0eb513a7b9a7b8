//! The grants that a certificate chain signs, when its key is distrusted. There can be millions,
//! and minting waits meanwhile, so every query here follows the index on chain and expiry: none
//! sorts or visits all grants.

use diesel::dsl::{count_star, max};
use diesel::prelude::*;

use super::grants::{Row, not_withdrawn};
use crate::domain::clock::{Time, from_unix};
use crate::domain::inventory::withdrawal::{AuthorityEnd, Exposure};
use crate::domain::tokens::grant::Grant;
use crate::store::connection::on_either;
use crate::store::error::StoreError;
use crate::store::schema::grants;
use crate::store::tx::Tx;

/// How far the grants of a chain have been withdrawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweptChain {
    pub count: usize,
    /// The expiry of the first grant that is left, if any is.
    pub more_from: Option<Time>,
}

impl Tx<'_> {
    /// How many tokens of these chains can be redeemed after `at`, and until when.
    pub fn exposure_of_chains(
        &mut self,
        chains: &[String],
        at: Time,
    ) -> Result<Exposure, StoreError> {
        let (tokens, until) = self.run(|connection| {
            on_either!(connection, c => grants::table
                .filter(grants::chain.eq_any(chains))
                .filter(grants::expires_at.gt(at.timestamp()))
                .select((count_star(), max(grants::expires_at)))
                .first::<(i64, Option<i64>)>(c))
        })?;
        Ok(Exposure {
            tokens: u64::try_from(tokens).map_err(StoreError::corrupt)?,
            until: until.map(from_unix),
        })
    }

    /// Grants of these chains whose tokens can be redeemed after `at`, at most `limit`, ordered by
    /// the second of their issuance; and whether there are more.
    pub fn outstanding_of_chains(
        &mut self,
        chains: &[String],
        at: Time,
        limit: u16,
    ) -> Result<(Vec<Grant>, bool), StoreError> {
        let (mut found, limit) = (Vec::new(), usize::from(limit));
        for chain in chains {
            let fetch = limit + 1 - found.len().min(limit);
            let rows = self.run(|connection| {
                on_either!(connection, c => grants::table
                    .filter(grants::chain.eq(chain))
                    .filter(grants::expires_at.gt(at.timestamp()))
                    .order(grants::expires_at)
                    .limit(i64::try_from(fetch).unwrap_or(i64::MAX))
                    .load::<Row>(c))
            })?;
            for row in rows {
                found.push(Grant::try_from(row)?);
            }
        }
        let more = found.len() > limit;
        found.truncate(limit);
        found.sort_unstable_by(|a, b| a.jti.cmp(&b.jti));
        Ok((found, more))
    }

    /// Withdraws the next grants of a chain, at most `limit`: those that are not withdrawn at
    /// `ended.at`, and expire after it, and not before `from`.
    pub fn withdraw_chain(
        &mut self,
        chain: &str,
        ended: &AuthorityEnd,
        from: Time,
        limit: usize,
        now: Time,
    ) -> Result<SweptChain, StoreError> {
        let at = ended.at;
        let fetch = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        let mut found = self.run(|connection| {
            on_either!(connection, c => grants::table
                .filter(grants::chain.eq(chain))
                .filter(grants::expires_at.gt(at.timestamp()))
                .filter(grants::expires_at.ge(from.timestamp()))
                .filter(not_withdrawn!(at))
                .order(grants::expires_at)
                .limit(fetch)
                .select((grants::jti, grants::account_id, grants::expires_at))
                .load::<(String, String, i64)>(c))
        })?;
        // The first one that is left.
        let more_from = found.get(limit).map(|(_, _, expires_at)| *expires_at);
        found.truncate(limit);
        self.mark(&found, ended, now)?;
        Ok(SweptChain {
            count: found.len(),
            more_from: more_from.map(from_unix),
        })
    }
}
