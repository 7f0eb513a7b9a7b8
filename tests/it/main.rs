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

mod acme;
mod api;
mod architecture;
mod authority;
mod availability;
mod benchmark;
mod callers;
mod cli;
mod control;
mod control_sip;
mod crash;
mod domain;
mod failover;
mod gateways;
mod guide;
mod isolation;
mod signer;
mod store;
mod tables;
mod verifier;
mod webhooks;
