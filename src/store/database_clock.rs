//! The clock of the database, which all replicas have in common.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::BigInt;

use super::connection::AnyConnection;
use super::error::StoreError;
use super::tx::Tx;
use crate::domain::clock::{Time, from_unix};

#[derive(QueryableByName)]
struct DatabaseNow {
    #[diesel(sql_type = BigInt)]
    now: i64,
}

impl Tx<'_> {
    /// The time of the database server; `None` on SQLite, whose only clock is that of this machine.
    pub fn database_time(&mut self) -> Result<Option<Time>, StoreError> {
        self.run(|connection| match connection {
            AnyConnection::Sqlite(_) => Ok(None),
            AnyConnection::Postgres(c) => {
                let query = "SELECT EXTRACT(EPOCH FROM clock_timestamp())::BIGINT AS now";
                let found = sql_query(query).get_result::<DatabaseNow>(c)?;
                Ok(Some(from_unix(found.now)))
            }
        })
    }
}
