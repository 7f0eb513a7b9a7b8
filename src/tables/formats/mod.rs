//! The table formats, one file each: which columns a table has, and what a line of it means.

pub(super) mod allocations;
pub(super) mod arcep_majnum;
pub(super) mod delegations;
pub(super) mod exclusions;
pub(super) mod nanp;
pub(super) mod nanp_blocks;
pub(super) mod nanpa_codes;
pub(super) mod nanpa_thousands;
