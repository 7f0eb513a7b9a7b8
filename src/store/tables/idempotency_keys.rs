//! Idempotency keys: each key of a tenant has one row, and one request holds it at a time.
//!
//! Only the holder of a key may answer: an answer is stored only while the holder is still the
//! same. A holder that has not answered when its lease ends is taken for dead, and the next request
//! with the key takes over, together with the grant that was recorded for the key, if there is one.
//! So there is one grant for a key, whichever process crashes, and when.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use diesel::prelude::*;

use crate::domain::clock::Time;
use crate::domain::issuance::{KeyStatus, KeyedRequest, Replay};
use crate::domain::tokens::grant::Jti;
use crate::store::connection::{AnyConnection, on_either};
use crate::store::error::StoreError;
use crate::store::schema::idempotency_keys as keys;
use crate::store::tables::among::among;
use crate::store::tables::versioned::ROWS_PER_INSERT;
use crate::store::tx::Tx;

/// A key to be claimed, with what is already known of it.
pub(in crate::store) struct Claim<'a> {
    pub(in crate::store) keyed: &'a KeyedRequest,
    pub(in crate::store) status: &'a KeyStatus,
    pub(in crate::store) jti: Option<&'a Jti>,
    pub(in crate::store) answer: Option<&'a [u8]>,
    /// Whether the request is refused, so that its answer is kept for a shorter time.
    pub(in crate::store) refused: bool,
}

#[derive(Debug, Clone, Queryable, Insertable, AsChangeset)]
// A new holder has to clear the grant and the answer of an expired key.
#[diesel(table_name = keys, treat_none_as_null = true)]
struct Row {
    name: String,
    request: String,
    holder: String,
    jti: Option<String>,
    answer: Option<Vec<u8>>,
    lease_until: i64,
    keep_until: i64,
}

impl From<&Claim<'_>> for Row {
    fn from(claim: &Claim<'_>) -> Self {
        let keyed = claim.keyed;
        Self {
            name: keyed.name.clone(),
            request: keyed.request.clone(),
            holder: keyed.holder.to_string(),
            jti: claim.jti.map(ToString::to_string),
            answer: claim.answer.map(<[u8]>::to_vec),
            lease_until: keyed.lease_until.timestamp(),
            keep_until: if claim.refused {
                keyed.refusal_kept_until()
            } else {
                keyed.keep_until
            }
            .timestamp(),
        }
    }
}

impl Row {
    fn status_for(self, keyed: &KeyedRequest) -> KeyStatus {
        let now = keyed.at.timestamp();
        if self.keep_until <= now {
            // It has expired, although its row is not deleted yet.
            return KeyStatus::Abandoned {
                holder: self.holder,
                jti: None,
            };
        }
        // Checked before the answer, so that no request gets the answer of another.
        if self.request != keyed.request {
            return KeyStatus::Used(Replay::OtherRequest);
        }
        match self.answer {
            Some(answer) => KeyStatus::Used(Replay::Answered(answer)),
            None if self.lease_until > now && self.holder != keyed.holder.to_string() => {
                KeyStatus::Used(Replay::InFlight)
            }
            None => KeyStatus::Abandoned {
                holder: self.holder,
                jti: self.jti.as_deref().map(Jti::from_text),
            },
        }
    }
}

