//! Issuing a token, as far as it is pure: from a request that policy has ruled on, through the order that is decided, to
//! the grant or the denial that is recorded.

pub mod decided;
pub mod order;
pub mod replay;

pub use decided::Decided;
pub use order::{MintOrder, RuledRequest};
pub use replay::{KeyStatus, KeyedRequest, Replay};
