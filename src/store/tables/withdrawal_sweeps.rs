//! Sweeps: losses of authority that affect more grants than one transaction withdraws.
//!
//! The first grants are withdrawn in the transaction that ends the authority, and a row here
//! represents the others. They are withdrawn in transactions of their own, so that minting gets its
//! turn in between. A grant that is looked up by its id counts as withdrawn even if the sweep has
//! not reached it yet.

use diesel::prelude::*;
use uuid::Uuid;

use super::columns;
use super::versioned::ROWS_PER_INSERT;
use super::withdrawals::Loss;
use crate::domain::clock::{Time, from_unix};
use crate::domain::inventory::withdrawal::AuthorityEnd;
use crate::domain::tokens::grant::{Grant, Jti, Withdrawal};
use crate::store::connection::on_either;
use crate::store::error::StoreError;
use crate::store::schema::withdrawal_sweeps;
use crate::store::tx::Tx;

#[derive(Debug, Clone, Queryable, Insertable)]
#[diesel(table_name = withdrawal_sweeps)]
struct Row {
    id: String,
    account_id: Option<String>,
    first_position: Option<i64>,
    last_position: Option<i64>,
    at: i64,
    reason: String,
    cause: Option<String>,
    after_jti: String,
    last_jti: String,
    recorded_at: i64,
    chain: Option<String>,
    /// Written by older versions, whose sweeps of chains went by expiry.
    from_expiry: Option<i64>,
}

/// Higher than any id. What a distrusted chain signed is all to be withdrawn, so the sweep of a
/// chain has no last id.
const BEYOND_ALL: &str = "g";

