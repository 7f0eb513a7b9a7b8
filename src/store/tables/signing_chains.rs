//! Certificate chains of the signing keys, as the replicas have agreed on them.

use diesel::prelude::*;

use super::columns;
use crate::domain::Spc;
use crate::domain::clock::{Time, from_unix};
use crate::domain::signing::chain_choice::{ChainState, SigningChain};
use crate::store::connection::on_either;
use crate::store::error::StoreError;
use crate::store::schema::signing_chains;
use crate::store::tx::Tx;

#[derive(Debug, Clone, Queryable, Insertable)]
#[diesel(table_name = signing_chains)]
struct Row {
    name: String,
    spcs: String,
    pem: String,
    not_before: i64,
    not_after: i64,
    published_at: i64,
    active_from: i64,
    retired_at: Option<i64>,
    noted: String,
    /// Grants raise it, and nothing else writes it.
    last_expiry: Option<i64>,
}

impl From<&SigningChain> for Row {
    fn from(chain: &SigningChain) -> Self {
        let spcs: Vec<&str> = chain.spcs.iter().map(Spc::as_str).collect();
        Self {
            name: chain.name.clone(),
            spcs: spcs.join(" "),
            pem: chain.pem.clone(),
            not_before: chain.not_before.timestamp(),
            not_after: chain.not_after.timestamp(),
            published_at: chain.published_at.timestamp(),
            active_from: chain.active_from.timestamp(),
            retired_at: columns::seconds(chain.retired_at),
            noted: chain.noted.as_str().to_owned(),
            last_expiry: None,
        }
    }
}

impl TryFrom<Row> for SigningChain {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let spcs = row.spcs.split(' ').map(str::parse);
        let noted = ChainState::from_word(&row.noted);
        Ok(Self {
            spcs: spcs
                .collect::<Result<_, _>>()
                .map_err(StoreError::corrupt)?,
            pem: row.pem,
            not_before: from_unix(row.not_before),
            not_after: from_unix(row.not_after),
            published_at: from_unix(row.published_at),
            active_from: from_unix(row.active_from),
            retired_at: row.retired_at.map(from_unix),
            noted: noted.ok_or_else(|| {
                StoreError::corrupt(format!("chain `{}` has an unknown state", row.name))
            })?,
            name: row.name,
            distrust: None,
        })
    }
}

impl Tx<'_> {
    /// All chains, in the order of their publication.
    pub fn signing_chains(&mut self) -> Result<Vec<SigningChain>, StoreError> {
        let rows = self.run(|connection| {
            on_either!(connection, c => signing_chains::table
                .order((
                    signing_chains::published_at,
                    signing_chains::active_from,
                    signing_chains::name,
                ))
                .load::<Row>(c))
        })?;
        let distrusts = self.distrusts()?;
        let chain = |row: Row| {
            let of_this = distrusts.iter().find(|one| one.chain == row.name);
            let distrust = of_this.cloned();
            let chain = SigningChain::try_from(row)?;
            Ok(SigningChain { distrust, ..chain })
        };
        rows.into_iter().map(chain).collect()
    }

    pub fn insert_signing_chain(&mut self, chain: &SigningChain) -> Result<(), StoreError> {
        let row = Row::from(chain);
        self.run(|connection| {
            on_either!(connection, c => diesel::insert_into(signing_chains::table).values(&row).execute(c))
        })?;
        Ok(())
    }

    /// Updates when a chain is used; its certificates do not change.
    pub fn update_signing_chain(&mut self, chain: &SigningChain) -> Result<(), StoreError> {
        let row = Row::from(chain);
        self.run(|connection| {
            on_either!(connection, c => diesel::update(signing_chains::table.find(&row.name))
                .set((
                    signing_chains::published_at.eq(row.published_at),
                    signing_chains::active_from.eq(row.active_from),
                    signing_chains::retired_at.eq(row.retired_at),
                    signing_chains::noted.eq(&row.noted),
                ))
                .execute(c))
        })?;
        Ok(())
    }

    /// Until when the tokens that were signed with a chain can be redeemed, or later: it is rounded
    /// up. `None` if it has signed none.
    pub fn last_expiry_of(&mut self, chain: &str) -> Result<Option<Time>, StoreError> {
        let last = self.run(|connection| {
            on_either!(connection, c => signing_chains::table
                .find(chain)
                .select(signing_chains::last_expiry)
                .first::<Option<i64>>(c)
                .optional())
        })?;
        Ok(last.flatten().map(from_unix))
    }
}
