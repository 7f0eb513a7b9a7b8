//! Number tables at full size.

mod country_tables;
