//! The table formats, one file each: the columns of a table, and what a line means.

pub(super) mod allocations;
pub(super) mod arcep_majnum;
pub(super) mod delegations;
pub(super) mod exclusions;
mod listed_lines;
pub(super) mod nanp;
pub(super) mod nanp_blocks;
pub(super) mod nanpa_codes;
pub(super) mod nanpa_thousands;
mod statuses;
