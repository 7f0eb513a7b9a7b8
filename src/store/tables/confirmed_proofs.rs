//! The query behind `control` in policies: which proofs of these numbers were confirmed and have
//! not ended.

use diesel::RunQueryDsl as _;
use diesel::sql_types::{BigInt, Integer, Nullable, Text};
use serde_json::json;
use uuid::Uuid;

use super::probe_query::ProbeQuery;
use crate::domain::clock::{Time, from_unix};
use crate::domain::control::facts::{ConfirmedProof, MAX_CLOCK_DIFFERENCE};
use crate::domain::{AccountId, NumberRange, Tn};
use crate::store::connection::on_either;
use crate::store::error::StoreError;
use crate::store::tx::Tx;

/// Numbers of an account, and the time of the request.
#[derive(Debug)]
pub struct ControlProbe<'a> {
    /// The index of the request.
    pub request: usize,
    pub account: &'a AccountId,
    pub numbers: NumberRange,
    pub now: Time,
}

/// Request, position, delegation, method, newest confirmation.
type Found = (i32, i64, String, String, Option<i64>);

impl Tx<'_> {
    /// The confirmed proofs of these numbers that have not ended, each with the index of its
    /// request: of each number, delegation and method the newest. Whether the delegations count is
    /// for the caller to decide. One query, whatever the number of requests.
    pub fn confirmed_control_proofs(
        &mut self,
        probes: &[ControlProbe<'_>],
    ) -> Result<Vec<(usize, ConfirmedProof)>, StoreError> {
        if probes.is_empty() {
            return Ok(Vec::new());
        }
        let probes = probes.iter().map(|probe| {
            // Clocks differ, and a request can have waited while a proof ended.
            let soon = probe.now.timestamp().saturating_add(MAX_CLOCK_DIFFERENCE);
            json!({
                "request": probe.request,
                "account_id": probe.account,
                "first_position": probe.numbers.first().position(),
                "last_position": probe.numbers.last().position(),
                "soon": soon,
            })
        });
        let query = ProbeQuery::<(Integer, BigInt, Text, Text, Nullable<BigInt>)>::new(
            &[
                ("request", "INTEGER"),
                ("account_id", "TEXT"),
                ("first_position", "BIGINT"),
                ("last_position", "BIGINT"),
                ("soon", "BIGINT"),
            ],
            [
                "SELECT p.request, t.position, t.delegation_id, t.method, max(t.confirmed_at) FROM ",
                " CROSS JOIN control_proofs t WHERE t.account_id = p.account_id \
                 AND t.position >= p.first_position AND t.position <= p.last_position \
                 AND t.confirmed_at IS NOT NULL AND t.confirmed_at <= p.soon \
                 AND (t.ends_at IS NULL OR t.ends_at > p.soon) \
                 GROUP BY p.request, t.position, t.delegation_id, t.method",
            ],
            probes.collect(),
        );
        let rows: Vec<Found> = self.run(|connection| on_either!(connection, c => query.load(c)))?;
        rows.into_iter().map(confirmed).collect()
    }
}

fn confirmed(
    (request, position, delegation, method, at): Found,
) -> Result<(usize, ConfirmedProof), StoreError> {
    let at = at.ok_or_else(|| StoreError::corrupt("a confirmed proof without a time"))?;
    let proof = ConfirmedProof {
        number: Tn::from_position(position).map_err(StoreError::corrupt)?,
        delegation: Uuid::parse_str(&delegation).map_err(StoreError::corrupt)?,
        method: method.parse().map_err(StoreError::corrupt)?,
        confirmed_at: from_unix(at),
    };
    Ok((
        usize::try_from(request).map_err(StoreError::corrupt)?,
        proof,
    ))
}
