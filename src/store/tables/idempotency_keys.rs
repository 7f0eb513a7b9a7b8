//! Requests that may come again: each key of a tenant has one row, and one request at a time holds it.
//!
//! Whoever holds a key may answer, and nobody else: the answer is written only while the holder is the same. A holder that
//! is not heard of until its lease is over is taken for gone, and the next request with the key takes its place. What it
//! finds then is the grant that was recorded, if there is one. So there is one grant for a key, whoever crashes when.

use std::collections::HashMap;

use diesel::prelude::*;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use uuid::Uuid;

use crate::domain::clock::Time;
use crate::domain::tokens::grant::Jti;
use crate::store::connection::{AnyConnection, on_either};
use crate::store::error::StoreError;
use crate::store::schema::idempotency_keys as keys;
use crate::store::tx::Tx;

/// A request that came with an Idempotency-Key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// What the key is stored as; two tenants never have the same.
    pub name: String,
    /// Digest of all that the request says.
    pub request: String,
    /// Names this one among all requests with the key.
    pub holder: Uuid,
    pub at: Time,
    /// Until when others wait for its answer.
    pub lease_until: Time,
    /// Until when the key is known.
    pub keep_until: Time,
}

impl Attempt {
    /// One of the requests of a bulk, which has a row of its own: it is decided for itself. Whoever holds the key of the
    /// bulk may take it at once.
    #[must_use]
    pub fn part(&self, place: usize) -> Self {
        let name = hex::encode(Sha256::digest(format!("{}/{place}", self.name)));
        Self {
            name,
            lease_until: self.at,
            ..self.clone()
        }
    }
}

/// What a request is told whose key was used before.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Repeated {
    /// This, encrypted by whoever asked.
    #[error("the request was answered before")]
    Answered(Vec<u8>),
    #[error("the first request with this key is still at work; come again")]
    InFlight,
    #[error("the key came with another request before; a new request needs a new key")]
    OtherRequest,
    /// The service stopped between the record of the grant and the answer, and the grant may not be signed any more.
    #[error(
        "the grant that was recorded for this key was withdrawn, has expired or would not be given any more, before its token \
         was answered; ask with a new key"
    )]
    GrantEnded,
}

/// What is known of a key when a request with it comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) enum Met {
    /// Nothing; or the request has no key.
    New,
    /// A holder that is gone, or whose time is over; with the grant that was recorded for it.
    Old { holder: String, jti: Option<Jti> },
    /// The request is not to be done.
    Before(Repeated),
}

impl Met {
    /// The grant that was recorded before.
    pub(in crate::store) fn recorded(&self) -> Option<&Jti> {
        match self {
            Self::Old { jti, .. } => jti.as_ref(),
            Self::New | Self::Before(_) => None,
        }
    }
}

/// A key that is taken, with what is known already.
pub(in crate::store) struct Claim<'a> {
    pub(in crate::store) attempt: &'a Attempt,
    pub(in crate::store) met: &'a Met,
    pub(in crate::store) jti: Option<&'a Jti>,
    pub(in crate::store) answer: Option<&'a [u8]>,
}

#[derive(Debug, Clone, Queryable, Insertable, AsChangeset)]
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
        let attempt = claim.attempt;
        Self {
            name: attempt.name.clone(),
            request: attempt.request.clone(),
            holder: attempt.holder.to_string(),
            jti: claim.jti.map(ToString::to_string),
            answer: claim.answer.map(<[u8]>::to_vec),
            lease_until: attempt.lease_until.timestamp(),
            keep_until: attempt.keep_until.timestamp(),
        }
    }
}

impl Row {
    fn met_by(self, attempt: &Attempt) -> Met {
        let now = attempt.at.timestamp();
        if self.keep_until <= now {
            // Forgotten, though it still stands there.
            return Met::Old {
                holder: self.holder,
                jti: None,
            };
        }
        if self.request != attempt.request {
            return Met::Before(Repeated::OtherRequest);
        }
        match self.answer {
            Some(answer) => Met::Before(Repeated::Answered(answer)),
            None if self.lease_until > now && self.holder != attempt.holder.to_string() => {
                Met::Before(Repeated::InFlight)
            }
            None => Met::Old {
                holder: self.holder,
                jti: self.jti.as_deref().map(Jti::from_text),
            },
        }
    }
}

