//! Proofs by SIP over programs of others: Kamailio as the carrier's proxy, `sipp` as a phone.

pub mod carrier;
mod routes;
mod whole;
