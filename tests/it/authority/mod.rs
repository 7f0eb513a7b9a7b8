//! The main job and its rules, as stories that are told once for each database: a carrier holds numbers, lends some to an
//! account, and the account gets tokens for them, and for nothing else.

mod bounds;
mod bulk;
mod comebacks;
mod denials;
mod ended_rows;
mod gap_oracle;
mod gaps;
mod history;
pub mod idempotency;
mod imported_comebacks;
mod imported_reports;
mod imported_rows;
pub mod imports;
mod in_that_second;
mod life_cycle;
mod main_job;
mod meanwhile;
mod meets_nothing;
mod outstanding;
pub mod policies;
mod policy_files;
mod policy_reload;
mod refused_imports;
mod renewal_rights;
pub mod renewals;
mod reseller_reach;
pub mod resellers;
mod still_blocked;
mod trail;
mod trail_reading;
mod undo;
mod undone_imports;
mod undone_returns;
mod windows;
pub mod withdrawal_sweeps;
pub mod withdrawals;
