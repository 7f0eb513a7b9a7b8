//! Telephone numbers as intervals (E.164): numbers, ranges, sets of ranges, blocks, and service
//! provider codes.

pub mod block;
pub mod inventory_range;
pub mod number;
pub mod range_index;
pub mod range_set;
pub mod spc;
