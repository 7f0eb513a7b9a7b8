//! Delegations: the numbers that an account may get tokens for.

use std::collections::{HashMap, HashSet};

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Text};
use uuid::Uuid;

use super::columns;
use super::overlap::{EndsAny, OverlapQuery, Versions};
use super::range_probes::RangeProbes;
use super::staged_imports::not_staged;
use super::statement::{Statement, column};
use super::versioned::{ROWS_PER_INSERT, versioned_table};
use crate::domain::clock::{Time, from_unix};
use crate::domain::inventory::{CutFrom, Delegation};
use crate::domain::{AccountId, NumberRange};
use crate::store::connection::{AnyConnection, on_either};
use crate::store::error::StoreError;
use crate::store::page::{Page, PageOf};
use crate::store::schema::delegations;
use crate::store::tx::Tx;

#[derive(Debug, Clone, Queryable, Insertable)]
#[diesel(table_name = delegations, treat_none_as_default_value = false)]
pub(in crate::store) struct Row {
    id: String,
    version: i32,
    account_id: String,
    parent_id: Option<String>,
    lender_id: Option<String>,
    first_position: i64,
    last_position: i64,
    span: i64,
    ca: bool,
    lend_on: bool,
    lender_keeps: bool,
    reference: Option<String>,
    valid_from: i64,
    valid_until: Option<i64>,
    recorded_at: i64,
    superseded_at: Option<i64>,
    sequence: i64,
    made_at: i64,
}

impl Row {
    /// Whether this account may delegate some of the numbers to customers of its own.
    pub(in crate::store) fn may_be_delegated_on_by(&self, account: &AccountId) -> bool {
        self.lend_on && self.account_id == account.as_str()
    }

    /// Which departures can end any of these; `None` if there are none.
    pub(in crate::store) fn ended_by<'a>(rows: impl Iterator<Item = &'a Self>) -> Option<EndsAny> {
        let each = rows.map(|row| EndsAny {
            sequence: row.sequence,
            made_at: row.made_at,
            by_aging: !row.lend_on || row.parent_id.is_some(),
        });
        each.reduce(|all, one| EndsAny {
            sequence: all.sequence.min(one.sequence),
            made_at: all.made_at.min(one.made_at),
            by_aging: all.by_aging || one.by_aging,
        })
    }
}

impl From<&Delegation> for Row {
    fn from(delegation: &Delegation) -> Self {
        let cut_from = delegation.cut_from.as_ref();
        Self {
            id: delegation.row.id.to_string(),
            version: delegation.row.version,
            account_id: delegation.account.to_string(),
            parent_id: cut_from.map(|from| from.parent.to_string()),
            lender_id: cut_from.map(|from| from.lender.to_string()),
            first_position: delegation.numbers.first().position(),
            last_position: delegation.numbers.last().position(),
            span: delegation.numbers.span(),
            ca: delegation.ca,
            lend_on: delegation.lend_on,
            lender_keeps: cut_from.is_some_and(|from| from.lender_keeps),
            reference: delegation.reference.clone(),
            valid_from: delegation.window.from().timestamp(),
            valid_until: columns::seconds(delegation.window.until()),
            recorded_at: delegation.belief.recorded_at.timestamp(),
            superseded_at: columns::seconds(delegation.belief.superseded_at),
            sequence: delegation.sequence,
            made_at: delegation.made_at.timestamp(),
        }
    }
}

impl TryFrom<Row> for Delegation {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let cut_from = row.parent_id.as_deref().zip(row.lender_id.as_deref());
        let cut_from = cut_from.map(|(parent, lender)| {
            Ok::<_, StoreError>(CutFrom {
                parent: Uuid::parse_str(parent).map_err(StoreError::corrupt)?,
                lender: lender.parse().map_err(StoreError::corrupt)?,
                lender_keeps: row.lender_keeps,
            })
        });
        Ok(Self {
            row: columns::row_ref(&row.id, row.version)?,
            account: row.account_id.parse().map_err(StoreError::corrupt)?,
            cut_from: cut_from.transpose()?,
            numbers: columns::numbers(row.first_position, row.last_position)?,
            ca: row.ca,
            lend_on: row.lend_on,
            reference: row.reference,
            window: columns::window(row.valid_from, row.valid_until)?,
            belief: columns::belief(row.recorded_at, row.superseded_at),
            sequence: row.sequence,
            made_at: from_unix(row.made_at),
        })
    }
}

