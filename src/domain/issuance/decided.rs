//! The outcome of an order for a token.

use super::replay::Replay;
use crate::domain::decision::denial::Denial;
use crate::domain::tokens::grant::Grant;

/// The outcome of an order. It is recorded before it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "most orders are granted, and a batch of outcomes lives for one transaction"
)]
pub enum Decided {
    Granted(Grant),
    Denied(Denial),
    /// Not carried out, because its idempotency key was used before.
    Replayed(Replay),
}

impl Decided {
    /// The grant, if the order was granted.
    #[must_use]
    pub const fn granted(&self) -> Option<&Grant> {
        match self {
            Self::Granted(grant) => Some(grant),
            Self::Denied(_) | Self::Replayed(_) => None,
        }
    }
}

impl From<Result<Grant, Denial>> for Decided {
    fn from(decision: Result<Grant, Denial>) -> Self {
        match decision {
            Ok(grant) => Self::Granted(grant),
            Err(denial) => Self::Denied(denial),
        }
    }
}
