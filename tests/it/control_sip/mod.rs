//! Proofs by SIP over programs of others: Kamailio as the carrier's proxy, `sipp` as a phone.

pub mod agent;
pub mod carrier;
pub mod flood;
mod routes;
pub mod whole;