impl Tx<'_> {
    /// The status of the key of each request, in their order: one query, and none if no request has
    /// a key. If two requests have the same key, the second finds the first in flight.
    pub(in crate::store) fn key_statuses(
        &mut self,
        requests: &[Option<&KeyedRequest>],
    ) -> Result<Vec<KeyStatus>, StoreError> {
        let keyed = || requests.iter().filter_map(|keyed| *keyed);
        let names: Vec<&str> = keyed().map(|keyed| keyed.name.as_str()).collect();
        if names.is_empty() {
            return Ok(vec![KeyStatus::New; requests.len()]);
        }
        let rows = self.run(|connection| rows_of(connection, &names))?;
        let mut rows: HashMap<String, Row> = rows
            .into_iter()
            .map(|row| (row.name.clone(), row))
            .collect();
        let mut firsts: HashMap<&str, &KeyedRequest> = HashMap::new();
        let mut statuses = Vec::with_capacity(requests.len());
        for keyed in requests {
            statuses.push(match *keyed {
                None => KeyStatus::New,
                Some(keyed) => match firsts.entry(&keyed.name) {
                    Entry::Vacant(first) => {
                        first.insert(keyed);
                        rows.remove(&keyed.name)
                            .map_or(KeyStatus::New, |row| row.status_for(keyed))
                    }
                    Entry::Occupied(first) if first.get().request == keyed.request => {
                        KeyStatus::Used(Replay::InFlight)
                    }
                    Entry::Occupied(_) => KeyStatus::Used(Replay::OtherRequest),
                },
            });
        }
        Ok(statuses)
    }

    /// The status of the key of one request.
    fn key_status(&mut self, keyed: &KeyedRequest) -> Result<KeyStatus, StoreError> {
        let status = self.key_statuses(&[Some(keyed)])?.pop();
        status.ok_or_else(|| StoreError::corrupt("a key was not looked up"))
    }

    /// Claims these keys, all new ones in one statement. Returns for each whether it was claimed:
    /// another replica may have claimed it in the meantime.
    pub(in crate::store) fn claim(
        &mut self,
        claims: &[Claim<'_>],
    ) -> Result<Vec<bool>, StoreError> {
        let mut rows: Vec<Row> = claims
            .iter()
            .filter(|claim| *claim.status == KeyStatus::New)
            .map(Row::from)
            .collect();
        // In the same order on all replicas, so that no two of them deadlock.
        rows.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let mut holders: Option<HashMap<String, String>> = None;
        if self.insert_keys(&rows)? < rows.len() {
            let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
            let stored = self.run(|connection| rows_of(connection, &names))?;
            holders = Some(
                stored
                    .into_iter()
                    .map(|row| (row.name, row.holder))
                    .collect(),
            );
        }
        claims
            .iter()
            .map(|claim| match claim.status {
                KeyStatus::Used(_) => Ok(false),
                KeyStatus::New => Ok(holders.as_ref().is_none_or(|holders| {
                    let holder = holders.get(&claim.keyed.name);
                    holder.is_some_and(|holder| *holder == claim.keyed.holder.to_string())
                })),
                KeyStatus::Abandoned { holder, .. } => self.replace(holder, &claim.into()),
            })
            .collect()
    }

    /// Inserts rows, and returns how many there were not yet.
    fn insert_keys(&mut self, rows: &[Row]) -> Result<usize, StoreError> {
        let mut inserted = 0;
        for chunk in rows.chunks(ROWS_PER_INSERT) {
            inserted += self.run(|connection| insert(connection, chunk))?;
        }
        Ok(inserted)
    }

    /// Replaces a row that its holder has abandoned. Returns whether it still had that holder.
    fn replace(&mut self, holder: &str, row: &Row) -> Result<bool, StoreError> {
        let replaced = self.run(|connection| {
            on_either!(connection, c => diesel::update(keys::table
                .find(&row.name)
                .filter(keys::holder.eq(holder)))
                .set(row)
                .execute(c))
        })?;
        Ok(replaced == 1)
    }

    /// The answer to a request whose key was used before; `None` if the request is to be carried
    /// out.
    pub fn replay(&mut self, keyed: &KeyedRequest) -> Result<Option<Replay>, StoreError> {
        Ok(match self.key_status(keyed)? {
            KeyStatus::Used(replay) => Some(replay),
            KeyStatus::New | KeyStatus::Abandoned { .. } => None,
        })
    }

    /// Whether there is a key of this name that has not expired.
    pub fn knows_key(&mut self, keyed: &KeyedRequest) -> Result<bool, StoreError> {
        let known = self.run(|connection| {
            on_either!(connection, c => keys::table
                .find(&keyed.name)
                .filter(keys::keep_until.gt(keyed.at.timestamp()))
                .count()
                .get_result::<i64>(c))
        })?;
        Ok(known > 0)
    }

    /// Claims the key of a request that is carried out outside of this transaction.
    ///
    /// # Errors
    /// [`StoreError::Replay`] if the request must not be carried out.
    pub fn take_key(&mut self, keyed: &KeyedRequest) -> Result<(), StoreError> {
        match self.key_status(keyed)? {
            KeyStatus::Used(replay) => Err(replay.into()),
            status @ (KeyStatus::New | KeyStatus::Abandoned { .. }) => {
                claim_one(self, keyed, &status, None, false)
            }
        }
    }

    /// Stores the answer of a request that holds its key. Returns whether it still does; if not,
    /// the answer must not be sent.
    ///
    /// # Errors
    /// [`StoreError`] if the answer cannot be stored; then it must not be sent either.
    pub fn keep_answer(&mut self, keyed: &KeyedRequest, answer: &[u8]) -> Result<bool, StoreError> {
        let stored = self.run(|connection| {
            on_either!(connection, c => diesel::update(keys::table
                .find(&keyed.name)
                .filter(keys::holder.eq(keyed.holder.to_string()))
                // An answer is never replaced.
                .filter(keys::answer.is_null()))
                .set(keys::answer.eq(answer))
                .execute(c))
        })?;
        Ok(stored == 1)
    }

    /// Releases a key without an answer, so that the next request with it need not wait. With
    /// `forget`, a key without a recorded grant becomes free for any request.
    pub fn let_go_of_key(&mut self, keyed: &KeyedRequest, forget: bool) -> Result<(), StoreError> {
        if forget {
            self.run(|connection| {
                on_either!(connection, c => diesel::delete(keys::table
                    .find(&keyed.name)
                    .filter(keys::holder.eq(keyed.holder.to_string()))
                    .filter(keys::jti.is_null())
                    .filter(keys::answer.is_null()))
                    .execute(c))
            })?;
        }
        self.run(|connection| {
            on_either!(connection, c => diesel::update(keys::table
                .find(&keyed.name)
                .filter(keys::holder.eq(keyed.holder.to_string()))
                .filter(keys::answer.is_null()))
                // The row remains, so that a recorded grant is found by the next holder.
                .set(keys::lease_until.eq(keyed.at.timestamp()))
                .execute(c))
        })?;
        Ok(())
    }

    /// Deletes expired keys, at most `limit` of them. Returns how many.
    pub fn forget_keys(&mut self, now: Time, limit: u32) -> Result<usize, StoreError> {
        self.run(|connection| {
            on_either!(connection, c => {
                let expired: Vec<String> = keys::table
                    .filter(keys::keep_until.le(now.timestamp()))
                    .order(keys::keep_until)
                    .limit(limit.into())
                    .select(keys::name)
                    .load(c)?;
                // Checked again: another replica may have renewed a key since the query.
                diesel::delete(keys::table
                    .filter(keys::name.eq_any(expired))
                    .filter(keys::keep_until.le(now.timestamp())))
                    .execute(c)
            })
        })
    }
}

