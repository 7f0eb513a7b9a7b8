//! Loads the facts that a batch of requests is decided on: one query a table, whatever the number
//! of requests.

use std::collections::HashSet;

use chrono::TimeDelta;
use diesel::RunQueryDsl as _;
use uuid::Uuid;

use super::overlapping::{self, BatchProbes};
use super::parties::Parties;
use crate::domain::clock::Time;
use crate::domain::decision::departures::parts_of;
use crate::domain::decision::{AccountStanding, Facts, MAX_ROWS};
use crate::domain::inventory::departure::Departure;
use crate::domain::inventory::{Allocation, Delegation, Exclusion};
use crate::domain::issuance::RuledRequest;
use crate::domain::numbers::range_index::Index;
use crate::domain::tokens::renewal::Renewal;
use crate::domain::{NumberRange, Window};
use crate::store::connection::on_either;
use crate::store::error::StoreError;
use crate::store::schema::departures;
use crate::store::tables::overlap::{OverlapQuery, Versions};
use crate::store::tables::range_probes::RangeProbes;
use crate::store::tables::{delegations as delegation_rows, departures as departure_rows};
use crate::store::tx::Tx;

/// The most rows of one table that a batch loads before it falls back to loading its requests one
/// by one; and the most rows that these load in one transaction, before the rest is left to the
/// next.
const MAX_BATCH_ROWS: usize = 50_000;

/// A request whose decision needs facts, with its index in the batch.
type Open<'a> = (usize, &'a RuledRequest);

/// Rows, each with the index of the request that it concerns.
type FoundRows<R> = Vec<(i32, R)>;

/// Loads the facts of all requests that policy has not settled. If they are too many, returns those
/// of the first requests only.
pub(super) fn load(
    tx: &mut Tx<'_>,
    requests: &[&RuledRequest],
    parties: &Parties,
) -> Result<Vec<Facts>, StoreError> {
    if let [only] = requests {
        return Ok(vec![load_unsettled(tx, only, parties)?]);
    }
    let mut facts: Vec<Facts> = requests.iter().map(|one| without_queries(one)).collect();
    let open: Vec<Open<'_>> = (0..)
        .zip(requests.iter().copied())
        .filter(|(_, request)| !request.is_settled())
        .collect();
    match read(tx, &open, parties, MAX_BATCH_ROWS, &mut facts)? {
        Extent::Within => Ok(facts),
        // At least one request needs many rows; loaded alone, each is decided on its own rows.
        Extent::AtLimit => one_by_one(tx, requests, parties),
    }
}

/// Loads the facts of one request, even if policy has settled it.
pub(super) fn load_one(
    tx: &mut Tx<'_>,
    request: &RuledRequest,
    parties: &Parties,
) -> Result<Facts, StoreError> {
    let mut facts = [without_queries(request)];
    // With one row over the limit, the decision refuses the request.
    read(tx, &[(0, request)], parties, MAX_ROWS + 1, &mut facts)?;
    let [facts] = facts;
    Ok(facts)
}

fn load_unsettled(
    tx: &mut Tx<'_>,
    request: &RuledRequest,
    parties: &Parties,
) -> Result<Facts, StoreError> {
    if request.is_settled() {
        Ok(without_queries(request))
    } else {
        load_one(tx, request, parties)
    }
}

/// Loads the facts of requests one by one, until there are enough for one transaction.
fn one_by_one(
    tx: &mut Tx<'_>,
    requests: &[&RuledRequest],
    parties: &Parties,
) -> Result<Vec<Facts>, StoreError> {
    let (mut all, mut rows) = (Vec::new(), 0);
    for request in requests {
        if rows >= MAX_BATCH_ROWS {
            break;
        }
        let facts = load_unsettled(tx, request, parties)?;
        rows += facts.delegations.len()
            + facts.lent_on.len()
            + facts.allocations.len()
            + facts.exclusions.len()
            + facts.departures.len();
        all.push(facts);
    }
    Ok(all)
}

/// The facts that are known without a query.
fn without_queries(request: &RuledRequest) -> Facts {
    Facts {
        spcs: request.spcs.clone(),
        ..Facts::default()
    }
}

/// Whether a query returned as many rows as its limit allows, so that there may be more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    Within,
    AtLimit,
}

