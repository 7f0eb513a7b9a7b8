//! The facts that a batch of orders is decided on: one query a table, whatever the number of orders.

use std::collections::{HashMap, HashSet};

use diesel::RunQueryDsl as _;
use uuid::Uuid;

use super::connection::on_either;
use super::error::StoreError;
use super::issue::Order;
use super::schema::{allocations, delegations, exclusions};
use super::tables::overlap::{OverlapQuery, RangeProbes, Versions};
use super::tables::{
    allocations as allocation_rows, delegations as delegation_rows, exclusions as exclusion_rows,
};
use super::tx::Tx;
use crate::domain::AccountId;
use crate::domain::accounts::account::Account;
use crate::domain::decision::{Facts, MAX_ROWS, Standing};
use crate::domain::inventory::{Allocation, Delegation, Exclusion};
use crate::domain::tokens::renewal::Renewal;

/// How many rows of one table a batch may load before its orders are looked at one by one; and how many these may load
/// before the rest is left to the next transaction.
const ROWS_PER_BATCH: usize = 50_000;

/// Reads the facts of all orders that policy has not settled; of the first ones alone, if all of them are too much.
pub(super) fn load(tx: &mut Tx<'_>, orders: &[&Order]) -> Result<Vec<Facts>, StoreError> {
    let mut facts: Vec<Facts> = orders
        .iter()
        .map(|order| Facts {
            spcs: order.spcs.clone(),
            ..Facts::default()
        })
        .collect();
    let open: Vec<(usize, &Order)> = (0..)
        .zip(orders.iter().copied())
        .filter(|(_, o)| !o.is_settled())
        .collect();
    if open.is_empty() {
        return Ok(facts);
    }

    let asked = who_asks(tx, &open, &mut facts)?;
    rights(tx, &open, &mut facts)?;
    let until = |(asker, order): &(usize, &Order)| order.until(facts[*asker].lifetime);
    let (Some(from), Some(until)) = (
        open.iter().map(|(_, order)| order.now).min(),
        open.iter().map(until).max(),
    ) else {
        return Ok(facts);
    };
    if asked.probes.is_empty() {
        return Ok(facts);
    }

    let versions = Versions::HoldingIn {
        from,
        until: Some(until),
    };
    let limit = if orders.len() == 1 {
        MAX_ROWS + 1
    } else {
        ROWS_PER_BATCH
    };
    let touching = Touches {
        versions,
        limit,
        orders,
    };
    let lent = touching.lent(tx, asked.lent_probes)?;
    let lent_on = touching.lent_on(tx, &lent, &asked.probes)?;
    let held = OverlapQuery::<allocations::table>::new(
        "allocations",
        asked.probes.clone(),
        versions,
        limit,
    );
    let held = tx.run(
        |connection| on_either!(connection, c => held.load::<(i32, allocation_rows::Row)>(c)),
    )?;
    let kept = OverlapQuery::<exclusions::table>::new("exclusions", asked.probes, versions, limit);
    let kept = tx.run(
        |connection| on_either!(connection, c => kept.load::<(i32, exclusion_rows::Row)>(c)),
    )?;

    let found = [lent.len(), lent_on.len(), held.len(), kept.len()];
    let most = found.into_iter().max();
    if orders.len() > 1 && most >= Some(limit) {
        // Somebody asks for more than fits; alone, each is told apart.
        return one_by_one(tx, orders);
    }
    distribute::<_, Delegation>(&mut facts, lent, |facts| &mut facts.delegations)?;
    distribute::<_, Delegation>(&mut facts, lent_on, |facts| &mut facts.lent_on)?;
    distribute::<_, Allocation>(&mut facts, held, |facts| &mut facts.allocations)?;
    distribute::<_, Exclusion>(&mut facts, kept, |facts| &mut facts.exclusions)?;
    Ok(facts)
}

/// Reads the facts of orders one by one, until it is enough for one transaction.
fn one_by_one(tx: &mut Tx<'_>, orders: &[&Order]) -> Result<Vec<Facts>, StoreError> {
    let (mut all, mut rows) = (Vec::new(), 0);
    for order in orders {
        if rows >= ROWS_PER_BATCH {
            break;
        }
        let facts = load(tx, &[order])?.pop().unwrap_or_default();
        rows += facts.delegations.len()
            + facts.lent_on.len()
            + facts.allocations.len()
            + facts.exclusions.len();
        all.push(facts);
    }
    Ok(all)
}

/// What to look for.
#[derive(Default)]
struct Asked {
    /// Whose numbers: those of the accounts, and of the resellers above each.
    lent_probes: RangeProbes,
    /// What the numbers are in.
    probes: RangeProbes,
}

