//! The proofs of control that count for a batch of requests: one query, whatever their number.

use diesel::RunQueryDsl as _;
use diesel::sql_types::{BigInt, Integer, Nullable, Text};
use serde::Serialize;
use uuid::Uuid;

use super::probe_query::ProbeQuery;
use crate::domain::clock::{Time, from_unix};
use crate::domain::control::proof::{ConfirmedProof, ControlProof};
use crate::domain::{AccountId, Fingerprint, Tn};
use crate::store::connection::on_either;
use crate::store::error::StoreError;
use crate::store::tx::Tx;

/// Numbers whose proofs are looked up, each for an account and an instant.
#[derive(Debug, Clone, Default)]
pub struct ProofProbes(Vec<ProofProbe>);

#[derive(Debug, Clone, Serialize)]
struct ProofProbe {
    request: usize,
    account_id: AccountId,
    position: i64,
    soon: i64,
    /// `None`: whichever key.
    fingerprint: Option<Fingerprint>,
}

impl ProofProbes {
    /// Adds a number of a request, by the index of the request. A nonce that another key than that
    /// of the request returned proves nothing for it: an agent answers every nonce.
    pub fn add(
        &mut self,
        request: usize,
        (account, key): (&AccountId, Fingerprint),
        number: Tn,
        now: Time,
    ) {
        // Clocks differ, and a request can have waited while a proof ended.
        let soon = now.timestamp() + ControlProof::MAX_CLOCK_DIFFERENCE;
        self.0.push(ProofProbe {
            request,
            account_id: account.clone(),
            position: number.position(),
            soon,
            fingerprint: Some(key),
        });
    }

    /// The same, for proofs for whichever key.
    pub fn add_for_any_key(&mut self, request: usize, account: &AccountId, number: Tn, now: Time) {
        let soon = now.timestamp() + ControlProof::MAX_CLOCK_DIFFERENCE;
        self.0.push(ProofProbe {
            request,
            account_id: account.clone(),
            position: number.position(),
            soon,
            fingerprint: None,
        });
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Request, position, delegation, method, the key that it names, newest confirmation.
type FoundProof = (i32, i64, String, String, Option<String>, Option<i64>);

impl Tx<'_> {
    /// The confirmed proofs of these numbers that have not ended, and do not end at once: the
    /// newest of each delegation, method and key, each with the index of its request. Whether its
    /// delegation counts is left to the caller. No query if there are no numbers.
    pub fn confirmed_control_proofs(
        &mut self,
        probes: &ProofProbes,
    ) -> Result<Vec<(usize, ConfirmedProof)>, StoreError> {
        if probes.is_empty() {
            return Ok(Vec::new());
        }
        // One from the future does not count, and must not hide one that does.
        let query = ProbeQuery::<(
            Integer,
            BigInt,
            Text,
            Text,
            Nullable<Text>,
            Nullable<BigInt>,
        )>::new(
            &[
                ("request", "INTEGER"),
                ("account_id", "TEXT"),
                ("position", "BIGINT"),
                ("soon", "BIGINT"),
                ("fingerprint", "TEXT"),
            ],
            [
                "SELECT p.request, c.position, c.delegation_id, c.method, c.fingerprint, \
                 max(c.confirmed_at) FROM ",
                " CROSS JOIN control_proofs c WHERE c.account_id = p.account_id \
                 AND c.position = p.position AND c.confirmed_at IS NOT NULL \
                 AND c.confirmed_at <= p.soon AND (c.ends_at IS NULL OR c.ends_at > p.soon) \
                 AND (p.fingerprint IS NULL OR c.fingerprint IS NULL \
                 OR c.fingerprint = p.fingerprint) \
                 GROUP BY p.request, c.position, c.delegation_id, c.method, c.fingerprint",
            ],
            &probes.0,
        );
        let found: Vec<FoundProof> =
            self.run(|connection| on_either!(connection, c => query.load(c)))?;
        found.into_iter().map(confirmed).collect()
    }
}

fn confirmed(
    (request, position, delegation, method, key, newest): FoundProof,
) -> Result<(usize, ConfirmedProof), StoreError> {
    let newest = newest.ok_or_else(|| StoreError::corrupt("a confirmed proof without a time"))?;
    let proof = ConfirmedProof {
        number: Tn::from_position(position).map_err(StoreError::corrupt)?,
        delegation: Uuid::parse_str(&delegation).map_err(StoreError::corrupt)?,
        method: method.parse().map_err(StoreError::corrupt)?,
        // The query finds no other key than that of the request, if it has one.
        is_for_key: key.is_some(),
        at: from_unix(newest),
    };
    let request = usize::try_from(request).map_err(StoreError::corrupt)?;
    Ok((request, proof))
}
