//! The HTTP API: routes, bodies, refusals and documents, as a client meets them.

mod account_jwk;
mod audit_trail;
mod bad_body;
mod bulk_tokens;
mod claim_constraints;
mod client_connections;
mod complaints;
mod dialects;
mod facade;
mod facade_access;
mod facade_client;
mod imports;
mod interrupted_jobs;
mod inventory;
mod ledger;
mod limits;
mod policies;
mod renewals;
mod resellers;
mod routes;
mod serving;
mod signers;
mod sockets;
mod stalled_clients;
mod token;
mod withdrawals;
