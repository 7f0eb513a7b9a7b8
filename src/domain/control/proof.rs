//! Proofs of control: one number, one account, one method, one code.

use uuid::Uuid;

use crate::domain::accounts::account::AccountId;
use crate::domain::clock::Time;
use crate::domain::numbers::number::Tn;
use crate::domain::text::words::words;
use crate::domain::tokens::fingerprint::Fingerprint;

/// How a number is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// A text message with a code, which a person enters.
    Sms,
    /// A call that says a code, which a person enters.
    Voice,
    /// A SIP `MESSAGE` (RFC 3428) with a nonce, which an agent returns, signed with the ACME
    /// account key.
    Sip,
}

words! {
    /// The name in the API, the configuration and the database.
    impl Display, FromStr, Serialize, Deserialize for Method {
        Sms = "sms",
        Voice = "voice",
        Sip = "sip",
    }
}

impl Method {
    /// Whether a code on its way by one of them keeps the number from being asked by the other. A
    /// person is asked once at a time; an agent is not disturbed by that.
    #[must_use]
    pub const fn excludes(self, other: Self) -> bool {
        self.asks_person() == other.asks_person()
    }

    const fn asks_person(self) -> bool {
        match self {
            Self::Sms | Self::Voice => true,
            Self::Sip => false,
        }
    }
}

/// Where a proof stands at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofState {
    /// The code can still be returned.
    Pending,
    /// The code came back, and nothing has ended the proof since.
    Confirmed,
    /// The code did not come back in time.
    Expired,
    /// The code never came back, and no longer can: wrong codes, or it could not be sent.
    Failed,
    /// The code came back, but the proof counts no longer.
    Ended,
}

words! {
    /// The name in the API.
    impl Display, FromStr, Serialize for ProofState {
        Pending = "pending",
        Confirmed = "confirmed",
        Expired = "expired",
        Failed = "failed",
        Ended = "ended",
    }
}

/// Why a proof stopped to count, before its age did that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofEnd {
    /// Too many wrong codes.
    WrongCodes,
    /// No gateway accepted the code.
    NotSent,
    /// An exclusion covers the number.
    NumberExcluded,
    /// The number left: a port-out, a disconnect, a return.
    NumberLeft,
    /// The account, or a reseller above it, was suspended.
    AccountSuspended,
    /// The account lost its authority otherwise, such as by the end of the delegation.
    DelegationEnded,
    /// A caller cancelled it before the code came back.
    Cancelled,
    /// The carrier took it back after the code had come back.
    Revoked,
    /// The carrier started another one in its place.
    Superseded,
    /// The right to renew that had started it was revoked.
    RenewalRevoked,
}

words! {
    /// The name in the API and the database.
    impl Display, FromStr, Serialize for ProofEnd {
        WrongCodes = "wrong-codes",
        NotSent = "not-sent",
        NumberExcluded = "number-excluded",
        NumberLeft = "number-left",
        AccountSuspended = "account-suspended",
        DelegationEnded = "delegation-ended",
        Cancelled = "cancelled",
        Revoked = "revoked",
        Superseded = "superseded",
        RenewalRevoked = "renewal-revoked",
    }
}

/// A proof that an account controls a number, from its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlProof {
    pub id: Uuid,
    pub account: AccountId,
    pub number: Tn,
    /// The delegation that covered the number when it was started. The proof ends with it.
    pub delegation: Uuid,
    pub method: Method,
    /// The name of the gateway that sends the code.
    pub gateway: String,
    /// The key whose tokens it is for, and by SIP the one that signs the answer; `None`: every key.
    pub fingerprint: Option<Fingerprint>,
    /// The right to renew that started it; `None` if a caller did.
    pub renewal: Option<Uuid>,
    /// Wrong codes so far.
    pub tries: u32,
    pub started_at: Time,
    pub started_by: String,
    pub request_id: Uuid,
    /// Until when it can be confirmed.
    pub expires_at: Time,
    pub sent_at: Option<Time>,
    pub delivered_at: Option<Time>,
    /// Why the last attempt to send failed.
    pub failure: Option<String>,
    pub confirmed: Option<Confirmed>,
    /// When it stops to count, and why; may be in the future.
    pub end: Option<(Time, ProofEnd)>,
}

/// A confirmed proof, as decisions need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfirmedProof {
    pub number: Tn,
    /// The delegation that it ends with.
    pub delegation: Uuid,
    pub method: Method,
    /// Whether it names the key that was looked for; otherwise it is for every key.
    pub is_for_key: bool,
    pub at: Time,
}

impl ConfirmedProof {
    /// How old it is, in seconds. One that another replica confirmed a little ahead of this clock
    /// is 0 seconds old.
    #[must_use]
    pub fn age(&self, now: Time) -> u64 {
        u64::try_from((now - self.at).num_seconds()).unwrap_or_default()
    }
}

/// That the code came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmed {
    pub at: Time,
    pub by: String,
}

impl ControlProof {
    /// In place of the gateway of a proof that was not sent, and only reports that.
    pub const NO_GATEWAY: &str = "";

    /// By how many seconds the clocks of two replicas may differ. A proof that is further in the
    /// future does not count.
    pub const MAX_CLOCK_DIFFERENCE: i64 = 60;

    /// Whether an instant of a proof is further in the future than clocks may differ.
    #[must_use]
    pub fn is_ahead(at: Time, now: Time) -> bool {
        (at - now).num_seconds() > Self::MAX_CLOCK_DIFFERENCE
    }

    /// How many wrong codes are left of `most` until the proof fails.
    #[must_use]
    pub const fn tries_left(&self, most: u32) -> u32 {
        most.saturating_sub(self.tries)
    }

    /// Ends it at an instant, unless it ends earlier anyway.
    pub fn end_at(&mut self, at: Time, reason: ProofEnd) {
        if self.end.is_none_or(|(end, _)| at < end) {
            self.end = Some((at, reason));
        }
    }

    /// Where it stands. Whether its delegation still counts is not considered: see
    /// [`super::facts`].
    #[must_use]
    pub fn state(&self, now: Time) -> ProofState {
        let is_over = self.end.is_some_and(|(at, _)| at <= now);
        match (&self.confirmed, is_over) {
            (Some(_), false) => ProofState::Confirmed,
            (Some(_), true) => ProofState::Ended,
            (None, true) => ProofState::Failed,
            (None, false) if self.expires_at <= now => ProofState::Expired,
            (None, false) => ProofState::Pending,
        }
    }
}
