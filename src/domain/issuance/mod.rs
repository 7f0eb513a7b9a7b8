//! The pure part of issuing a token: from a request that policies have ruled on, through the order
//! that is decided, to the grant or denial that is recorded.

pub mod decided;
pub mod grant_event;
pub mod order;
pub mod refusal_sums;
pub mod replay;
pub mod row_facts;
pub mod ruling;

pub use decided::Decided;
pub use grant_event::GrantEvent;
pub use order::{MintOrder, RuledRequest};
pub use refusal_sums::{RefusalKind, RefusalSums, StagedRefusals};
pub use replay::{KeyStatus, KeyedRequest, Replay};
pub use row_facts::{RowFacts, RowInputs};
pub use ruling::{DeferredRuling, RowPolicies, Ruling};
