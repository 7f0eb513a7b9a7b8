//! The store by itself: group commit, replicas, outages, migrations.

mod departures;
mod fairness;
mod outages;
mod reads;
mod replicas;
mod schema;
mod versions;
mod writer;
