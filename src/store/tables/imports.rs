//! Queries that only imports need: many rows at once, and sums.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use uuid::Uuid;

use super::columns;
use super::grants;
use super::overlap::{OverlapQuery, Versions};
use super::range_probes::RangeProbes;
use crate::domain::clock::{Time, from_unix};
use crate::domain::inventory::{Allocation, Basis};
use crate::domain::tokens::grant::{Grant, Jti};
use crate::domain::{NumberRange, Spc};
use crate::store::connection::on_either;
use crate::store::error::StoreError;
use crate::store::schema::{allocations, delegations, exclusions, grant_numbers};
use crate::store::tx::Tx;

/// How many ids one statement names.
pub(in crate::store) const IDS_PER_STATEMENT: usize = 2_000;

/// Marks many rows of a versioned table as superseded.
macro_rules! supersede_many {
    ($visibility:vis $name:ident, $table:ident) => {
        impl Tx<'_> {
            /// Marks the newest versions of these rows as superseded. The caller inserts their
            /// successors.
            $visibility fn $name(&mut self, ids: &[Uuid], at: Time) -> Result<(), StoreError> {
                for chunk in ids.chunks(IDS_PER_STATEMENT) {
                    let ids: Vec<String> = chunk.iter().map(Uuid::to_string).collect();
                    self.run(|connection| {
                        on_either!(connection, c => diesel::update($table::table
                            .filter($table::id.eq_any(&ids))
                            .filter($table::superseded_at.is_null()))
                            .set($table::superseded_at.eq(at.timestamp()))
                            .execute(c))
                    })?;
                }
                Ok(())
            }
        }
    };
}

supersede_many!(pub supersede_allocations, allocations);
// `replace_delegations` ends the proofs of those without a successor.
supersede_many!(pub(super) supersede_delegations, delegations);
supersede_many!(pub supersede_exclusions, exclusions);

/// A row of `grant_numbers`, in the order of its columns.
type GrantNumbersRow = (Vec<u8>, i32, i64, i64, i64, i64);

/// The tables of the ranges of grants, with the same columns: the first ranges of the lists, and
/// the others.
const GRANT_RANGES: [&str; 2] = [
    "(SELECT jti, 1 AS entry, first_position, last_position, span, expires_at FROM grants)",
    "grant_numbers",
];

/// Numbers of a grant that overlap the numbers of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TouchedNumbers {
    pub jti: Jti,
    pub numbers: NumberRange,
    /// Of the grant.
    pub expires_at: Time,
}

impl Tx<'_> {
    /// The blocks and codes that a service provider code holds now or later.
    pub fn blocks_of(&mut self, spc: &Spc, now: Time) -> Result<Vec<Allocation>, StoreError> {
        let rows = self.run(|connection| {
            on_either!(connection, c => allocations::table
                .filter(allocations::superseded_at.is_null())
                .filter(allocations::spc.eq(spc.as_str()))
                .filter(allocations::basis.eq_any([Basis::Block.as_str(), Basis::Code.as_str()]))
                .filter(allocations::valid_until.is_null().or(allocations::valid_until.gt(now.timestamp())))
                .load::<super::allocations::Row>(c))
        })?;
        rows.into_iter().map(TryInto::try_into).collect()
    }

    /// How many numbers a service provider code holds now, on any basis.
    pub fn numbers_held(&mut self, spc: &Spc, now: Time) -> Result<u64, StoreError> {
        let held: i64 = self.run(|connection| {
            on_either!(connection, c => allocations::table
                .filter(allocations::superseded_at.is_null())
                .filter(allocations::spc.eq(spc.as_str()))
                .filter(allocations::valid_from.le(now.timestamp()))
                .filter(allocations::valid_until.is_null().or(allocations::valid_until.gt(now.timestamp())))
                // PostgreSQL's sum of BIGINT is NUMERIC, hence the cast.
                .select(sql::<BigInt>(
                    "CAST(COALESCE(SUM(last_position - first_position + 1), 0) AS BIGINT)",
                ))
                .first(c))
        })?;
        u64::try_from(held).map_err(StoreError::corrupt)
    }

    /// The grants that overlap any of these numbers and whose tokens expire after an instant,
    /// withdrawn or not, each with the overlapping numbers of its list. Returns at most `limit` of
    /// these, and whether there are more.
    pub fn grants_touching(
        &mut self,
        numbers: &[NumberRange],
        expiring_after: Time,
        limit: usize,
    ) -> Result<(Vec<TouchedNumbers>, bool), StoreError> {
        let probes = RangeProbes::of(numbers);
        if probes.is_empty() {
            return Ok((Vec::new(), false));
        }
        let mut found: Vec<(i32, GrantNumbersRow)> = Vec::new();
        for ranges in GRANT_RANGES {
            // One more, to learn whether some are left.
            let left = limit.saturating_add(1) - found.len();
            let query = OverlapQuery::<grant_numbers::table>::new(
                ranges,
                probes.clone(),
                Versions::All,
                left,
            )
            .expiring_after(expiring_after);
            found.extend(self.run(
                |connection| on_either!(connection, c => query.load::<(i32, GrantNumbersRow)>(c)),
            )?);
        }
        let more = found.len() > limit;
        found.truncate(limit);
        let found = found
            .into_iter()
            .map(|(_, (jti, _, first, last, _, expires))| {
                Ok(TouchedNumbers {
                    jti: Jti::from_bytes(&jti),
                    numbers: columns::numbers(first, last)?,
                    expires_at: from_unix(expires),
                })
            });
        Ok((found.collect::<Result<_, StoreError>>()?, more))
    }

    /// These grants, in the order of their issue.
    pub fn grants_of(&mut self, ids: &[Jti]) -> Result<Vec<Grant>, StoreError> {
        let mut all = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(IDS_PER_STATEMENT) {
            let ids = chunk.iter().map(columns::jti);
            let ids = ids.collect::<Result<Vec<_>, _>>()?;
            let rows = self.run(|connection| grants::of_ids(connection, &ids))?;
            all.extend(self.read_grants(&rows)?);
        }
        all.sort_unstable_by(|a, b| a.jti.as_str().cmp(b.jti.as_str()));
        Ok(all)
    }
}
