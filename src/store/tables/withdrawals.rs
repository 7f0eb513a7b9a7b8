//! Withdrawals: grants that were withdrawn, and the feed that reports them.
//!
//! The feed is written in the transaction that ends the authority. Such a transaction runs alone,
//! on all replicas, until it has committed (see `writer`). So no entry ever appears with a lower
//! sequence number than one that has been read.

use diesel::dsl::{count_star, max};
use diesel::prelude::*;

use super::accounts::Within;
use super::columns;
use super::grants::{GrantFilter, not_withdrawn, passing};
use super::touching_grants::Touching;
use crate::domain::accounts::account::Account;
use crate::domain::clock::{Time, from_unix};
use crate::domain::inventory::withdrawal::{AuthorityEnd, Exposure, Withdrawn};
use crate::domain::tokens::grant::Jti;
use crate::domain::{NumberRange, TkValue};
use crate::store::connection::on_either;
use crate::store::error::StoreError;
use crate::store::schema::{grant_terms, grants, withdrawals};
use crate::store::tx::Tx;

/// How many grants one statement marks.
const PER_STATEMENT: usize = 2_000;

/// A loss of authority: whose, for which numbers, from when on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// This account and all accounts below it; `None` for everyone.
    pub of: Option<Account>,
    /// `None` for all numbers.
    pub numbers: Option<NumberRange>,
    pub ended: AuthorityEnd,
}

impl Loss {
    /// The grants whose tokens can still be redeemed after the loss takes effect.
    #[must_use]
    pub fn touched(&self) -> GrantFilter {
        GrantFilter {
            within: self.of.clone().map(|account| Within {
                roots: vec![account],
                below: true,
            }),
            numbers: self.numbers,
            ..GrantFilter::outstanding(self.ended.at)
        }
    }
}

/// How far the grants of a loss have been withdrawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swept {
    pub count: usize,
    /// The last grant that was processed, if there are more after it.
    pub more_after: Option<Jti>,
}

#[derive(Debug, Insertable)]
#[diesel(table_name = withdrawals)]
struct NewRow<'a> {
    sequence: i64,
    jti: &'a [u8],
    account_id: &'a str,
    at: i64,
    expires_at: i64,
    reason: &'a str,
    cause: Option<String>,
    recorded_at: i64,
}

type Row = (i64, Vec<u8>, String, i64, i64, String, Option<String>, i64);

/// A grant to be marked: its jti, its account, its expiry.
pub(super) type Touched = (Vec<u8>, String, i64);

