//! Sweeps: losses of authority that touch more grants than one transaction takes back.
//!
//! The first of them are taken back in the transaction that takes the authority away, and a row here stands for the others.
//! It is worked off in transactions of its own, so that those who mint get their turn in between. A grant that is asked for
//! by its id is seen through it: what a sweep has not come to yet counts as taken back already.

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
}

impl Tx<'_> {
    /// Leaves grants of losses to be taken back: those behind `after` up to `last`.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot take it.
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
            });
            let rows: Vec<Row> = rows.collect();
            self.run(|connection| {
                on_either!(connection, c => diesel::insert_into(withdrawal_sweeps::table).values(&rows).execute(c))
            })?;
        }
        Ok(())
    }

    /// Whether anything is left to be taken back.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot answer.
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

    /// Takes back the next grants of the oldest sweep, at most `limit`. Says how many, and whose loss it was; `None` if
    /// nothing is left.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot take it.
    pub fn sweep(&mut self, limit: usize, now: Time) -> Result<Option<(Loss, usize)>, StoreError> {
        let row = self.run(|connection| {
            on_either!(connection, c => withdrawal_sweeps::table
                .order(withdrawal_sweeps::id)
                .first::<Row>(c)
                .optional())
        })?;
        let Some(row) = row else { return Ok(None) };
        let loss = self.loss_of(&row)?;
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

    /// How a sweep that has not come to this grant yet takes it back; of several, the earliest.
    pub(in crate::store) fn pending_withdrawal(
        &mut self,
        grant: &Grant,
    ) -> Result<Option<Withdrawal>, StoreError> {
        let by_then = grant.withdrawal.as_ref().map(|known| known.at);
        let before = by_then.unwrap_or(grant.expires_at).min(grant.expires_at);
        let rows = self.run(|connection| {
            on_either!(connection, c => withdrawal_sweeps::table
                .filter(withdrawal_sweeps::after_jti.lt(grant.jti.as_str()))
                .filter(withdrawal_sweeps::last_jti.ge(grant.jti.as_str()))
                .filter(withdrawal_sweeps::at.lt(before.timestamp()))
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
            let whose = loss.of.is_none_or(|of| {
                let of = std::slice::from_ref(&of.id);
                account
                    .as_ref()
                    .is_some_and(|account| account.is_within(of))
            });
            let which = loss.numbers.is_none_or(|lost| {
                numbers
                    .iter()
                    .any(|numbers| numbers.intersection(lost).is_some())
            });
            if whose && which {
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
                let gone = || StoreError::corrupt(format!("account of sweep {}", row.id));
                let id = id.parse().map_err(StoreError::corrupt)?;
                Some(self.account(&id)?.ok_or_else(gone)?)
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
