//! Samples of delegations: which of their numbers have to be proven in place of long ranges.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer, Text};

use super::probe_query::{ProbeColumn, ProbeQuery};
use crate::domain::clock::from_unix;
use crate::domain::control::sample::ControlSample;
use crate::domain::{AccountId, NumberRange, Tn};
use crate::store::connection::{AnyConnection, on_either};
use crate::store::error::StoreError;
use crate::store::schema::control_samples;
use crate::store::tx::Tx;

#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = control_samples)]
struct Row {
    account_id: String,
    first_position: i64,
    last_position: i64,
    size: i64,
    positions: String,
    drawn_at: i64,
}

impl From<&ControlSample> for Row {
    fn from(sample: &ControlSample) -> Self {
        let positions = sample.numbers.iter();
        let positions = positions.map(|number| number.position().to_string());
        Self {
            account_id: sample.account.to_string(),
            first_position: sample.block.first().position(),
            last_position: sample.block.last().position(),
            size: sample.size.into(),
            positions: positions.collect::<Vec<_>>().join(" "),
            drawn_at: sample.drawn_at.timestamp(),
        }
    }
}

fn numbers(positions: &str) -> Result<Vec<Tn>, StoreError> {
    let positions = positions.split_whitespace().map(|position| {
        let position = position.parse().map_err(StoreError::corrupt)?;
        Tn::from_position(position).map_err(StoreError::corrupt)
    });
    positions.collect()
}

impl Tx<'_> {
    /// The samples of these delegations, given by account and numbers; `None` if none is drawn yet.
    pub fn control_samples(
        &mut self,
        blocks: &[(&AccountId, NumberRange)],
    ) -> Result<Vec<Option<ControlSample>>, StoreError> {
        let mut found = vec![None; blocks.len()];
        if blocks.is_empty() {
            return Ok(found);
        }
        let accounts = blocks.iter().map(|(account, _)| account.to_string());
        let firsts = blocks.iter().map(|(_, block)| block.first().position());
        let lasts = blocks.iter().map(|(_, block)| block.last().position());
        let query = ProbeQuery::<(Integer, BigInt, Text, BigInt)>::new(
            [
                ("request", ProbeColumn::indices(0..blocks.len())),
                ("account_id", ProbeColumn::texts(accounts)),
                ("first", ProbeColumn::big_ints(firsts)),
                ("last", ProbeColumn::big_ints(lasts)),
            ],
            [
                "SELECT p.request, t.size, t.positions, t.drawn_at FROM ",
                " CROSS JOIN control_samples t WHERE t.account_id = p.account_id \
                 AND t.first_position = p.first AND t.last_position = p.last",
            ],
        );
        let rows: Vec<(i32, i64, String, i64)> =
            self.run(|connection| on_either!(connection, c => query.load(c)))?;
        for (n, size, positions, drawn_at) in rows {
            let n = usize::try_from(n).map_err(StoreError::corrupt)?;
            let (Some(found), Some((account, block))) = (found.get_mut(n), blocks.get(n)) else {
                return Err(StoreError::corrupt("a sample that was not asked for"));
            };
            *found = Some(ControlSample {
                account: (*account).clone(),
                block: *block,
                size: u32::try_from(size).map_err(StoreError::corrupt)?,
                numbers: numbers(&positions)?,
                drawn_at: from_unix(drawn_at),
            });
        }
        Ok(found)
    }

    /// Keeps a sample, in place of the one that was found before, if any. If another one has come
    /// in between, that one counts. Returns the sample that counts.
    pub(in crate::store) fn keep_control_sample(
        &mut self,
        sample: ControlSample,
        replaced: Option<&ControlSample>,
    ) -> Result<ControlSample, StoreError> {
        let row = Row::from(&sample);
        let changed = self.run(|connection| match replaced {
            None => insert(connection, &row),
            Some(old) => replace(connection, &row, old.drawn_at.timestamp()),
        })?;
        if changed == 1 {
            return Ok(sample);
        }
        let found = self.control_samples(&[(&sample.account, sample.block)])?;
        let found = found.into_iter().next().flatten();
        found.ok_or_else(|| StoreError::corrupt("a sample was neither kept nor found"))
    }
}

fn insert(connection: &mut AnyConnection, row: &Row) -> QueryResult<usize> {
    match connection {
        AnyConnection::Sqlite(c) => diesel::insert_or_ignore_into(control_samples::table)
            .values(row)
            .execute(c),
        AnyConnection::Postgres(c) => diesel::insert_into(control_samples::table)
            .values(row)
            .on_conflict_do_nothing()
            .execute(c),
    }
}

fn replace(connection: &mut AnyConnection, row: &Row, drawn_at: i64) -> QueryResult<usize> {
    on_either!(connection, c => diesel::update(control_samples::table)
        .filter(control_samples::account_id.eq(&row.account_id))
        .filter(control_samples::first_position.eq(row.first_position))
        .filter(control_samples::last_position.eq(row.last_position))
        .filter(control_samples::drawn_at.eq(drawn_at))
        .set((
            control_samples::size.eq(row.size),
            control_samples::positions.eq(&row.positions),
            control_samples::drawn_at.eq(row.drawn_at),
        ))
        .execute(c))
}
