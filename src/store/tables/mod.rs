//! The tables: one file a table, with its private row type and its queries. `overlap` and
//! `versioned` are shared by the tables of number ranges.

pub(super) mod accounts;
pub(super) mod allocations;
pub(super) mod api_key_hashes;
pub(super) mod api_keys;
pub(super) mod audit_events;
pub(super) mod chain_withdrawals;
pub(super) mod change_counter;
pub(super) mod columns;
pub(super) mod delegations;
pub(super) mod departures;
pub(super) mod distrusted_chains;
pub(super) mod exclusions;
pub(super) mod grants;
pub(super) mod idempotency_keys;
pub(super) mod imports;
pub(super) mod jobs;
pub(super) mod overlap;
pub(super) mod range_probes;
pub(super) mod renewals;
pub(super) mod row_changes;
pub(super) mod row_filters;
pub(super) mod signing_chains;
pub(super) mod versioned;
pub(super) mod webhook_deliveries;
pub(super) mod webhooks;
pub(super) mod withdrawal_sweeps;
pub(super) mod withdrawals;
