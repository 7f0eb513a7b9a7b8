//! The replicas that run now. Each writes its own row periodically, which shows that it can write.

use diesel::prelude::*;
use uuid::Uuid;

use crate::domain::Spc;
use crate::domain::clock::{Clock, Time, from_unix};
use crate::domain::replica::{Replica, SharedSettings, SpcList};
use crate::domain::signing::distrust::Distrust;
use crate::store::connection::{AnyConnection, on_either};
use crate::store::error::StoreError;
use crate::store::schema::replicas;
use crate::store::server_state::ServerState;
use crate::store::tx::Tx;

/// Seconds after which the row of a replica that is gone is deleted.
const DELETED_AFTER: i64 = 600;

#[derive(Debug, Clone, Queryable, Insertable, AsChangeset)]
#[diesel(table_name = replicas, treat_none_as_null = true)]
struct Row {
    id: String,
    name: String,
    version: String,
    secrets: String,
    spcs: String,
    previous_spcs: Option<String>,
    started_at: i64,
    seen_at: i64,
}

/// What a replica says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaIdentity {
    pub id: Uuid,
    pub name: String,
    pub version: String,
    pub shared: SharedSettings,
}

/// What a replica learns when it writes its row.
#[derive(Debug, Clone, PartialEq)]
pub struct Heartbeat {
    pub own: Replica,
    pub others: Vec<Replica>,
    /// The time of the rows: that of the database, if it is a server.
    pub now: Time,
    /// `None` on SQLite.
    pub server: Option<ServerState>,
    /// A migration that this version does not know, and must not write beside.
    pub unknown_migration: Option<String>,
    pub distrusts: Vec<Distrust>,
}

impl Tx<'_> {
    /// Writes the row of this replica, and reads what the others and the server say.
    pub fn beat(&mut self, own: &ReplicaIdentity, clock: &Clock) -> Result<Heartbeat, StoreError> {
        let server = self.server_state(clock)?;
        let now = server.as_ref().map_or_else(
            || clock.now(),
            |server| from_unix(server.unix_micros / 1_000_000),
        );
        let rows = self.run(|connection| {
            on_either!(connection, c => replicas::table.order(replicas::id).load::<Row>(c))
        })?;
        let own_id = own.id.to_string();
        let known = rows.iter().find(|row| row.id == own_id);
        let row = Row {
            id: own_id.clone(),
            name: own.name.clone(),
            version: own.version.clone(),
            secrets: own.shared.secrets.join(" "),
            spcs: own.shared.spcs.to_string(),
            previous_spcs: own.shared.previous_spcs.as_ref().map(SpcList::to_string),
            started_at: known.map_or(now.timestamp(), |known| known.started_at),
            seen_at: now.timestamp(),
        };
        let is_known = known.is_some();
        self.run(|connection| {
            on_either!(connection, c => if is_known {
                diesel::update(replicas::table.find(&row.id)).set(&row).execute(c)
            } else {
                diesel::insert_into(replicas::table).values(&row).execute(c)
            })
        })?;
        let others = rows.into_iter().filter(|row| row.id != own_id);
        let (gone, others): (Vec<Row>, Vec<Row>) = match self.connection {
            // One process serves, so any other row was left by one that was killed.
            AnyConnection::Sqlite(_) => (others.collect(), Vec::new()),
            AnyConnection::Postgres(_) => {
                others.partition(|row| now.timestamp() - row.seen_at > DELETED_AFTER)
            }
        };
        for row in gone {
            self.remove_replica(&row.id)?;
        }
        let others = others.into_iter().map(Replica::try_from);
        Ok(Heartbeat {
            own: row.try_into()?,
            others: others.collect::<Result<_, StoreError>>()?,
            now,
            server,
            unknown_migration: self.unknown_migration()?,
            distrusts: self.distrusts()?,
        })
    }

    /// Removes the row of a replica that stops or is gone.
    pub fn remove_replica(&mut self, id: &str) -> Result<(), StoreError> {
        self.run(|connection| {
            on_either!(connection, c => diesel::delete(replicas::table.find(id)).execute(c))
        })?;
        Ok(())
    }
}

impl TryFrom<Row> for Replica {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let texts = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        let codes = |text: &str| {
            let codes = text.split_whitespace().map(str::parse::<Spc>);
            let codes = codes.collect::<Result<Vec<Spc>, _>>();
            codes
                .map(|codes| SpcList::new(&codes))
                .map_err(StoreError::corrupt)
        };
        Ok(Self {
            id: row.id.parse().map_err(StoreError::corrupt)?,
            name: row.name,
            version: row.version,
            shared: SharedSettings {
                secrets: texts(&row.secrets),
                spcs: codes(&row.spcs)?,
                previous_spcs: row.previous_spcs.as_deref().map(codes).transpose()?,
            },
            started_at: from_unix(row.started_at),
            seen_at: from_unix(row.seen_at),
        })
    }
}
