//! The grants that a certificate chain signs, when its key is distrusted. There can be millions,
//! and minting waits meanwhile. The grants that can still be redeemed are the newest, so the
//! queries here read the ledger from a lower bound of their ids on, and a sweep reads a bounded
//! part of it at a time.

use diesel::dsl::{count_star, max};
use diesel::prelude::*;

use super::columns;
use super::grants::{Row, not_withdrawn};
use super::withdrawals::Touched;
use crate::domain::clock::{Time, from_unix};
use crate::domain::inventory::withdrawal::{AuthorityEnd, Exposure};
use crate::domain::tokens::grant::{Grant, Jti};
use crate::store::connection::on_either;
use crate::store::error::StoreError;
use crate::store::schema::grants;
use crate::store::tx::Tx;

/// How many grants, of whatever chain, one transaction of a sweep reads at most.
const MAX_READ: usize = 200_000;

/// How far the grants of a chain have been withdrawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweptChain {
    pub count: usize,
    /// The last grant that was read, if there are more after it.
    pub more_after: Option<Jti>,
}

impl Tx<'_> {
    /// How many tokens of these chains can be redeemed after `at`, and until when.
    pub fn exposure_of_chains(
        &mut self,
        chains: &[String],
        at: Time,
    ) -> Result<Exposure, StoreError> {
        let terms = self.terms_of_chains(chains)?;
        let first = self.first_jti_expiring_after(at)?;
        let (tokens, until) = self.run(|connection| {
            on_either!(connection, c => grants::table
                .filter(grants::jti.gt(first))
                .filter(grants::terms_id.eq_any(terms))
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
    /// the time of their issuance; and whether there are more.
    pub fn outstanding_of_chains(
        &mut self,
        chains: &[String],
        at: Time,
        limit: u16,
    ) -> Result<(Vec<Grant>, bool), StoreError> {
        let terms = self.terms_of_chains(chains)?;
        let first = self.first_jti_expiring_after(at)?;
        let mut rows = self.run(|connection| {
            on_either!(connection, c => grants::table
                .filter(grants::jti.gt(first))
                .filter(grants::terms_id.eq_any(terms))
                .filter(grants::expires_at.gt(at.timestamp()))
                .order(grants::jti)
                .limit(i64::from(limit) + 1)
                .load::<Row>(c))
        })?;
        let more = rows.len() > usize::from(limit);
        rows.truncate(usize::from(limit));
        Ok((self.read_grants(&rows)?, more))
    }

    /// Withdraws the next grants of a chain, at most `limit`: those that are not withdrawn at
    /// `ended.at`, and expire after it, and whose ids are after `after`.
    pub fn withdraw_chain(
        &mut self,
        chain: &str,
        ended: &AuthorityEnd,
        after: &str,
        limit: usize,
        now: Time,
    ) -> Result<SweptChain, StoreError> {
        let at = ended.at;
        let terms = self.terms_of_chains(&[chain.to_owned()])?;
        let first = self.first_jti_expiring_after(at)?;
        let first = first.max(columns::jti_bytes(after)?);
        let end = self.jti_after(&first, MAX_READ)?;
        let fetch = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        let mut found = self.run(|connection| {
            on_either!(connection, c => {
                let mut query = grants::table
                    .filter(grants::jti.gt(first))
                    .filter(grants::terms_id.eq_any(terms))
                    .filter(grants::expires_at.gt(at.timestamp()))
                    .filter(not_withdrawn!(at))
                    .order(grants::jti)
                    .limit(fetch)
                    .select((grants::jti, grants::account_id, grants::expires_at))
                    .into_boxed();
                if let Some(end) = &end {
                    query = query.filter(grants::jti.le(end));
                }
                query.load::<Touched>(c)
            })
        })?;
        let is_cut = found.len() > limit;
        found.truncate(limit);
        self.mark(&found, ended, now)?;
        let last = if is_cut {
            let last = found.last().map(|(jti, ..)| Jti::from_bytes(jti));
            // With a limit of 0, none was processed.
            Some(last.unwrap_or_else(|| Jti::from_text(after)))
        } else {
            end.as_deref().map(Jti::from_bytes)
        };
        Ok(SweptChain {
            count: found.len(),
            more_after: last,
        })
    }

    /// The id of the grant that is so many after an id; `None` if there are not so many.
    fn jti_after(&mut self, after: &[u8], count: usize) -> Result<Option<Vec<u8>>, StoreError> {
        let skipped = i64::try_from(count).unwrap_or(i64::MAX).saturating_sub(1);
        self.run(|connection| {
            on_either!(connection, c => grants::table
                .filter(grants::jti.gt(after))
                .order(grants::jti)
                .select(grants::jti)
                .offset(skipped)
                .limit(1)
                .first::<Vec<u8>>(c)
                .optional())
        })
    }
}
