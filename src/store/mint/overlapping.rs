//! What overlaps the numbers of a batch in the tables of the inventory.

use std::rc::Rc;

use diesel::RunQueryDsl as _;

use crate::store::connection::on_either;
use crate::store::error::StoreError;
use crate::store::schema::{allocations, delegations, exclusions};
use crate::store::tables::overlap::{OverlapQuery, Versions};
use crate::store::tables::range_probes::RangeProbes;
use crate::store::tables::together::load_together;
use crate::store::tables::{
    allocations as allocation_rows, delegations as delegation_rows, exclusions as exclusion_rows,
};
use crate::store::tx::Tx;

/// Rows, each with the index of the request that it concerns.
pub(super) type FoundDelegation = (i32, delegation_rows::Row);
pub(super) type FoundAllocation = (i32, allocation_rows::Row);
pub(super) type FoundExclusion = (i32, exclusion_rows::Row);

/// What overlaps the numbers of a batch.
type Overlapping = (
    Vec<FoundDelegation>,
    Vec<FoundAllocation>,
    Vec<FoundExclusion>,
);

/// The number ranges of a batch.
#[derive(Default)]
pub(super) struct BatchProbes {
    /// Each range for each account whose delegations matter: the account of the request, and the
    /// resellers above it.
    pub(super) of_accounts: Rc<RangeProbes>,
    /// Each range once, for the account of the request.
    pub(super) of_all: Rc<RangeProbes>,
}

/// Reads the delegations of the accounts, all allocations and all exclusions that overlap, at most
/// `limit` of each.
pub(super) fn read(
    tx: &mut Tx<'_>,
    probes: &BatchProbes,
    versions: Versions,
    limit: usize,
) -> Result<Overlapping, StoreError> {
    let of_all = || Rc::clone(&probes.of_all);
    load_together!(
        tx,
        of_the_accounts(probes, versions, limit),
        OverlapQuery::<allocations::table>::new("allocations", of_all(), versions, limit),
        OverlapQuery::<exclusions::table>::new("exclusions", of_all(), versions, limit)
    )
}

/// Reads the delegations of the accounts alone.
pub(super) fn delegations_of_accounts(
    tx: &mut Tx<'_>,
    probes: &BatchProbes,
    versions: Versions,
    limit: usize,
) -> Result<Vec<FoundDelegation>, StoreError> {
    let query = of_the_accounts(probes, versions, limit);
    tx.run(|connection| on_either!(connection, c => query.load(c)))
}

/// Reads what the accounts of the requests have delegated on without keeping their own right.
pub(super) fn delegated_on(
    tx: &mut Tx<'_>,
    probes: &BatchProbes,
    versions: Versions,
    limit: usize,
) -> Result<Vec<FoundDelegation>, StoreError> {
    let probes = Rc::clone(&probes.of_all);
    let query = OverlapQuery::<delegations::table>::new("delegations", probes, versions, limit);
    let query = query.delegated_on_by_the_account();
    tx.run(|connection| on_either!(connection, c => query.load(c)))
}

fn of_the_accounts(
    probes: &BatchProbes,
    versions: Versions,
    limit: usize,
) -> OverlapQuery<delegations::table> {
    let probes = Rc::clone(&probes.of_accounts);
    OverlapQuery::new("delegations", probes, versions, limit).of_the_account()
}
