//! The store by itself: group commit, replicas, outages, migrations.

mod departures;
pub mod fairness;
mod lost_files;
mod old_ledger;
mod old_rows;
mod outages;
mod processes;
mod reads;
mod replicas;
mod schema;
mod versions;
pub mod writer;
