//! Proofs by SIP over programs of others: Kamailio as the carrier's proxy, `sipp` as a phone.

pub mod agent;
pub mod carrier;
mod flood;
mod routes;
mod whole;
