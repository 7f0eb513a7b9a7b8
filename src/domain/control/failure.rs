//! Proofs that a right to renew started, and whose code did not come back.

use super::proof::{ControlProof, ProofEnd};
use super::sending::SendFailure;
use crate::domain::clock::Time;
use crate::domain::text::words::words;

/// Why a code did not come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlFailure {
    /// It did not come back in time.
    Expired,
    /// No gateway accepted it.
    NotSent,
    /// Too many wrong codes came back.
    WrongCodes,
    /// A caller cancelled it.
    Cancelled,
    /// The limits did not allow to ask the number before its last proof was too old.
    Limited,
}

words! {
    /// The name in the API.
    impl Serialize for ControlFailure {
        Expired = "expired",
        NotSent = "not-sent",
        WrongCodes = "wrong-codes",
        Cancelled = "cancelled",
        Limited = "limited",
    }
}

/// An entry in the feed of failures. It is in the same sequence as withdrawals are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedControl {
    pub sequence: i64,
    pub proof: ControlProof,
    pub failure: ControlFailure,
    pub at: Time,
}

impl ControlProof {
    /// Why and when the code could no longer come back; `None` if the authority over the number was
    /// lost or the proof is no longer needed, which says nothing about control. For a proof that is
    /// over and was not confirmed.
    #[must_use]
    pub fn failure(&self) -> Option<(ControlFailure, Time)> {
        let early = self.end.filter(|(at, _)| *at < self.expires_at);
        let Some((at, reason)) = early else {
            return Some((ControlFailure::Expired, self.expires_at));
        };
        match reason {
            ProofEnd::WrongCodes => Some((ControlFailure::WrongCodes, at)),
            ProofEnd::NotSent if self.failure.as_deref() == Some(SendFailure::Limited.as_str()) => {
                Some((ControlFailure::Limited, at))
            }
            ProofEnd::NotSent => Some((ControlFailure::NotSent, at)),
            ProofEnd::Cancelled => Some((ControlFailure::Cancelled, at)),
            ProofEnd::NumberExcluded
            | ProofEnd::NumberLeft
            | ProofEnd::AccountSuspended
            | ProofEnd::DelegationEnded
            | ProofEnd::Revoked
            | ProofEnd::Superseded
            | ProofEnd::RenewalRevoked => None,
        }
    }
}