/// Loads the facts of the open requests, at most `limit` rows of each table for all of them
/// together. If a batch reaches the limit, no request gets any rows.
fn read(
    tx: &mut Tx<'_>,
    open: &[Open<'_>],
    parties: &Parties,
    limit: usize,
    facts: &mut [Facts],
) -> Result<Extent, StoreError> {
    if open.is_empty() {
        return Ok(Extent::Within);
    }
    let probes = fill_in_accounts(open, parties, facts);
    read_renewals(tx, open, facts)?;
    let Some(versions) = versions(open, facts).filter(|_| !probes.of_all.is_empty()) else {
        return Ok(Extent::Within);
    };

    let (mut delegations, allocations, exclusions) =
        overlapping::read(tx, &probes, versions, limit)?;
    let only = open.first().filter(|_| facts.len() == 1);
    let only = only.map(|(_, request)| *request);
    if let Some(request) = only.filter(|_| delegations.len() >= limit) {
        let all = overlapping::delegations_of_accounts(tx, &probes, versions, MAX_BATCH_ROWS)?;
        delegations = without_ended(tx, request, all)?;
    }
    // Most accounts are not resellers, and do not need this query.
    let delegated_on = if delegations.iter().any(|row| may_be_delegated_on(row, open)) {
        let found = overlapping::delegated_on(tx, &probes, versions, limit)?;
        match only.filter(|_| found.len() >= limit) {
            Some(request) => {
                let all = overlapping::delegated_on(tx, &probes, versions, MAX_BATCH_ROWS)?;
                without_ended(tx, request, all)?
            }
            None => found,
        }
    } else {
        Vec::new()
    };
    let departures = read_departures(tx, open, [&delegations, &delegated_on], versions, limit)?;

    let rows = [
        delegations.len(),
        delegated_on.len(),
        allocations.len(),
        exclusions.len(),
        departures.len(),
    ];
    let extent = if rows.into_iter().any(|rows| rows >= limit) {
        Extent::AtLimit
    } else {
        Extent::Within
    };
    if extent == Extent::AtLimit && facts.len() > 1 {
        return Ok(extent);
    }
    distribute::<_, Delegation>(facts, delegations, |facts| &mut facts.delegations)?;
    distribute::<_, Delegation>(facts, delegated_on, |facts| &mut facts.lent_on)?;
    distribute::<_, Allocation>(facts, allocations, |facts| &mut facts.allocations)?;
    distribute::<_, Exclusion>(facts, exclusions, |facts| &mut facts.exclusions)?;
    distribute::<_, Departure>(facts, departures, |facts| &mut facts.departures)?;
    Ok(extent)
}

/// Fills in what is known about each account, and collects the ranges of the accounts that may
/// request tokens.
fn fill_in_accounts(open: &[Open<'_>], parties: &Parties, facts: &mut [Facts]) -> BatchProbes {
    let (mut of_all, mut of_accounts) = (RangeProbes::default(), RangeProbes::default());
    for (index, request) in open {
        let (facts, numbers) = (&mut facts[*index], request.request.numbers());
        facts.distrusted = parties.distrusted();
        let Some(account) = parties.account(&request.account) else {
            // The default standing, `Unknown`, is a refusal.
            continue;
        };
        if account.suspended_since.is_some() {
            // It adds no ranges, so nothing more is loaded for it.
            facts.standing = AccountStanding::Suspended;
            continue;
        }
        facts.standing = AccountStanding::Good;
        facts.lifetime = account.lifetime;
        facts.dialect = account.dialect;
        facts.suspended_above = parties.suspended_above(account);
        of_all.add(*index, Some(&account.id), numbers);
        of_accounts.add(*index, Some(&account.id), numbers);
        for above in &account.above {
            of_accounts.add(*index, Some(above), numbers);
        }
    }
    BatchProbes {
        of_accounts: of_accounts.into(),
        of_all: of_all.into(),
    }
}

/// Fills in the renewal under which each request is made. Most requests have none, and need no
/// query.
fn read_renewals(
    tx: &mut Tx<'_>,
    open: &[Open<'_>],
    facts: &mut [Facts],
) -> Result<(), StoreError> {
    let ids: Vec<Uuid> = open.iter().filter_map(|(_, one)| one.renewal).collect();
    let known = tx.renewals_of(&ids)?;
    for (index, request) in open {
        let is_requested = |right: &&Renewal| Some(right.id) == request.renewal;
        facts[*index].renewal = known.iter().find(is_requested).cloned();
    }
    Ok(())
}

/// The versions that are valid at any instant at which one of these tokens could be valid.
fn versions(open: &[Open<'_>], facts: &[Facts]) -> Option<Versions> {
    let latest =
        |(index, request): &Open<'_>| -> Time { request.latest_expiry(facts[*index].lifetime) };
    Some(Versions::HoldingIn {
        from: open.iter().map(|(_, request)| request.now).min()?,
        until: Some(open.iter().map(latest).max()?),
    })
}

/// The departures that can end any of these delegations. Without a delegation there is no query.
fn read_departures(
    tx: &mut Tx<'_>,
    open: &[Open<'_>],
    delegations: [&FoundRows<delegation_rows::Row>; 2],
    versions: Versions,
    limit: usize,
) -> Result<FoundRows<departure_rows::Row>, StoreError> {
    let found = || delegations.into_iter().flatten();
    let Some(ending) = delegation_rows::Row::ended_by(found().map(|(_, row)| row)) else {
        return Ok(Vec::new());
    };
    let with_any: HashSet<i32> = found().map(|(index, _)| *index).collect();
    let mut probes = RangeProbes::default();
    for (index, request) in open {
        if i32::try_from(*index).is_ok_and(|index| with_any.contains(&index)) {
            probes.add(*index, None, request.request.numbers());
        }
    }
    let query = OverlapQuery::<departures::table>::new("departures", probes, versions, limit);
    let query = query.ending(ending);
    tx.run(|connection| on_either!(connection, c => query.load(c)))
}

/// The delegations that count for some of the requested numbers, now or later. There can be any
/// number of others, since those that ended because their numbers left stay rows without an end. If
/// none counts, some of them are returned, so that the refusal names the cause.
fn without_ended(
    tx: &mut Tx<'_>,
    request: &RuledRequest,
    mut found: FoundRows<delegation_rows::Row>,
) -> Result<FoundRows<delegation_rows::Row>, StoreError> {
    let numbers = request.request.numbers();
    let begun = Versions::HoldingIn {
        from: request.now,
        until: Some(request.now + TimeDelta::seconds(1)),
    };
    let departures = tx.departures_touching(numbers, begun, MAX_BATCH_ROWS)?;
    if found.len().max(departures.len()) >= MAX_BATCH_ROWS {
        // Not all are known, so the decision refuses the request.
        return Ok(found);
    }
    let departures = Index::new(departures.iter().map(|one| (one.numbers, one)));
    let mut counting = FoundRows::new();
    for (index, row) in &found {
        let delegation = Delegation::try_from(row.clone())?;
        let near = departures.touching(delegation.numbers);
        let parts = parts_of(&delegation, near.map(|(_, departure)| *departure));
        let counts = |range: &NumberRange| {
            let mut parts = parts.iter();
            parts.any(|part| part.overlaps(*range, Window::open(request.now)))
        };
        if numbers.iter().any(counts) {
            counting.push((*index, row.clone()));
        }
    }
    if counting.is_empty() {
        found.truncate(MAX_ROWS);
        return Ok(found);
    }
    Ok(counting)
}

/// Whether the account of the request may delegate this delegation further.
fn may_be_delegated_on((index, row): &(i32, delegation_rows::Row), open: &[Open<'_>]) -> bool {
    let index = usize::try_from(*index).ok();
    let request = index.and_then(|index| open.binary_search_by_key(&index, |(at, _)| *at).ok());
    request.is_some_and(|at| row.may_be_delegated_on_by(&open[at].1.account))
}

/// Gives each request its rows.
fn distribute<R, T>(
    facts: &mut [Facts],
    found: FoundRows<R>,
    list: impl Fn(&mut Facts) -> &mut Vec<T>,
) -> Result<(), StoreError>
where
    T: TryFrom<R, Error = StoreError>,
{
    for (index, row) in found {
        let index = usize::try_from(index).map_err(StoreError::corrupt)?;
        // The lost row could be an exclusion, so fail rather than decide without it.
        let facts = facts.get_mut(index).ok_or_else(|| {
            StoreError::corrupt("a row was returned for a request that is not in the batch")
        })?;
        list(facts).push(row.try_into()?);
    }
    Ok(())
}
