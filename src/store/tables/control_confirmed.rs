//! The proofs of control that count for a batch of requests: one query, whatever their number.

use diesel::RunQueryDsl as _;
use diesel::sql_types::{BigInt, Integer, Nullable, Text};
use uuid::Uuid;

use super::probe_query::{ProbeColumn, ProbeQuery};
use crate::domain::clock::{Time, from_unix};
use crate::domain::control::facts::RequiredNumbers;
use crate::domain::control::proof::{ConfirmedProof, ControlProof};
use crate::domain::issuance::RuledRequest;
use crate::domain::{AccountId, Fingerprint, Tn};
use crate::store::connection::on_either;
use crate::store::error::StoreError;
use crate::store::tx::Tx;

/// Numbers whose proofs are looked up, each for an account and an instant.
#[derive(Debug, Clone, Default)]
pub struct ProofProbes(Vec<ProofProbe>);

#[derive(Debug, Clone)]
struct ProofProbe {
    request: usize,
    account_id: AccountId,
    position: i64,
    soon: i64,
    /// `None`: whichever key.
    fingerprint: Option<Fingerprint>,
}

impl ProofProbes {
    /// Adds the numbers that a request has to prove, by its index.
    pub(in crate::store) fn add_all(
        &mut self,
        request: usize,
        ruled: &RuledRequest,
        required: &RequiredNumbers,
    ) {
        let key = (&ruled.account, ruled.request.fingerprint());
        for number in &required.numbers {
            self.add(request, key, *number, ruled.now);
        }
    }

    /// Adds a number of a request, by the index of the request. A nonce that another key than that
    /// of the request returned proves nothing for it: an agent answers every nonce.
    pub fn add(
        &mut self,
        request: usize,
        (account, key): (&AccountId, Fingerprint),
        number: Tn,
        now: Time,
    ) {
        self.push(request, account, number, now, Some(key));
    }

    /// The same, for proofs for whichever key.
    pub fn add_for_any_key(&mut self, request: usize, account: &AccountId, number: Tn, now: Time) {
        self.push(request, account, number, now, None);
    }

    fn push(
        &mut self,
        request: usize,
        account: &AccountId,
        number: Tn,
        now: Time,
        fingerprint: Option<Fingerprint>,
    ) {
        self.0.push(ProofProbe {
            request,
            account_id: account.clone(),
            position: number.position(),
            // Clocks differ, and a request can have waited while a proof ended.
            soon: now.timestamp() + ControlProof::MAX_CLOCK_DIFFERENCE,
            fingerprint,
        });
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Request, position, delegation, method, the key that it names, newest confirmation.
pub(in crate::store) type FoundProof = (i32, i64, String, String, Option<String>, Option<i64>);

/// The types of these columns.
pub(in crate::store) type ProofColumns = (
    Integer,
    BigInt,
    Text,
    Text,
    Nullable<Text>,
    Nullable<BigInt>,
);

impl ProofProbes {
    /// The query for the confirmed proofs of these numbers that have not ended, and do not end at
    /// once: the newest of each delegation, method and key, each with the index of its request.
    /// Whether its delegation counts is left to the caller.
    pub(in crate::store) fn query(&self) -> ProbeQuery<ProofColumns> {
        let probes = self.0.iter();
        let requests = probes.clone().map(|probe| probe.request);
        let accounts = probes.clone().map(|probe| probe.account_id.to_string());
        let positions = probes.clone().map(|probe| probe.position);
        let soon = probes.clone().map(|probe| probe.soon);
        let keys = probes.map(|probe| probe.fingerprint.map(|key| key.to_string()));
        // One from the future does not count, and must not hide one that does.
        ProbeQuery::new(
            [
                ("request", ProbeColumn::indices(requests)),
                ("account_id", ProbeColumn::texts(accounts)),
                ("position", ProbeColumn::big_ints(positions)),
                ("soon", ProbeColumn::big_ints(soon)),
                ("fingerprint", ProbeColumn::texts(keys)),
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
        )
    }
}

impl Tx<'_> {
    /// The proofs of `ProofProbes::query`. No query if there are no numbers.
    pub fn confirmed_control_proofs(
        &mut self,
        probes: &ProofProbes,
    ) -> Result<Vec<(usize, ConfirmedProof)>, StoreError> {
        if probes.is_empty() {
            return Ok(Vec::new());
        }
        let query = probes.query();
        let found: Vec<FoundProof> =
            self.run(|connection| on_either!(connection, c => query.load(c)))?;
        found.into_iter().map(confirmed).collect()
    }
}

/// The proof of a row of [`ProofProbes::query`], with the index of its request.
pub(in crate::store) fn confirmed(
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
