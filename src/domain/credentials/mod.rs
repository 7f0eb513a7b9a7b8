//! Who a request is from, and whether its credential is still valid.

pub mod actor;

pub use actor::Actor;
