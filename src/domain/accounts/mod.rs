//! Who gets tokens: accounts, and the dialect that an account's CA speaks.

pub mod account;
pub mod dialect;