/// Says in the facts whether each asker may ask at all, and what to look for on behalf of those who may.
fn who_asks(
    tx: &mut Tx<'_>,
    open: &[(usize, &Order)],
    facts: &mut [Facts],
) -> Result<Asked, StoreError> {
    let ids: HashSet<&AccountId> = open.iter().map(|(_, order)| &order.account).collect();
    let accounts: HashMap<AccountId, Account> = tx
        .accounts(&ids.into_iter().collect::<Vec<_>>())?
        .into_iter()
        .map(|account| (account.id.clone(), account))
        .collect();
    let suspended_above = suspended_above(tx, accounts.values())?;
    let mut asked = Asked::default();
    for (asker, order) in open {
        let (facts, numbers) = (&mut facts[*asker], order.request.numbers());
        let Some(account) = accounts.get(&order.account) else {
            continue;
        };
        if account.suspended_since.is_some() {
            facts.standing = Standing::Suspended;
            continue;
        }
        facts.standing = Standing::Good;
        facts.lifetime = account.lifetime;
        facts.dialect = account.dialect;
        asked.probes.add(*asker, Some(&account.id), numbers);
        asked.lent_probes.add(*asker, Some(&account.id), numbers);
        for above in &account.above {
            asked.lent_probes.add(*asker, Some(above), numbers);
            if suspended_above.contains(above) {
                facts.suspended_above.push(above.clone());
            }
        }
    }
    Ok(asked)
}

/// Says in the facts by which right each order is asked. Most are asked by none, and spare the question.
fn rights(
    tx: &mut Tx<'_>,
    open: &[(usize, &Order)],
    facts: &mut [Facts],
) -> Result<(), StoreError> {
    let ids: Vec<Uuid> = open.iter().filter_map(|(_, order)| order.renewal).collect();
    let known = tx.renewals_of(&ids)?;
    for (asker, order) in open {
        let of_this = |right: &&Renewal| Some(right.id) == order.renewal;
        facts[*asker].renewal = known.iter().find(of_this).cloned();
    }
    Ok(())
}

/// The loans that touch the probes of some orders.
struct Touches<'a> {
    versions: Versions,
    limit: usize,
    orders: &'a [&'a Order],
}

/// Each with the number of its asker.
type Loans = Vec<(i32, delegation_rows::Row)>;

impl Touches<'_> {
    fn lent(&self, tx: &mut Tx<'_>, probes: RangeProbes) -> Result<Loans, StoreError> {
        loans(tx, self.of(probes).of_the_account())
    }

    /// What the askers have lent on for good. Most are no resellers, and spare the question.
    fn lent_on(
        &self,
        tx: &mut Tx<'_>,
        lent: &Loans,
        probes: &RangeProbes,
    ) -> Result<Loans, StoreError> {
        let by_its_asker = |(asker, row): &(i32, delegation_rows::Row)| {
            let asker = usize::try_from(*asker).ok();
            let order = asker.and_then(|asker| self.orders.get(asker));
            order.is_some_and(|order| row.may_be_lent_on_by(&order.account))
        };
        if lent.iter().any(by_its_asker) {
            loans(tx, self.of(probes.clone()).lent_on_by_the_account())
        } else {
            Ok(Vec::new())
        }
    }

    fn of(&self, probes: RangeProbes) -> OverlapQuery<delegations::table> {
        OverlapQuery::new("delegations", probes, self.versions, self.limit)
    }
}

fn loans(tx: &mut Tx<'_>, query: OverlapQuery<delegations::table>) -> Result<Loans, StoreError> {
    tx.run(|connection| on_either!(connection, c => query.load::<(i32, delegation_rows::Row)>(c)))
}

/// Which of the resellers above these accounts are suspended.
fn suspended_above<'a>(
    tx: &mut Tx<'_>,
    accounts: impl Iterator<Item = &'a Account>,
) -> Result<HashSet<AccountId>, StoreError> {
    let above: HashSet<&AccountId> = accounts.flat_map(|account| &account.above).collect();
    if above.is_empty() {
        return Ok(HashSet::new());
    }
    let above = tx.accounts(&above.into_iter().collect::<Vec<_>>())?;
    let suspended = above.into_iter().filter(|a| a.suspended_since.is_some());
    Ok(suspended.map(|account| account.id).collect())
}

/// Gives each asker its rows.
fn distribute<R, T>(
    facts: &mut [Facts],
    found: Vec<(i32, R)>,
    list: impl Fn(&mut Facts) -> &mut Vec<T>,
) -> Result<(), StoreError>
where
    T: TryFrom<R, Error = StoreError>,
{
    for (asker, row) in found {
        let asker = usize::try_from(asker).map_err(StoreError::corrupt)?;
        if let Some(facts) = facts.get_mut(asker) {
            list(facts).push(row.try_into()?);
        }
    }
    Ok(())
}
