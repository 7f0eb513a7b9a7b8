//! The handlers of the HTTP API, one file per resource: parse, call, render.

pub(super) mod accounts;
pub(super) mod allocations;
pub(super) mod api_keys;
pub mod audit;
pub(super) mod bulk_tokens;
pub(super) mod certs;
pub(super) mod control_failures;
pub(super) mod control_proofs;
pub(super) mod delegations;
pub(super) mod disconnects;
pub(super) mod exclusions;
pub(super) mod facade;
pub(super) mod grants;
pub(super) mod health;
pub(super) mod imports;
pub(super) mod jobs;
pub(super) mod numbers;
pub(super) mod renewals;
pub(super) mod signers;
pub(super) mod token;
pub(super) mod views;
pub(super) mod webhooks;
pub(super) mod withdrawals;
