//! Accounts, which request tokens, and the dialect in which each one writes its requests.

pub mod account;
pub mod dialect;