impl Tx<'_> {
    /// What is known of these requests, in their order: one query, and none if no request has a key. Of two with one key,
    /// the second is told that the first is at work.
    pub(in crate::store) fn met(
        &mut self,
        attempts: &[Option<&Attempt>],
    ) -> Result<Vec<Met>, StoreError> {
        let keyed = || attempts.iter().filter_map(|attempt| *attempt);
        let names: Vec<&str> = keyed().map(|attempt| attempt.name.as_str()).collect();
        if names.is_empty() {
            return Ok(vec![Met::New; attempts.len()]);
        }
        let rows = self.run(|connection| rows_of(connection, &names))?;
        let mut rows: HashMap<String, Row> = rows
            .into_iter()
            .map(|row| (row.name.clone(), row))
            .collect();
        let mut firsts: HashMap<&str, &Attempt> = HashMap::new();
        let mut met = Vec::with_capacity(attempts.len());
        for attempt in attempts {
            met.push(match *attempt {
                None => Met::New,
                Some(attempt) => match firsts.insert(&attempt.name, attempt) {
                    None => rows
                        .remove(&attempt.name)
                        .map_or(Met::New, |row| row.met_by(attempt)),
                    Some(first) if first.request == attempt.request => {
                        Met::Before(Repeated::InFlight)
                    }
                    Some(_) => Met::Before(Repeated::OtherRequest),
                },
            });
        }
        Ok(met)
    }

    /// Takes these keys: one statement for all that are new. Says for each whether it was to be had: another replica may
    /// have taken it in the meantime.
    pub(in crate::store) fn claim(
        &mut self,
        claims: &[Claim<'_>],
    ) -> Result<Vec<bool>, StoreError> {
        let mut rows: Vec<Row> = claims
            .iter()
            .filter(|claim| *claim.met == Met::New)
            .map(Row::from)
            .collect();
        // In one order on all replicas, so that no two wait for each other.
        rows.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let mut taken: Option<HashMap<String, String>> = None;
        if !rows.is_empty() && self.run(|connection| insert(connection, &rows))? < rows.len() {
            let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
            let now = self.run(|connection| rows_of(connection, &names))?;
            taken = Some(now.into_iter().map(|row| (row.name, row.holder)).collect());
        }
        claims
            .iter()
            .map(|claim| match claim.met {
                Met::Before(_) => Ok(false),
                Met::New => Ok(taken.as_ref().is_none_or(|taken| {
                    let holder = taken.get(&claim.attempt.name);
                    holder.is_some_and(|holder| *holder == claim.attempt.holder.to_string())
                })),
                Met::Old { holder, .. } => self.replace(holder, &claim.into()),
            })
            .collect()
    }

    /// Puts a row in the place of one that a holder has left. Says whether it was still there.
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

    /// What a request would be told now, if anything is known of its key that keeps it from being done.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot answer.
    pub fn repeated(&mut self, attempt: &Attempt) -> Result<Option<Repeated>, StoreError> {
        Ok(match self.met(&[Some(attempt)])?.pop() {
            Some(Met::Before(repeated)) => Some(repeated),
            Some(Met::New | Met::Old { .. }) | None => None,
        })
    }

    /// Takes the key of a request that is done outside of this transaction.
    ///
    /// # Errors
    /// [`StoreError::Repeated`] if it is not to be done.
    pub fn take_key(&mut self, attempt: &Attempt) -> Result<(), StoreError> {
        match self.met(&[Some(attempt)])?.pop().unwrap_or(Met::New) {
            Met::Before(repeated) => Err(repeated.into()),
            met @ (Met::New | Met::Old { .. }) => take(self, attempt, &met, None),
        }
    }

    /// Keeps the answer of a request that holds its key. Says whether it still does: if not, the answer must not be given.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot take it; then the answer must not be given either.
    pub fn keep_answer(&mut self, attempt: &Attempt, answer: &[u8]) -> Result<bool, StoreError> {
        let kept = self.run(|connection| {
            on_either!(connection, c => diesel::update(keys::table
                .find(&attempt.name)
                .filter(keys::holder.eq(attempt.holder.to_string()))
                .filter(keys::answer.is_null()))
                .set(keys::answer.eq(answer))
                .execute(c))
        })?;
        Ok(kept == 1)
    }

    /// Lets go of a key without an answer, so that the next request with it need not wait. With `forget`, a key that no
    /// grant was recorded for is free for any request.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot take it.
    pub fn let_go_of_key(&mut self, attempt: &Attempt, forget: bool) -> Result<(), StoreError> {
        if forget {
            self.run(|connection| {
                on_either!(connection, c => diesel::delete(keys::table
                    .find(&attempt.name)
                    .filter(keys::holder.eq(attempt.holder.to_string()))
                    .filter(keys::jti.is_null())
                    .filter(keys::answer.is_null()))
                    .execute(c))
            })?;
        }
        self.run(|connection| {
            on_either!(connection, c => diesel::update(keys::table
                .find(&attempt.name)
                .filter(keys::holder.eq(attempt.holder.to_string()))
                .filter(keys::answer.is_null()))
                .set(keys::lease_until.eq(attempt.at.timestamp()))
                .execute(c))
        })?;
        Ok(())
    }

    /// Forgets keys whose time is over, at most so many at once. Says how many.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot take it.
    pub fn forget_keys(&mut self, now: Time, most: u32) -> Result<usize, StoreError> {
        self.run(|connection| {
            on_either!(connection, c => {
                let over: Vec<String> = keys::table
                    .filter(keys::keep_until.le(now.timestamp()))
                    .order(keys::keep_until)
                    .limit(most.into())
                    .select(keys::name)
                    .load(c)?;
                diesel::delete(keys::table
                    .filter(keys::name.eq_any(over))
                    .filter(keys::keep_until.le(now.timestamp())))
                    .execute(c)
            })
        })
    }
}

