//! One test binary. Each scenario is written once; those that need a store are mounted for SQLite and PostgreSQL.

#![allow(
    clippy::too_many_lines,
    clippy::needless_pass_by_value,
    clippy::cast_possible_truncation,
    clippy::manual_is_multiple_of,
    clippy::semicolon_if_nothing_returned,
    reason = "a scenario is one text, and what it is given is its own"
)]

#[macro_use]
mod support;

mod account_jwk;
mod api_bad_body;
mod api_complaints;
mod api_imports;
mod api_inventory;
mod api_limits;
mod api_policies;
mod api_renewals;
mod api_resellers;
mod api_routes;
mod api_token;
mod api_tokens;
mod api_trail;
mod api_withdrawals;
mod architecture;
mod audit;
mod blocks;
mod callers;
mod certificates;
mod chains;
mod claim_constraints;
mod claim_constraints_api;
mod client_certificates;
mod country_tables;
mod decision;
mod demo;
mod development;
mod dialects;
mod domain;
mod facade;
mod facade_api;
mod fixtures;
mod guide;
mod hsm;
mod idempotency;
mod inspection;
mod keyring;
mod kill;
mod kill_import;
mod oauth;
mod policy_check;
mod policy_serve;
mod proofs;
mod redeem;
mod requests;
mod rotation;
mod service;
mod signer;
mod signers;
mod signing_key;
mod sockets;
mod softhsm;
mod store;
mod stories;
mod tokens;
mod trust;
mod verifier;
mod walk;
mod webhooks;
