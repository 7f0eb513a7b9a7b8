//! Departures: numbers that left, for which earlier delegations do not count.

use diesel::prelude::*;
use uuid::Uuid;

use super::columns;
use super::imports::IDS_PER_STATEMENT;
use super::overlap::{EndsAny, OverlapQuery, Versions};
use super::range_probes::RangeProbes;
use super::versioned::ROWS_PER_INSERT;
use crate::domain::NumberRange;
use crate::domain::clock::{Time, from_unix};
use crate::domain::inventory::departure::Departure;
use crate::store::connection::on_either;
use crate::store::error::StoreError;
use crate::store::schema::departures;
use crate::store::tx::Tx;

#[derive(Debug, Clone, Queryable, Insertable)]
#[diesel(table_name = departures)]
pub(in crate::store) struct Row {
    id: String,
    kind: String,
    cause_id: String,
    first_position: i64,
    last_position: i64,
    span: i64,
    valid_from: i64,
    valid_until: Option<i64>,
    sequence: i64,
    recorded_at: i64,
    superseded_at: Option<i64>,
}

impl From<&Departure> for Row {
    fn from(departure: &Departure) -> Self {
        Self {
            id: departure.id.to_string(),
            kind: departure.kind.as_str().to_owned(),
            cause_id: departure.cause.to_string(),
            first_position: departure.numbers.first().position(),
            last_position: departure.numbers.last().position(),
            span: departure.numbers.span(),
            valid_from: departure.at.timestamp(),
            valid_until: None,
            sequence: departure.sequence,
            recorded_at: departure.belief.recorded_at.timestamp(),
            superseded_at: columns::seconds(departure.belief.superseded_at),
        }
    }
}

impl TryFrom<Row> for Departure {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: Uuid::parse_str(&row.id).map_err(StoreError::corrupt)?,
            kind: row.kind.parse().map_err(StoreError::corrupt)?,
            cause: Uuid::parse_str(&row.cause_id).map_err(StoreError::corrupt)?,
            numbers: columns::numbers(row.first_position, row.last_position)?,
            at: from_unix(row.valid_from),
            sequence: row.sequence,
            belief: columns::belief(row.recorded_at, row.superseded_at),
        })
    }
}

impl Tx<'_> {
    /// Inserts these departures. Proofs of control of their numbers end with them.
    pub fn insert_departures(&mut self, items: &[Departure]) -> Result<(), StoreError> {
        for chunk in items.chunks(ROWS_PER_INSERT) {
            let rows: Vec<Row> = chunk.iter().map(Row::from).collect();
            self.run(|connection| {
                on_either!(connection, c => diesel::insert_into(departures::table).values(&rows).execute(c))
            })?;
        }
        self.end_proofs_of_departed(items)
    }

    /// The departures that overlap any of these numbers, at most `limit` of them, in the order in
    /// which they were recorded. A departure has no end, so those of a period are all that took
    /// effect before its end.
    pub fn departures_touching(
        &mut self,
        numbers: &[NumberRange],
        versions: Versions,
        limit: usize,
    ) -> Result<Vec<Departure>, StoreError> {
        let probes = RangeProbes::of(numbers);
        self.departures_found(OverlapQuery::new("departures", probes, versions, limit))
    }

    /// The departures of any of these numbers that take effect later, other than by aging.
    pub fn planned_departures_touching(
        &mut self,
        numbers: &[NumberRange],
        now: Time,
    ) -> Result<Vec<Departure>, StoreError> {
        let ever = Versions::HoldingIn {
            from: from_unix(0),
            until: None,
        };
        let probes = RangeProbes::of(numbers);
        let query = OverlapQuery::new("departures", probes, ever, usize::MAX);
        // No change has this sequence, so only the time counts.
        self.departures_found(query.ending(EndsAny {
            sequence: i64::MAX,
            made_at: now.timestamp(),
            by_aging: false,
        }))
    }

    fn departures_found(
        &mut self,
        query: OverlapQuery<departures::table>,
    ) -> Result<Vec<Departure>, StoreError> {
        let found =
            self.run(|connection| on_either!(connection, c => query.load::<(i32, Row)>(c)))?;
        let mut items = found
            .into_iter()
            .map(|(_, row)| row.try_into())
            .collect::<Result<Vec<Departure>, _>>()?;
        items.sort_unstable_by_key(|item| (item.sequence, item.numbers, item.id));
        // A row that overlaps several ranges is found once for each.
        items.dedup_by_key(|item| item.id);
        Ok(items)
    }

    /// The departures that these exclusions and allocations caused, except for superseded ones.
    pub fn departures_of(&mut self, causes: &[Uuid]) -> Result<Vec<Departure>, StoreError> {
        let mut found = Vec::new();
        for chunk in causes.chunks(IDS_PER_STATEMENT) {
            let ids: Vec<String> = chunk.iter().map(Uuid::to_string).collect();
            let rows = self.run(|connection| {
                on_either!(connection, c => departures::table
                    .filter(departures::superseded_at.is_null())
                    .filter(departures::cause_id.eq_any(&ids))
                    .order((departures::sequence, departures::first_position))
                    .load::<Row>(c))
            })?;
            for row in rows {
                found.push(row.try_into()?);
            }
        }
        Ok(found)
    }

    /// Marks the departures that these exclusions and allocations caused as superseded: they were
    /// called off or undone. Returns how many there were. Of an allocation, these can be the one of
    /// its start (`acquired`) and that of its return; [`Self::supersede_departures`] can choose.
    pub fn supersede_departures_of(
        &mut self,
        causes: &[Uuid],
        now: Time,
    ) -> Result<usize, StoreError> {
        let known = self.departures_of(causes)?;
        let ids: Vec<Uuid> = known.iter().map(|departure| departure.id).collect();
        self.supersede_departures(&ids, now)
    }

    /// Marks these departures as superseded. Returns how many were not yet.
    pub fn supersede_departures(&mut self, ids: &[Uuid], now: Time) -> Result<usize, StoreError> {
        let mut count = 0;
        for chunk in ids.chunks(IDS_PER_STATEMENT) {
            let ids: Vec<String> = chunk.iter().map(Uuid::to_string).collect();
            count += self.run(|connection| {
                on_either!(connection, c => diesel::update(departures::table
                    .filter(departures::superseded_at.is_null())
                    .filter(departures::id.eq_any(&ids)))
                    .set(departures::superseded_at.eq(now.timestamp()))
                    .execute(c))
            })?;
        }
        Ok(count)
    }
}
