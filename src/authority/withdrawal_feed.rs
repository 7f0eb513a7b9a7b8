//! The withdrawal feed, and the status of a grant for a CA that has its token.

use serde::Serialize;

use super::scope::Visibility;
use super::{Authority, ChangeError};
use crate::domain::Caller;
use crate::domain::clock::Time;
use crate::domain::inventory::withdrawal::{Exposure, Withdrawn};
use crate::domain::tokens::grant::{GrantState, Jti};
use crate::store::StoreError;

/// A page of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    pub items: Vec<Withdrawn>,
    /// The `after` of the next page, also if the feed has no more entries yet.
    pub next_after: i64,
    /// Whether there are more entries already.
    pub more: bool,
}

/// The status of a grant, for anyone who has its token. It contains no numbers and no personal
/// data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GrantStatus {
    pub jti: Jti,
    pub state: GrantState,
    /// When it was, or will be, withdrawn.
    pub at: Option<Time>,
    pub expires: Time,
}

impl Authority {
    /// The feed entries after a sequence number, as far as the caller may see them. Every caller
    /// can read the feed and sees only its own entries; a sequence number alone reveals nothing.
    /// Blocks.
    pub fn withdrawals(
        &self,
        caller: &Caller,
        after: i64,
        limit: u16,
    ) -> Result<Feed, ChangeError> {
        let scope = Visibility::of(caller);
        self.store.read(|tx| {
            let within = scope.within(tx)?;
            let fetch = limit.saturating_add(1);
            let mut items = tx.withdrawals_after(within.as_ref(), (after, None), fetch)?;
            let more = items.len() > usize::from(limit);
            items.truncate(limit.into());
            for item in &mut items {
                scope.hide_cause(item);
            }
            Ok(Feed {
                next_after: items.last().map_or(after, |last| last.sequence),
                items,
                more,
            })
        })
    }

    /// The status of a grant. Needs no authentication: a `jti` has 128 random bits and is part of
    /// the token, so knowing it shows that the caller has seen the token. Blocks.
    pub fn grant_status(&self, jti: &Jti) -> Result<GrantStatus, ChangeError> {
        let now = self.clock.now();
        let grant = self.store.read(|tx| tx.grant(jti))?;
        let grant = grant.ok_or(ChangeError::NotFound("grant"))?;
        Ok(GrantStatus {
            state: grant.state(now),
            at: grant.withdrawal.map(|withdrawal| withdrawal.at),
            expires: grant.expires_at,
            jti: grant.jti,
        })
    }

    /// Measures how many withdrawn tokens can still be redeemed. Blocks.
    pub fn measure_exposure(&self) -> Result<Exposure, StoreError> {
        let now = self.clock.now();
        let exposure = self.store.read(|tx| tx.exposure_at(now))?;
        let metrics = &self.metrics.authority_ends;
        metrics.exposed(
            exposure.tokens,
            exposure.until.map_or(0, |until| until.timestamp()),
        );
        Ok(exposure)
    }
}
