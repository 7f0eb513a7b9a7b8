//! The feed of withdrawals, and what is told to a CA that holds a token.

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
    /// Where the next page starts, also when there is nothing there yet.
    pub next_after: i64,
    /// Whether there is.
    pub more: bool,
}

/// How a grant stands, for whoever holds its token: nothing about a person or a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GrantStatus {
    pub jti: Jti,
    pub state: GrantState,
    /// From when on it is taken back, which may lie ahead.
    pub at: Option<Time>,
    pub expires: Time,
}

impl Authority {
    /// The entries of the feed behind a place, as far as the caller may know of them. Any caller may follow it: everybody
    /// sees what is theirs, and a place is only a place, whoever was told of it. Blocks.
    ///
    /// # Errors
    /// [`Refused`] if the store cannot answer.
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

    /// How a grant stands. Asks for no caller: an id has 128 random bits, stands in the token, and so proves that somebody
    /// holds it. Blocks.
    ///
    /// # Errors
    /// [`Refused`] if there is no such grant.
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

    /// Measures how much can be redeemed although it is withdrawn. Blocks.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot answer.
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
