//! Number tables at full size.

mod country_tables;
mod shifted_lines;
mod two_owners;