/// Does a change and keeps what is made of its outcome. The outcome is an answer too if the change is refused; `work` undoes
/// what it refuses itself, and may leave a record of that.
pub(in crate::store) fn once<T, E: From<StoreError>>(
    tx: &mut Tx<'_>,
    attempt: &Attempt,
    work: &mut impl FnMut(&mut Tx<'_>) -> Result<T, E>,
    seal: &mut impl FnMut(&Result<T, E>) -> Result<Option<Vec<u8>>, StoreError>,
) -> Result<Result<T, E>, StoreError> {
    let met = tx.met(&[Some(attempt)])?.pop().unwrap_or(Met::New);
    if let Met::Before(repeated) = met {
        return Err(repeated.into());
    }
    let outcome = work(tx);
    let Some(answer) = seal(&outcome)? else {
        return Ok(outcome);
    };
    take(tx, attempt, &met, Some(&answer))?;
    Ok(outcome)
}

fn take(
    tx: &mut Tx<'_>,
    attempt: &Attempt,
    met: &Met,
    answer: Option<&[u8]>,
) -> Result<(), StoreError> {
    let claim = Claim {
        attempt,
        met,
        jti: None,
        answer,
    };
    match tx.claim(&[claim])?.as_slice() {
        [true] => Ok(()),
        _ => Err(Repeated::InFlight.into()),
    }
}

fn rows_of(connection: &mut AnyConnection, names: &[&str]) -> QueryResult<Vec<Row>> {
    on_either!(connection, c => keys::table.filter(keys::name.eq_any(names)).load::<Row>(c))
}

/// Writes rows. On PostgreSQL it waits for another replica that has just written one of them, and leaves that one out.
/// SQLite has one writer, who has looked already.
fn insert(connection: &mut AnyConnection, rows: &Vec<Row>) -> QueryResult<usize> {
    match connection {
        AnyConnection::Sqlite(c) => diesel::insert_into(keys::table).values(rows).execute(c),
        AnyConnection::Postgres(c) => diesel::insert_into(keys::table)
            .values(rows)
            .on_conflict_do_nothing()
            .execute(c),
    }
}