versioned_table! {
    table: delegations, name: "delegations", domain: Delegation,
    insert: insert_delegations, find: delegation, list: list_delegations, supersede: supersede_delegation,
    touching: delegations_touching, versions: delegation_versions,
    visible: not_staged!(),
    after_insert: end_proofs_of_delegations,
    after_removal: end_proofs_of_removed_delegations,
}

impl Tx<'_> {
    /// Marks the newest versions of these rows as superseded, and inserts their successors: of some
    /// of them there is none.
    pub fn replace_delegations(
        &mut self,
        ids: &[Uuid],
        next: &[Delegation],
        at: Time,
    ) -> Result<(), StoreError> {
        self.supersede_delegations(ids, at)?;
        let kept: HashSet<Uuid> = next.iter().map(|row| row.row.id).collect();
        let removed = ids.iter().filter(|id| !kept.contains(id));
        let removed: Vec<Uuid> = removed.copied().collect();
        self.end_proofs_of_removed_delegations(&removed, at)?;
        self.insert_delegations(next)
    }

    /// The account that each of these delegations was made to, which is the same in all versions.
    pub fn accounts_of_delegations(
        &mut self,
        ids: &[Uuid],
    ) -> Result<HashMap<Uuid, AccountId>, StoreError> {
        let mut accounts = HashMap::new();
        for chunk in ids.chunks(super::imports::IDS_PER_STATEMENT) {
            let ids: Vec<String> = chunk.iter().map(Uuid::to_string).collect();
            let rows = self.run(|connection| {
                on_either!(connection, c => delegations::table
                    .filter(delegations::id.eq_any(&ids))
                    // Every delegation has a version 1.
                    .filter(delegations::version.eq(1))
                    .select((delegations::id, delegations::account_id))
                    .load::<(String, String)>(c))
            })?;
            for (id, account) in rows {
                let id = Uuid::parse_str(&id).map_err(StoreError::corrupt)?;
                accounts.insert(id, account.parse().map_err(StoreError::corrupt)?);
            }
        }
        Ok(accounts)
    }

    /// Like [`Tx::delegations_touching`], with those of an import that is being staged: they have
    /// their numbers already.
    pub fn delegations_occupying(
        &mut self,
        numbers: &[NumberRange],
        versions: Versions,
        limit: usize,
    ) -> Result<Vec<Delegation>, StoreError> {
        let probes = RangeProbes::of(numbers);
        let query = OverlapQuery::<delegations::table>::new("delegations", probes, versions, limit);
        let query = query.with_staged();
        let found =
            self.run(|connection| on_either!(connection, c => query.load::<(i32, Row)>(c)))?;
        let found = found.into_iter().map(|(_, row)| row.try_into());
        let mut found = found.collect::<Result<Vec<Delegation>, _>>()?;
        found.sort_unstable_by_key(|row| row.row);
        Ok(found)
    }

    /// Inserts new delegations of an import that is being staged. No proof can end by them yet: a
    /// proof is of an older delegation.
    pub fn stage_delegations(&mut self, new: &[Delegation]) -> Result<(), StoreError> {
        let rows: Vec<Row> = new.iter().map(Row::from).collect();
        self.run(|connection| match connection {
            AnyConnection::Sqlite(c) => {
                for row in &rows {
                    diesel::insert_into(delegations::table)
                        .values(row)
                        .execute(c)?;
                }
                Ok(())
            }
            AnyConnection::Postgres(c) => insert_into_postgres(c, &rows),
        })
    }

    /// The siblings of a delegation that overlap its numbers: all that were cut from the same
    /// parent, `beside` included, and those of an import that is being staged.
    pub fn delegations_beside(
        &mut self,
        beside: &Delegation,
        versions: Versions,
        limit: usize,
    ) -> Result<Vec<Delegation>, StoreError> {
        let parent = beside.cut_from.as_ref().map(|from| from.parent);
        let query = OverlapQuery::<delegations::table>::new(
            "delegations",
            RangeProbes::of(&[beside.numbers]),
            versions,
            limit,
        )
        .with_staged()
        .cut_from(parent);
        let found =
            self.run(|connection| on_either!(connection, c => query.load::<(i32, Row)>(c)))?;
        found.into_iter().map(|(_, row)| row.try_into()).collect()
    }

    /// The newest versions of the delegations that are cut directly from these.
    pub fn delegations_cut_from(
        &mut self,
        parents: &[Uuid],
    ) -> Result<Vec<Delegation>, StoreError> {
        let mut found = Vec::new();
        for chunk in parents.chunks(ROWS_PER_INSERT) {
            let ids: Vec<String> = chunk.iter().map(ToString::to_string).collect();
            let rows = self.run(|connection| {
                on_either!(connection, c => delegations::table
                    .filter(delegations::superseded_at.is_null())
                    // Repeats the condition of the partial index, so that the planner can use it.
                    .filter(delegations::parent_id.is_not_null())
                    .filter(delegations::parent_id.eq_any(&ids))
                    .load::<Row>(c))
            })?;
            for row in rows {
                found.push(row.try_into()?);
            }
        }
        Ok(found)
    }

    /// A page of the delegations of one account: the newest versions, ordered by id.
    pub fn list_delegations_of(
        &mut self,
        account: &AccountId,
        page: &Page,
    ) -> Result<PageOf<Delegation>, StoreError> {
        let rows = self.run(|connection| {
            on_either!(connection, c => delegations::table
                .filter(delegations::superseded_at.is_null())
                .filter(not_staged!())
                .filter(delegations::account_id.eq(account.as_str()))
                .filter(delegations::id.gt(page.after()))
                .order(delegations::id)
                .limit(page.fetch())
                .load::<Row>(c))
        })?;
        page.of(rows, |row| row.id.clone())
    }
}

