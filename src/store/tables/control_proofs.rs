//! Proofs of control: which numbers were asked, and which answered.

use diesel::prelude::*;
use uuid::Uuid;

use super::accounts::Within;
use super::columns;
use super::versioned::WIDE_ROWS_PER_INSERT;
use crate::domain::clock::from_unix;
use crate::domain::control::proof::{Confirmed, ControlProof};
use crate::domain::{AccountId, Tn};
use crate::store::connection::on_either;
use crate::store::error::StoreError;
use crate::store::page::{Page, PageOf};
use crate::store::schema::control_proofs;
use crate::store::tx::Tx;

#[derive(Debug, Clone, Queryable, Insertable)]
#[diesel(table_name = control_proofs)]
pub(super) struct Row {
    id: String,
    account_id: String,
    position: i64,
    delegation_id: String,
    method: String,
    gateway: String,
    fingerprint: Option<String>,
    renewal_id: Option<String>,
    code_hash: Vec<u8>,
    tries: i32,
    started_at: i64,
    started_by: String,
    request_id: String,
    expires_at: i64,
    sent_at: Option<i64>,
    delivered_at: Option<i64>,
    failure: Option<String>,
    confirmed_at: Option<i64>,
    confirmed_by: Option<String>,
    ends_at: Option<i64>,
    end_reason: Option<String>,
    pub(super) failure_sequence: Option<i64>,
}

/// What answers and cancellations change. The columns of the sending are not among them.
#[derive(AsChangeset)]
#[diesel(table_name = control_proofs)]
#[diesel(treat_none_as_null = true)]
struct AnswerColumns {
    tries: i32,
    confirmed_at: Option<i64>,
    confirmed_by: Option<String>,
    ends_at: Option<i64>,
    end_reason: Option<String>,
}

impl Row {
    fn new(proof: &ControlProof, code_hash: &[u8]) -> Self {
        let answer = AnswerColumns::from(proof);
        Self {
            id: proof.id.to_string(),
            account_id: proof.account.to_string(),
            position: proof.number.position(),
            delegation_id: proof.delegation.to_string(),
            method: proof.method.to_string(),
            gateway: proof.gateway.clone(),
            fingerprint: proof.fingerprint.map(|key| key.to_string()),
            renewal_id: proof.renewal.map(|id| id.to_string()),
            code_hash: code_hash.to_vec(),
            tries: answer.tries,
            started_at: proof.started_at.timestamp(),
            started_by: proof.started_by.clone(),
            request_id: proof.request_id.to_string(),
            expires_at: proof.expires_at.timestamp(),
            sent_at: columns::seconds(proof.sent_at),
            delivered_at: columns::seconds(proof.delivered_at),
            failure: proof.failure.clone(),
            confirmed_at: answer.confirmed_at,
            confirmed_by: answer.confirmed_by,
            ends_at: answer.ends_at,
            end_reason: answer.end_reason,
            failure_sequence: None,
        }
    }
}

impl From<&ControlProof> for AnswerColumns {
    fn from(proof: &ControlProof) -> Self {
        let confirmed = proof.confirmed.as_ref();
        Self {
            tries: i32::try_from(proof.tries).unwrap_or(i32::MAX),
            confirmed_at: columns::seconds(confirmed.map(|confirmed| confirmed.at)),
            confirmed_by: confirmed.map(|confirmed| confirmed.by.clone()),
            ends_at: columns::seconds(proof.end.map(|(at, _)| at)),
            end_reason: proof.end.map(|(_, reason)| reason.to_string()),
        }
    }
}

