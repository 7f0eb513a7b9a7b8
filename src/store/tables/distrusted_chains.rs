//! Certificate chains whose key is distrusted. Rows are only ever added: distrust is permanent.

use diesel::prelude::*;

use crate::domain::Spc;
use crate::domain::clock::{Time, from_unix};
use crate::domain::signing::distrust::{Distrust, DistrustedChain};
use crate::store::connection::on_either;
use crate::store::error::StoreError;
use crate::store::schema::distrusted_chains;
use crate::store::tx::Tx;

#[derive(Debug, Clone, Queryable, Insertable)]
#[diesel(table_name = distrusted_chains)]
struct Row {
    chain: String,
    id: String,
    public_key: String,
    certificate: String,
    reason: String,
    distrusted_at: i64,
    distrusted_by: String,
}

impl From<&Distrust> for Row {
    fn from(distrust: &Distrust) -> Self {
        Self {
            chain: distrust.chain.clone(),
            id: distrust.id.to_string(),
            public_key: distrust.public_key.clone(),
            certificate: distrust.certificate.clone(),
            reason: distrust.reason.clone(),
            distrusted_at: distrust.at.timestamp(),
            distrusted_by: distrust.by.clone(),
        }
    }
}

impl TryFrom<Row> for Distrust {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id.parse().map_err(StoreError::corrupt)?,
            chain: row.chain,
            public_key: row.public_key,
            certificate: row.certificate,
            at: from_unix(row.distrusted_at),
            reason: row.reason,
            by: row.distrusted_by,
        })
    }
}

/// The names and codes of the distrusted chains that are valid at an instant or later.
macro_rules! distrusted_and_valid {
    ($at:expr) => {{
        use diesel::prelude::*;
        use $crate::store::schema::{distrusted_chains, signing_chains};
        distrusted_chains::table
            .inner_join(signing_chains::table.on(signing_chains::name.eq(distrusted_chains::chain)))
            .filter(signing_chains::not_after.ge($at.timestamp()))
            .select((signing_chains::name, signing_chains::spcs))
    }};
}
pub(in crate::store) use distrusted_and_valid;

/// A chain from its name and its codes.
pub(in crate::store) fn with_codes(
    (name, spcs): (String, String),
) -> Result<DistrustedChain, StoreError> {
    let spcs: Result<Vec<Spc>, _> = spcs.split(' ').map(str::parse).collect();
    let spcs = spcs.map_err(StoreError::corrupt)?;
    Ok(DistrustedChain { name, spcs })
}

impl Tx<'_> {
    /// All distrusted chains, in the order in which they were distrusted.
    pub fn distrusts(&mut self) -> Result<Vec<Distrust>, StoreError> {
        let rows = self.run(|connection| {
            on_either!(connection, c => distrusted_chains::table
                .order((distrusted_chains::id, distrusted_chains::chain))
                .load::<Row>(c))
        })?;
        rows.into_iter().map(TryInto::try_into).collect()
    }

    /// The distrusted chains that are valid at `at` or later, so that they could sign otherwise.
    pub fn distrusted_chains(&mut self, at: Time) -> Result<Vec<DistrustedChain>, StoreError> {
        let rows = self.run(|connection| {
            on_either!(connection, c => distrusted_and_valid!(at).load::<(String, String)>(c))
        })?;
        rows.into_iter().map(with_codes).collect()
    }

    pub fn insert_distrusts(&mut self, distrusts: &[Distrust]) -> Result<(), StoreError> {
        for distrust in distrusts {
            let row = Row::from(distrust);
            self.run(|connection| {
                on_either!(connection, c => diesel::insert_into(distrusted_chains::table).values(&row).execute(c))
            })?;
        }
        Ok(())
    }
}