/// One text for any number of rows, so that it is prepared once.
fn insert_into_postgres(connection: &mut PgConnection, rows: &[Row]) -> QueryResult<()> {
    Statement::new(INSERT_DELEGATIONS)
        .bind::<Array<Text>, _>(column!(rows, &id))
        .bind::<Array<Integer>, _>(column!(rows, version))
        .bind::<Array<Text>, _>(column!(rows, &account_id))
        .bind::<Array<Nullable<Text>>, _>(column!(rows, &parent_id))
        .bind::<Array<Nullable<Text>>, _>(column!(rows, &lender_id))
        .bind::<Array<BigInt>, _>(column!(rows, first_position))
        .bind::<Array<BigInt>, _>(column!(rows, last_position))
        .bind::<Array<BigInt>, _>(column!(rows, span))
        .bind::<Array<Bool>, _>(column!(rows, ca))
        .bind::<Array<Bool>, _>(column!(rows, lend_on))
        .bind::<Array<Bool>, _>(column!(rows, lender_keeps))
        .bind::<Array<Nullable<Text>>, _>(column!(rows, &reference))
        .bind::<Array<BigInt>, _>(column!(rows, valid_from))
        .bind::<Array<Nullable<BigInt>>, _>(column!(rows, valid_until))
        .bind::<Array<BigInt>, _>(column!(rows, recorded_at))
        .bind::<Array<Nullable<BigInt>>, _>(column!(rows, superseded_at))
        .bind::<Array<BigInt>, _>(column!(rows, sequence))
        .bind::<Array<BigInt>, _>(column!(rows, made_at))
        .execute(connection)
        .map(drop)
}

const INSERT_DELEGATIONS: &str = "\
    INSERT INTO delegations (id, version, account_id, parent_id, lender_id, first_position, \
    last_position, span, ca, lend_on, lender_keeps, reference, valid_from, valid_until, recorded_at, \
    superseded_at, sequence, made_at) SELECT * FROM unnest(?, ?, ?, ?, ?, ?, ?, ?, ?, \
    ?, ?, ?, ?, ?, ?, ?, ?, ?)";
