//! The proofs of control that count for a batch of requests: one query, whatever their number.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Array, BigInt, Integer, Text};
use serde_json::json;
use uuid::Uuid;

use crate::domain::clock::{Time, from_unix};
use crate::domain::control::proof::{ConfirmedProof, ControlProof};
use crate::domain::{AccountId, Tn};
use crate::store::connection::AnyConnection;
use crate::store::error::StoreError;
use crate::store::tx::Tx;

/// Numbers whose proofs are looked up, each for an account and an instant. A column is a vector, as
/// PostgreSQL's `unnest` takes it.
#[derive(Debug, Clone, Default)]
pub struct ProofProbes {
    requests: Vec<i32>,
    accounts: Vec<String>,
    positions: Vec<i64>,
    at: Vec<i64>,
}

impl ProofProbes {
    /// Adds a number of a request, by the index of the request.
    pub fn add(&mut self, request: usize, account: &AccountId, number: Tn, now: Time) {
        self.requests
            .push(i32::try_from(request).unwrap_or(i32::MAX));
        self.accounts.push(account.to_string());
        self.positions.push(number.position());
        self.at.push(now.timestamp());
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// The probes as SQLite's `json_each` takes them.
    fn to_json(&self) -> String {
        let rows = self.requests.iter().zip(&self.accounts);
        let rows = rows.zip(self.positions.iter().zip(&self.at));
        rows.map(|((request, account), (position, at))| json!([request, account, position, at]))
            .collect::<serde_json::Value>()
            .to_string()
    }
}

#[derive(Debug, QueryableByName)]
struct FoundProof {
    #[diesel(sql_type = Integer)]
    request: i32,
    #[diesel(sql_type = BigInt)]
    position: i64,
    #[diesel(sql_type = Text)]
    delegation_id: String,
    #[diesel(sql_type = Text)]
    method: String,
    #[diesel(sql_type = BigInt)]
    newest: i64,
}

/// What is selected from the probes `p`. Of the proofs of one delegation and method, only the
/// newest matters. One from the future does not count, and must not hide one that does.
fn query(probes: &str) -> String {
    let ahead = ControlProof::MAX_CLOCK_DIFFERENCE;
    format!(
        "SELECT p.request, c.position, c.delegation_id, c.method, max(c.confirmed_at) AS newest \
         FROM {probes} CROSS JOIN control_proofs c \
         WHERE c.account_id = p.account_id AND c.position = p.position AND c.confirmed_at IS NOT NULL \
         AND c.confirmed_at <= p.at + {ahead} AND (c.ends_at IS NULL OR c.ends_at > p.at) \
         GROUP BY p.request, c.position, c.delegation_id, c.method"
    )
}

impl Tx<'_> {
    /// The confirmed proofs of these numbers that have not ended, the newest of each delegation and
    /// method, each with the index of its request. Whether its delegation counts is left to the
    /// caller. No query if there are no numbers.
    pub fn confirmed_control_proofs(
        &mut self,
        probes: &ProofProbes,
    ) -> Result<Vec<(usize, ConfirmedProof)>, StoreError> {
        if probes.is_empty() {
            return Ok(Vec::new());
        }
        let found = self.run(|connection| match connection {
            AnyConnection::Postgres(c) => sql_query(query(
                "unnest($1, $2, $3, $4) AS p (request, account_id, position, at)",
            ))
            .bind::<Array<Integer>, _>(&probes.requests)
            .bind::<Array<Text>, _>(&probes.accounts)
            .bind::<Array<BigInt>, _>(&probes.positions)
            .bind::<Array<BigInt>, _>(&probes.at)
            .load::<FoundProof>(c),
            AnyConnection::Sqlite(c) => sql_query(query(
                "(SELECT value ->> 0 AS request, value ->> 1 AS account_id, value ->> 2 AS position, \
                 value ->> 3 AS at FROM json_each(?)) p",
            ))
            .bind::<Text, _>(probes.to_json())
            .load::<FoundProof>(c),
        })?;
        found.into_iter().map(TryInto::try_into).collect()
    }
}

impl TryFrom<FoundProof> for (usize, ConfirmedProof) {
    type Error = StoreError;

    fn try_from(row: FoundProof) -> Result<Self, StoreError> {
        let proof = ConfirmedProof {
            number: Tn::from_position(row.position).map_err(StoreError::corrupt)?,
            delegation: Uuid::parse_str(&row.delegation_id).map_err(StoreError::corrupt)?,
            method: row.method.parse().map_err(StoreError::corrupt)?,
            at: from_unix(row.newest),
        };
        let request = usize::try_from(row.request).map_err(StoreError::corrupt)?;
        Ok((request, proof))
    }
}