impl Tx<'_> {
    /// Leaves grants of losses to be withdrawn later: those with ids after `after`, up to `last`.
    pub fn insert_sweeps(
        &mut self,
        losses: &[(Uuid, Loss)],
        (after, last): (&str, &Jti),
        now: Time,
    ) -> Result<(), StoreError> {
        for chunk in losses.chunks(ROWS_PER_INSERT) {
            let rows = chunk.iter().map(|(id, loss)| Row {
                id: id.to_string(),
                account_id: loss.of.as_ref().map(|account| account.id.to_string()),
                first_position: loss.numbers.map(|numbers| numbers.first().position()),
                last_position: loss.numbers.map(|numbers| numbers.last().position()),
                at: loss.ended.at.timestamp(),
                reason: loss.ended.reason.clone(),
                cause: loss.ended.cause.map(|cause| cause.to_string()),
                after_jti: after.to_owned(),
                last_jti: last.to_string(),
                recorded_at: now.timestamp(),
                chain: None,
                from_expiry: None,
            });
            let rows: Vec<Row> = rows.collect();
            self.run(|connection| {
                on_either!(connection, c => diesel::insert_into(withdrawal_sweeps::table).values(&rows).execute(c))
            })?;
        }
        Ok(())
    }

    /// Leaves the grants of a distrusted chain to be withdrawn later: those with ids after `after`.
    pub fn insert_chain_sweep(
        &mut self,
        (id, chain): (Uuid, &str),
        ended: &AuthorityEnd,
        after: &Jti,
        now: Time,
    ) -> Result<(), StoreError> {
        let row = Row {
            id: id.to_string(),
            account_id: None,
            first_position: None,
            last_position: None,
            at: ended.at.timestamp(),
            reason: ended.reason.clone(),
            cause: ended.cause.map(|cause| cause.to_string()),
            after_jti: after.to_string(),
            last_jti: BEYOND_ALL.to_owned(),
            recorded_at: now.timestamp(),
            chain: Some(chain.to_owned()),
            from_expiry: None,
        };
        self.run(|connection| {
            on_either!(connection, c => diesel::insert_into(withdrawal_sweeps::table).values(&row).execute(c))
        })?;
        Ok(())
    }

    /// Whether any grants are left to be withdrawn.
    pub fn has_sweeps(&mut self) -> Result<bool, StoreError> {
        let first = self.run(|connection| {
            on_either!(connection, c => withdrawal_sweeps::table
                .select(withdrawal_sweeps::id)
                .limit(1)
                .first::<String>(c)
                .optional())
        })?;
        Ok(first.is_some())
    }

    /// Withdraws the next grants of the oldest sweep, at most `limit`. Returns its loss and how
    /// many were withdrawn; `None` if no sweep is left.
    pub fn sweep(&mut self, limit: usize, now: Time) -> Result<Option<(Loss, usize)>, StoreError> {
        let row = self.run(|connection| {
            on_either!(connection, c => withdrawal_sweeps::table
                // Ids begin with the time, so this is the oldest.
                .order(withdrawal_sweeps::id)
                .first::<Row>(c)
                .optional())
        })?;
        let Some(row) = row else { return Ok(None) };
        let loss = self.loss_of(&row)?;
        if let Some(chain) = &row.chain {
            let count = self.sweep_chain(&row, chain, &loss.ended, limit, now)?;
            return Ok(Some((loss, count)));
        }
        let last = Jti::from_text(&row.last_jti);
        let swept = self.withdraw_touched(&loss, (&row.after_jti, &last), limit, now)?;
        let found = withdrawal_sweeps::table.find(&row.id);
        self.run(|connection| {
            on_either!(connection, c => match &swept.more_after {
                Some(after) => diesel::update(found)
                    .set(withdrawal_sweeps::after_jti.eq(after.as_str()))
                    .execute(c),
                None => diesel::delete(found).execute(c),
            })
        })?;
        Ok(Some((loss, swept.count)))
    }

    fn sweep_chain(
        &mut self,
        row: &Row,
        chain: &str,
        ended: &AuthorityEnd,
        limit: usize,
        now: Time,
    ) -> Result<usize, StoreError> {
        let swept = self.withdraw_chain(chain, ended, &row.after_jti, limit, now)?;
        let found = withdrawal_sweeps::table.find(&row.id);
        self.run(|connection| {
            on_either!(connection, c => match &swept.more_after {
                Some(after) => diesel::update(found)
                    .set(withdrawal_sweeps::after_jti.eq(after.as_str()))
                    .execute(c),
                None => diesel::delete(found).execute(c),
            })
        })?;
        Ok(swept.count)
    }

    /// The withdrawal by a sweep that has not reached this grant yet; of several, the earliest.
    pub(in crate::store) fn pending_withdrawal(
        &mut self,
        grant: &Grant,
    ) -> Result<Option<Withdrawal>, StoreError> {
        let withdrawn_at = grant.withdrawal.as_ref().map(|known| known.at);
        // A withdrawal that takes effect later than this changes nothing.
        let latest = withdrawn_at
            .unwrap_or(grant.expires_at)
            .min(grant.expires_at);
        let rows = self.run(|connection| {
            on_either!(connection, c => withdrawal_sweeps::table
                .filter(withdrawal_sweeps::after_jti.lt(grant.jti.as_str()))
                .filter(withdrawal_sweeps::last_jti.ge(grant.jti.as_str()))
                .filter(withdrawal_sweeps::at.lt(latest.timestamp()))
                .order((withdrawal_sweeps::at, withdrawal_sweeps::id))
                .load::<Row>(c))
        })?;
        if rows.is_empty() {
            return Ok(None);
        }
        let account = self.account(&grant.account)?;
        let numbers = grant.tkvalue.numbers().map_err(StoreError::corrupt)?;
        for row in rows {
            let loss = self.loss_of(&row)?;
            let affects_account = loss.of.is_none_or(|of| {
                let of = std::slice::from_ref(&of.id);
                account
                    .as_ref()
                    .is_some_and(|account| account.is_within(of))
            });
            let affects_numbers = loss.numbers.is_none_or(|lost| {
                numbers
                    .iter()
                    .any(|numbers| numbers.intersection(lost).is_some())
            });
            let affects_chain = row.chain.as_ref().is_none_or(|chain| *chain == grant.chain);
            if affects_account && affects_numbers && affects_chain {
                return Ok(Some(Withdrawal {
                    at: loss.ended.at,
                    reason: loss.ended.reason,
                }));
            }
        }
        Ok(None)
    }

    fn loss_of(&mut self, row: &Row) -> Result<Loss, StoreError> {
        let of = match &row.account_id {
            None => None,
            Some(id) => {
                let missing =
                    || StoreError::corrupt(format!("sweep {} has an unknown account", row.id));
                let id = id.parse().map_err(StoreError::corrupt)?;
                Some(self.account(&id)?.ok_or_else(missing)?)
            }
        };
        let ends = row.first_position.zip(row.last_position);
        let numbers = ends.map(|(first, last)| columns::numbers(first, last));
        let cause = row.cause.as_deref().map(str::parse).transpose();
        Ok(Loss {
            of,
            numbers: numbers.transpose()?,
            ended: AuthorityEnd {
                at: from_unix(row.at),
                reason: row.reason.clone(),
                cause: cause.map_err(StoreError::corrupt)?,
            },
        })
    }
}