/// Makes a change and stores the sealed outcome. A refusal is an outcome too; `work` itself rolls
/// back what it refuses, and can leave a record of the refusal.
pub(in crate::store) fn once<T, E: From<StoreError>>(
    tx: &mut Tx<'_>,
    keyed: &KeyedRequest,
    work: &mut impl FnMut(&mut Tx<'_>) -> Result<T, E>,
    seal: &mut impl FnMut(&Result<T, E>) -> Result<Option<Vec<u8>>, StoreError>,
) -> Result<Result<T, E>, StoreError> {
    let status = tx.key_status(keyed)?;
    if let KeyStatus::Used(replay) = status {
        return Err(replay.into());
    }
    let outcome = work(tx);
    let Some(answer) = seal(&outcome)? else {
        return Ok(outcome);
    };
    claim_one(tx, keyed, &status, Some(&answer), outcome.is_err())?;
    Ok(outcome)
}

fn claim_one(
    tx: &mut Tx<'_>,
    keyed: &KeyedRequest,
    status: &KeyStatus,
    answer: Option<&[u8]>,
    refused: bool,
) -> Result<(), StoreError> {
    let claim = Claim {
        keyed,
        status,
        jti: None,
        answer,
        refused,
    };
    match tx.claim(&[claim])?.as_slice() {
        [true] => Ok(()),
        _ => Err(Replay::InFlight.into()),
    }
}

fn rows_of(connection: &mut AnyConnection, names: &[&str]) -> QueryResult<Vec<Row>> {
    on_either!(connection, c => keys::table
        .filter(among(keys::name, names.iter().copied()))
        .load::<Row>(c))
}

/// Inserts rows. PostgreSQL waits for another replica that is inserting one of them, and skips that
/// row. SQLite has one writer, which has checked already.
fn insert(connection: &mut AnyConnection, rows: &[Row]) -> QueryResult<usize> {
    match connection {
        AnyConnection::Sqlite(c) => diesel::insert_into(keys::table).values(rows).execute(c),
        AnyConnection::Postgres(c) => diesel::insert_into(keys::table)
            .values(rows)
            .on_conflict_do_nothing()
            .execute(c),
    }
}