impl TryFrom<Row> for ControlProof {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let id = |text: &str| Uuid::parse_str(text).map_err(StoreError::corrupt);
        let confirmed = match (row.confirmed_at, row.confirmed_by) {
            (Some(at), Some(by)) => Some(Confirmed {
                at: from_unix(at),
                by,
            }),
            (None, None) => None,
            _ => return Err(StoreError::corrupt("a proof is confirmed by half")),
        };
        let end = match (row.ends_at, row.end_reason) {
            (Some(at), Some(reason)) => {
                Some((from_unix(at), reason.parse().map_err(StoreError::corrupt)?))
            }
            (None, None) => None,
            _ => return Err(StoreError::corrupt("a proof ends without a reason")),
        };
        let fingerprint = row.fingerprint.as_deref().map(str::parse).transpose();
        Ok(Self {
            id: id(&row.id)?,
            account: row.account_id.parse().map_err(StoreError::corrupt)?,
            number: Tn::from_position(row.position).map_err(StoreError::corrupt)?,
            delegation: id(&row.delegation_id)?,
            method: row.method.parse().map_err(StoreError::corrupt)?,
            gateway: row.gateway,
            fingerprint: fingerprint.map_err(StoreError::corrupt)?,
            renewal: row.renewal_id.as_deref().map(id).transpose()?,
            tries: u32::try_from(row.tries).map_err(StoreError::corrupt)?,
            started_at: from_unix(row.started_at),
            started_by: row.started_by,
            request_id: id(&row.request_id)?,
            expires_at: from_unix(row.expires_at),
            sent_at: row.sent_at.map(from_unix),
            delivered_at: row.delivered_at.map(from_unix),
            failure: row.failure,
            confirmed,
            end,
        })
    }
}

impl Tx<'_> {
    /// Inserts proofs, each with the keyed hash of its code.
    pub fn insert_control_proofs(
        &mut self,
        proofs: &[(ControlProof, &[u8])],
    ) -> Result<(), StoreError> {
        for chunk in proofs.chunks(WIDE_ROWS_PER_INSERT) {
            let rows = chunk.iter().map(|(proof, hash)| Row::new(proof, hash));
            let rows: Vec<Row> = rows.collect();
            self.run(|connection| {
                on_either!(connection, c => diesel::insert_into(control_proofs::table).values(&rows).execute(c))
            })?;
        }
        Ok(())
    }

    /// Writes the tries, the confirmation and the end of a proof, unless its end is no longer as it
    /// was `read`. Returns whether it did.
    pub fn update_control_proof(
        &mut self,
        read: &ControlProof,
        proof: &ControlProof,
    ) -> Result<bool, StoreError> {
        let answer = AnswerColumns::from(proof);
        let read = AnswerColumns::from(read).ends_at;
        let updated = self.run(|connection| {
            on_either!(connection, c => {
                let row = control_proofs::table.find(proof.id.to_string());
                match read {
                    Some(end) => diesel::update(row.filter(control_proofs::ends_at.eq(end)))
                        .set(&answer)
                        .execute(c),
                    None => diesel::update(row.filter(control_proofs::ends_at.is_null()))
                        .set(&answer)
                        .execute(c),
                }
            })
        })?;
        Ok(updated > 0)
    }

    /// A proof, with the keyed hash of its code.
    pub fn control_proof(
        &mut self,
        id: Uuid,
    ) -> Result<Option<(ControlProof, Vec<u8>)>, StoreError> {
        let row = self.run(|connection| {
            on_either!(connection, c => control_proofs::table
                .find(id.to_string())
                .first::<Row>(c)
                .optional())
        })?;
        row.map(|row| {
            let code_hash = row.code_hash.clone();
            Ok((row.try_into()?, code_hash))
        })
        .transpose()
    }

    /// A page of the proofs, ordered by id: of one account, of one number, of all accounts in
    /// `within`.
    pub fn list_control_proofs(
        &mut self,
        (account, number): (Option<&AccountId>, Option<Tn>),
        within: Option<&Within>,
        page: &Page,
    ) -> Result<PageOf<ControlProof>, StoreError> {
        use super::accounts::{path, within};
        let rows = self.run(|connection| {
            on_either!(connection, c => {
                let mut query = control_proofs::table
                    .filter(control_proofs::id.gt(page.after()))
                    .order(control_proofs::id)
                    .limit(page.fetch())
                    .into_boxed();
                if let Some(account) = account {
                    query = query.filter(control_proofs::account_id.eq(account.as_str()));
                }
                if let Some(number) = number {
                    query = query.filter(control_proofs::position.eq(number.position()));
                }
                if let Some(within) = within {
                    query = query.filter(control_proofs::account_id.eq_any(within!(within)));
                }
                query.load::<Row>(c)
            })
        })?;
        page.of(rows, |row| row.id.clone())
    }
}