impl Tx<'_> {
    /// How many tokens of the grants that match a filter can be redeemed, and until when; and the
    /// last of these grants.
    pub fn exposure(
        &mut self,
        filter: &GrantFilter,
    ) -> Result<(Exposure, Option<Jti>), StoreError> {
        let first = self.first_jti_of(filter)?;
        let (tokens, until) = self.run(|connection| {
            on_either!(connection, c => passing!(filter, &first)
                .select((count_star(), max(grants::expires_at)))
                .first::<(i64, Option<i64>)>(c))
        })?;
        let last = self.run(|connection| {
            on_either!(connection, c => passing!(filter, &first)
                .select(grants::jti)
                .order(grants::jti.desc())
                .first::<Vec<u8>>(c)
                .optional())
        })?;
        let exposure = Exposure {
            tokens: u64::try_from(tokens).map_err(StoreError::corrupt)?,
            until: until.map(from_unix),
        };
        Ok((exposure, last.as_deref().map(Jti::from_bytes)))
    }

    /// The tokens that can be redeemed at an instant although their grants are withdrawn.
    pub fn exposure_at(&mut self, time: Time) -> Result<Exposure, StoreError> {
        let at = time.timestamp();
        let (tokens, until) = self.run(|connection| {
            on_either!(connection, c => withdrawals::table
                .filter(withdrawals::expires_at.gt(at))
                .filter(withdrawals::at.le(at))
                .select((
                    // A grant has two entries if a later withdrawal takes effect earlier.
                    diesel::dsl::count(withdrawals::jti).aggregate_distinct(),
                    max(withdrawals::expires_at),
                ))
                .first::<(i64, Option<i64>)>(c))
        })?;
        Ok(Exposure {
            tokens: u64::try_from(tokens).map_err(StoreError::corrupt)?,
            until: until.map(from_unix),
        })
    }

    /// Withdraws the grants of a loss that are not withdrawn when it takes effect: those with ids
    /// after `after`, up to `last`, at most `limit` of them.
    pub fn withdraw_touched(
        &mut self,
        loss: &Loss,
        (after, last): (&str, &Jti),
        limit: usize,
        now: Time,
    ) -> Result<Swept, StoreError> {
        let (ids, more) = match loss.numbers {
            None => self.ids_of(loss, (after, last), limit)?,
            Some(numbers) => self.ids_touching(numbers, loss.ended.at, (after, last), limit)?,
        };
        let at = loss.ended.at;
        let filter = GrantFilter {
            // The ids were selected by their numbers already.
            numbers: None,
            ..loss.touched()
        };
        let (mut count, first) = (0, Vec::new());
        for chunk in ids.chunks(PER_STATEMENT) {
            let found = self.run(|connection| {
                on_either!(connection, c => passing!(filter, &first)
                    .filter(grants::jti.eq_any(chunk))
                    .filter(not_withdrawn!(at))
                    .order(grants::jti)
                    .select((grants::jti, grants::account_id, grants::expires_at))
                    .load::<Touched>(c))
            })?;
            self.mark(&found, &loss.ended, now)?;
            count += found.len();
        }
        let more_after = ids.last().filter(|_| more).map(|jti| Jti::from_bytes(jti));
        Ok(Swept { count, more_after })
    }

    /// The ids of the next grants of a loss of all numbers, and whether there are more.
    fn ids_of(
        &mut self,
        loss: &Loss,
        (after, last): (&str, &Jti),
        limit: usize,
    ) -> Result<(Vec<Vec<u8>>, bool), StoreError> {
        let (filter, at) = (loss.touched(), loss.ended.at);
        let first = self.first_jti_of(&filter)?;
        let first = first.max(columns::jti_bytes(after)?);
        let last = columns::jti(last)?;
        let ids = self.run(|connection| {
            on_either!(connection, c => passing!(filter, first)
                .filter(not_withdrawn!(at))
                .filter(grants::jti.le(last))
                .order(grants::jti)
                .limit(fetch(limit))
                .select(grants::jti)
                .load::<Vec<u8>>(c))
        })?;
        Ok(cut(ids, limit))
    }

    /// The same for a loss of some numbers.
    fn ids_touching(
        &mut self,
        numbers: NumberRange,
        at: Time,
        (after, last): (&str, &Jti),
        limit: usize,
    ) -> Result<(Vec<Vec<u8>>, bool), StoreError> {
        let touching = Touching::new(numbers, at.timestamp());
        let (after, last) = (columns::jti_bytes(after)?, columns::jti(last)?);
        let query = touching.ids(after, last, fetch(limit));
        let ids =
            self.run(|connection| on_either!(connection, c => query.load::<(Vec<u8>,)>(c)))?;
        let ids = ids.into_iter().map(|(jti,)| jti).collect();
        Ok(cut(ids, limit))
    }

    /// Withdraws those of these grants that are not withdrawn when `ended` takes effect. Returns
    /// how many.
    pub fn withdraw_grants(
        &mut self,
        ids: &[&Jti],
        ended: &AuthorityEnd,
        now: Time,
    ) -> Result<usize, StoreError> {
        let mut count = 0;
        for chunk in ids.chunks(PER_STATEMENT) {
            let ids = chunk.iter().map(|jti| columns::jti(jti));
            let ids = ids.collect::<Result<Vec<_>, _>>()?;
            let at = ended.at;
            let found = self.run(|connection| {
                on_either!(connection, c => grants::table
                    .filter(grants::jti.eq_any(&ids))
                    .filter(not_withdrawn!(at))
                    .order(grants::jti)
                    .select((grants::jti, grants::account_id, grants::expires_at))
                    .load::<Touched>(c))
            })?;
            self.mark(&found, ended, now)?;
            count += found.len();
        }
        Ok(count)
    }

    /// Appends an entry to the feed for each of these grants, and marks the grants as withdrawn.
    pub(super) fn mark(
        &mut self,
        found: &[Touched],
        ended: &AuthorityEnd,
        now: Time,
    ) -> Result<(), StoreError> {
        let at = ended.at.timestamp();
        // Seeded from the clock (Unix seconds times a million), so that gaps do not reveal how many
        // entries other tenants have. Never below the last number, since several batches can share
        // a second and the clock can be set back.
        let mut sequence = self
            .last_sequence()?
            .max(now.timestamp().saturating_mul(1_000_000));
        for chunk in found.chunks(PER_STATEMENT) {
            let rows = chunk.iter().map(|(jti, account_id, expires_at)| {
                sequence += 1;
                NewRow {
                    sequence,
                    jti,
                    account_id,
                    at,
                    expires_at: *expires_at,
                    reason: &ended.reason,
                    cause: ended.cause.map(|cause| cause.to_string()),
                    recorded_at: now.timestamp(),
                }
            });
            let rows: Vec<NewRow<'_>> = rows.collect();
            let ids: Vec<&[u8]> = chunk.iter().map(|(jti, ..)| jti.as_slice()).collect();
            self.run(|connection| {
                on_either!(connection, c => diesel::insert_into(withdrawals::table).values(&rows).execute(c))
            })?;
            self.run(|connection| {
                on_either!(connection, c => diesel::update(grants::table.filter(grants::jti.eq_any(&ids)))
                    .set((
                        grants::withdrawn_at.eq(at),
                        grants::withdrawal_reason.eq(&ended.reason),
                    ))
                    .execute(c))
            })?;
        }
        Ok(())
    }

    /// The last sequence number of all feeds, which share one sequence; 0 if they are empty.
    pub fn last_sequence(&mut self) -> Result<i64, StoreError> {
        let last = self.run(|connection| {
            on_either!(connection, c => withdrawals::table
                .select(max(withdrawals::sequence))
                .first::<Option<i64>>(c))
        })?;
        Ok(last.unwrap_or_default().max(self.last_failure_sequence()?))
    }

    /// The next entries of the feed after a sequence number, in order; with `within`, only those of
    /// accounts in it; with `until`, none after that number.
    pub fn withdrawals_after(
        &mut self,
        within: Option<&Within>,
        (after, until): (i64, Option<i64>),
        limit: u16,
    ) -> Result<Vec<Withdrawn>, StoreError> {
        use super::accounts::{path, within};
        let rows = self.run(|connection| {
            on_either!(connection, c => {
                let mut query = withdrawals::table
                    // The numbers of an entry are those of its grant.
                    .inner_join(grants::table.on(grants::jti.eq(withdrawals::jti)))
                    .inner_join(grant_terms::table.on(grant_terms::id.eq(grants::terms_id)))
                    .filter(withdrawals::sequence.gt(after))
                    .filter(withdrawals::sequence.le(until.unwrap_or(i64::MAX)))
                    .order(withdrawals::sequence)
                    .limit(limit.into())
                    .select((
                        withdrawals::all_columns,
                        (grant_terms::tktype, grants::tkvalue, grant_terms::dialect),
                    ))
                    .into_boxed();
                if let Some(within) = within {
                    query = query.filter(withdrawals::account_id.eq_any(within!(within)));
                }
                query.load::<(Row, Requested)>(c)
            })
        })?;
        rows.into_iter().map(entry).collect()
    }
}

