//! Whatever crashes, no token is released that the ledger does not have, and no half of an import stays.

pub mod kill;
mod kill_import;
mod kill_long_import;
