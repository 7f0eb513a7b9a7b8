//! The feed of failures: proofs that rights to renew started, and whose codes did not come back.

use diesel::dsl::max;
use diesel::prelude::*;

use super::accounts::Within;
use super::control_proofs::Row;
use super::probe_query::{ProbeColumn, ProbeQuery};
use crate::domain::clock::Time;
use crate::domain::control::failure::FailedControl;
use crate::domain::control::proof::ControlProof;
use crate::store::connection::on_either;
use crate::store::error::StoreError;
use crate::store::schema::control_proofs;
use crate::store::tx::Tx;

/// The proofs that failed and are not reported yet.
macro_rules! unreported {
    ($now:expr) => {{
        let now = $now.timestamp();
        control_proofs::table
            .filter(control_proofs::renewal_id.is_not_null())
            .filter(control_proofs::confirmed_at.is_null())
            .filter(control_proofs::failure_sequence.is_null())
            .filter(
                control_proofs::expires_at
                    .le(now)
                    .or(control_proofs::ends_at
                        .is_not_null()
                        .and(control_proofs::ends_at.le(now))),
            )
    }};
}

impl Tx<'_> {
    /// Whether any proof failed and is not reported yet.
    pub fn has_unreported_failure(&mut self, now: Time) -> Result<bool, StoreError> {
        let found = self.run(|connection| {
            on_either!(connection, c => unreported!(now)
                .select(control_proofs::id)
                .first::<String>(c)
                .optional())
        })?;
        Ok(found.is_some())
    }

    /// Appends proofs that failed to the feed, at most `limit` of them. Returns their entries, and
    /// how many were looked at: those that failed because authority was lost get no entry. Needs
    /// the exclusive lock, as everything does that appends to a feed.
    pub fn report_failures(
        &mut self,
        now: Time,
        limit: u16,
    ) -> Result<(Vec<FailedControl>, usize), StoreError> {
        let rows = self.run(|connection| {
            on_either!(connection, c => unreported!(now)
                .order((control_proofs::expires_at, control_proofs::id))
                .limit(limit.into())
                .load::<Row>(c))
        })?;
        // As withdrawals do it, in the same sequence.
        let mut sequence = self
            .last_sequence()?
            .max(now.timestamp().saturating_mul(1_000_000));
        let (mut entries, mut marks) = (Vec::new(), Vec::new());
        let looked_at = rows.len();
        for row in rows {
            let proof = ControlProof::try_from(row)?;
            let id = proof.id;
            let marked = match proof.failure() {
                Some((failure, at)) => {
                    sequence += 1;
                    entries.push(FailedControl {
                        sequence,
                        proof,
                        failure,
                        at,
                    });
                    sequence
                }
                None => 0,
            };
            marks.push((id, marked));
        }
        if !marks.is_empty() {
            let update = ProbeQuery::<()>::new(
                [
                    (
                        "id",
                        ProbeColumn::texts(marks.iter().map(|(id, _)| id.to_string())),
                    ),
                    (
                        "sequence",
                        ProbeColumn::big_ints(marks.iter().map(|(_, at)| *at)),
                    ),
                ],
                [
                    "UPDATE control_proofs SET failure_sequence = p.sequence FROM ",
                    " WHERE control_proofs.id = p.id",
                ],
            );
            self.run(|connection| on_either!(connection, c => update.execute(c)))?;
        }
        Ok((entries, looked_at))
    }

    /// The next entries of the feed after a sequence number, in order; with `within`, only those of
    /// accounts in it; with `until`, none after that number.
    pub fn failures_after(
        &mut self,
        within: Option<&Within>,
        (after, until): (i64, Option<i64>),
        limit: u16,
    ) -> Result<Vec<FailedControl>, StoreError> {
        use super::accounts::{path, within};
        let rows = self.run(|connection| {
            on_either!(connection, c => {
                let mut query = control_proofs::table
                    // Those without an entry have 0.
                    .filter(control_proofs::failure_sequence.gt(after.max(0)))
                    .filter(control_proofs::failure_sequence.le(until.unwrap_or(i64::MAX)))
                    .filter(control_proofs::failure_sequence.gt(0))
                    .order(control_proofs::failure_sequence)
                    .limit(limit.into())
                    .into_boxed();
                if let Some(within) = within {
                    query = query.filter(control_proofs::account_id.eq_any(within!(within)));
                }
                query.load::<Row>(c)
            })
        })?;
        rows.into_iter().map(entry).collect()
    }

    /// The last sequence number of the feed of failures; 0 if it is empty.
    pub(super) fn last_failure_sequence(&mut self) -> Result<i64, StoreError> {
        let last = self.run(|connection| {
            on_either!(connection, c => control_proofs::table
                .filter(control_proofs::failure_sequence.gt(0))
                .select(max(control_proofs::failure_sequence))
                .first::<Option<i64>>(c))
        })?;
        Ok(last.unwrap_or_default())
    }
}

fn entry(row: Row) -> Result<FailedControl, StoreError> {
    let sequence = row.failure_sequence.unwrap_or_default();
    let proof = ControlProof::try_from(row)?;
    let (failure, at) = proof
        .failure()
        .ok_or_else(|| StoreError::corrupt("a failure without a reason"))?;
    Ok(FailedControl {
        sequence,
        proof,
        failure,
        at,
    })
}