/// One more than `limit`, to learn whether there are more.
fn fetch(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1)
}

fn cut(mut ids: Vec<Vec<u8>>, limit: usize) -> (Vec<Vec<u8>>, bool) {
    let more = ids.len() > limit;
    ids.truncate(limit);
    (ids, more)
}

/// What a grant was requested for: `tktype`, `tkvalue`, `dialect`.
type Requested = (String, String, String);

fn entry((row, requested): (Row, Requested)) -> Result<Withdrawn, StoreError> {
    let (sequence, jti, account, at, expires_at, reason, cause, recorded_at) = row;
    let (tktype, tkvalue, dialect) = requested;
    let tktype = tktype.parse().map_err(StoreError::corrupt)?;
    let dialect = dialect.parse().map_err(StoreError::corrupt)?;
    let tkvalue = TkValue::read(tktype, &tkvalue, dialect).map_err(StoreError::corrupt)?;
    let cause = cause.as_deref().map(str::parse).transpose();
    Ok(Withdrawn {
        sequence,
        jti: Jti::from_bytes(&jti),
        account: account.parse().map_err(StoreError::corrupt)?,
        numbers: tkvalue.numbers().map_err(StoreError::corrupt)?,
        ended: AuthorityEnd {
            at: from_unix(at),
            reason,
            cause: cause.map_err(StoreError::corrupt)?,
        },
        expires_at: from_unix(expires_at),
        recorded_at: from_unix(recorded_at),
    })
}
