//! Why a change is refused.

use std::ops::RangeInclusive;

use thiserror::Error;
use uuid::Uuid;

use super::CannotStart;
use crate::domain::accounts::account::Account;
use crate::domain::clock::{Time, rfc3339};
use crate::domain::control::proof::Method;
use crate::domain::inventory::window::WindowError;
use crate::domain::tokens::tn_auth_list::TnAuthListError;
use crate::domain::{AccountId, NumberRange, Spc, Window};
use crate::store::StoreError;

/// Why a change was not made. Nothing of it remains in the database.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ChangeError {
    #[error("the caller's role does not allow this")]
    Forbidden,
    #[error("there is no account `{0}`; check its id, or create it first")]
    UnknownAccount(AccountId),
    /// No such row or grant.
    #[error("there is no {0} with this id")]
    NotFound(&'static str),
    #[error("the account already exists, and its parent cannot be changed")]
    ParentChange,
    #[error("an account cannot be its own parent")]
    OwnParent,
    #[error(
        "an account can have at most {} resellers above it",
        Account::MAX_DEPTH
    )]
    TooDeep,
    #[error(
        "a reseller can only create its own customers; set `parent` to the reseller or one of its customers"
    )]
    NoParent,
    /// A reseller's key is for its customers, not for the reseller itself.
    #[error(
        "a reseller cannot change its own account or delegations; ask the carrier or the reseller above"
    )]
    OwnAccount,
    #[error(
        "the account was suspended by the carrier or a reseller above; only they can resume it"
    )]
    SuspendedAbove,
    #[error("`{account}` is not a customer of `{lender}`, the holder of the parent delegation")]
    NotACustomer {
        account: AccountId,
        lender: AccountId,
    },
    #[error("delegation `{0}` has ended, or does not allow further delegation (`lend_on`)")]
    NotToBeLentOn(Uuid),
    /// Lists at least one range.
    #[error("the reseller has no delegation with `lend_on` that covers {}", listed(.0))]
    NotTheLenders(Vec<NumberRange>),
    #[error("the delegation must lie within its parent, which is valid from {}{}", rfc3339(&.0.from()), until(.0))]
    OutsideTheLenders(Window),
    #[error("the parent delegation does not allow CA certificates")]
    CaNotLent,
    #[error("{kind} `{id}` already covers {numbers} at the same time")]
    Overlap {
        numbers: NumberRange,
        kind: &'static str,
        id: Uuid,
    },
    /// One request contains these numbers more than once.
    #[error("the request contains {0} more than once")]
    Twice(NumberRange),
    /// The carrier does not hold these numbers at the start of the window; at least one range.
    #[error("the carrier does not hold {} at that time; check the digits", listed(.0))]
    NotHeld(Vec<NumberRange>),
    /// The carrier holds none of these numbers within the window of the exclusion.
    #[error(
        "the carrier holds none of these numbers, now or later, so nothing would change: {0}; check the digits, and if \
         they are right, set `force` (command: `--force`)"
    )]
    MeetsNothing(NumberRange),
    #[error("`{0}` is not one of the carrier's service provider codes")]
    SpcNotHeld(Spc),
    #[error(transparent)]
    Window(#[from] WindowError),
    /// Lists the configured classes.
    #[error("`class` must be one of the configured aging classes: {0}")]
    UnknownClass(String),
    #[error("{} is in the past", rfc3339(.0))]
    Over(Time),
    /// The aging of a disconnect would end after the last time that can be written.
    #[error("{} is too late: the numbers would age beyond the year 9999", rfc3339(.0))]
    TooLate(Time),
    #[error("the numbers overlap {limit} rows of the inventory or more; use a smaller range")]
    TooFragmented { limit: usize },
    #[error("this key covers several accounts; set `account`")]
    NameTheAccount,
    #[error("webhook limit reached; end one first")]
    TooManyWebhooks,
    #[error("too many deliveries are pending for this webhook; retry when some have been sent")]
    TooManyDeliveries,
    #[error("the webhook has not reached this sequence number yet")]
    NotSentYet,
    #[error("the webhook has ended; create a new one")]
    WebhookEnded,
    /// A renewal right ends with its delegation.
    #[error("the delegation has ended")]
    DelegationEnded,
    #[error("renewal right limit of the account reached; revoke one first")]
    TooManyRenewals,
    /// A renewal right must lie within its delegation; at least one range that does not.
    #[error("the delegation does not cover {}", listed(.0))]
    NotOfTheDelegation(Vec<NumberRange>),
    #[error("a renewal right covers telephone numbers only, not the service provider code `{0}`")]
    SpcNotRenewed(Spc),
    #[error("`lifetime` must be between {} and {} seconds", .0.start(), .0.end())]
    RenewalLifetime(RangeInclusive<u32>),
    /// What is to be undone never happened.
    #[error("the allocation was not returned, so there is nothing to undo")]
    NotReturned,
    #[error("the {0} was undone or cancelled already")]
    AlreadyUndone(&'static str),
    /// Says why.
    #[error("this cannot be undone: {0}")]
    NotUndoable(&'static str),
    /// A later change builds on the one that is to be undone.
    #[error("the import or disconnect `{by}` changed {kind} `{id}` later; undo that first")]
    UndoFirst {
        kind: &'static str,
        id: Uuid,
        by: Uuid,
    },
    #[error(
        "delegation `{id}` uses {numbers}, which the carrier would no longer hold; end it first"
    )]
    InUse { numbers: NumberRange, id: Uuid },
    /// Numbers cannot be asked whether the account controls them; none was.
    #[error(transparent)]
    CannotStart(CannotStart),
    #[error("a request names 1 to {most} numbers")]
    HowManyNumbers { most: usize },
    #[error(
        "no gateway sends codes by `{0}`; use another method, or ask the carrier to configure one in `[control.gateways]`"
    )]
    NoGateway(Method),
    #[error("`control.max_age` must be between {} and {} seconds", .0.start(), .0.end())]
    ReproofingAge(RangeInclusive<u32>),
    #[error(
        "control of more than {most} numbers cannot be proven one by one; list fewer, or ask the carrier to set `control.sample`"
    )]
    TooLongToProve { most: u64 },
    #[error("this proof needs an answer that is signed with the ACME account key, not a code")]
    SignedAnswerNeeded,
    #[error(
        "the code of this proof can no longer come back, so there is nothing to cancel; the carrier can revoke a confirmed proof"
    )]
    NotPending,
    /// No code of the account is compared, so that none can be guessed.
    #[error(
        "too many codes of this account were wrong; retry in {seconds} s, or ask the carrier to confirm"
    )]
    TooManyWrongCodes { seconds: u32 },
    /// The numbers cannot be expressed as a TNAuthList.
    #[error(transparent)]
    List(#[from] TnAuthListError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ChangeError {
    /// The stable problem code of the API.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Forbidden | Self::Store(StoreError::ProofEnded) => "forbidden",
            Self::UnknownAccount(_) => "unknown-account",
            Self::NotFound(_) => "not-found",
            Self::ParentChange => "parent-change",
            Self::OwnParent => "own-parent",
            Self::TooDeep => "too-deep",
            Self::NoParent => "no-parent",
            Self::OwnAccount => "own-account",
            Self::SuspendedAbove => "suspended-above",
            Self::NotACustomer { .. } => "not-a-customer",
            Self::NotToBeLentOn(_) => "not-to-be-lent-on",
            Self::NotTheLenders(_) => "not-the-lenders",
            Self::OutsideTheLenders(_) => "outside-the-lenders",
            Self::CaNotLent => "ca-not-delegated",
            Self::Overlap { .. } | Self::Twice(_) => "overlap",
            Self::NotHeld(_) => "not-allocated",
            Self::MeetsNothing(_) => "meets-nothing",
            Self::SpcNotHeld(_) => "spc-not-held",
            Self::Window(_) | Self::TooLate(_) => "window",
            Self::UnknownClass(_) => "unknown-class",
            Self::Over(_) => "window-over",
            Self::TooFragmented { .. } => "too-fragmented",
            Self::NameTheAccount => "name-the-account",
            Self::TooManyWebhooks => "too-many-webhooks",
            Self::TooManyDeliveries => "too-many-deliveries",
            Self::NotSentYet => "not-sent-yet",
            Self::WebhookEnded => "webhook-ended",
            Self::DelegationEnded => "delegation-ended",
            Self::TooManyRenewals => "too-many-renewals",
            Self::NotOfTheDelegation(_) => "not-of-the-delegation",
            Self::SpcNotRenewed(_) => "spc-not-renewed",
            Self::RenewalLifetime(_) => "lifetime-not-allowed",
            Self::NotReturned => "not-returned",
            Self::AlreadyUndone(_) => "already-undone",
            Self::NotUndoable(_) => "not-undoable",
            Self::UndoFirst { .. } => "undo-first",
            Self::InUse { .. } => "in-use",
            Self::CannotStart(refused) => refused.code(),
            Self::HowManyNumbers { .. } => "how-many-numbers",
            Self::NoGateway(_) => "no-gateway",
            Self::ReproofingAge(_) => "max-age-not-allowed",
            Self::TooLongToProve { .. } => "too-long-to-prove",
            Self::SignedAnswerNeeded => "signed-answer-needed",
            Self::NotPending => "not-pending",
            Self::TooManyWrongCodes { .. } => "too-many-wrong-codes",
            Self::List(_) => "malformed-list",
            Self::Store(_) => "unavailable",
        }
    }

    /// The numbers that the refusal is about, if it names any.
    #[must_use]
    pub fn ranges(&self) -> &[NumberRange] {
        match self {
            Self::Overlap { numbers, .. }
            | Self::InUse { numbers, .. }
            | Self::Twice(numbers)
            | Self::MeetsNothing(numbers) => std::slice::from_ref(numbers),
            Self::NotHeld(ranges)
            | Self::NotTheLenders(ranges)
            | Self::NotOfTheDelegation(ranges) => ranges,
            Self::Forbidden
            | Self::UnknownAccount(_)
            | Self::NotFound(_)
            | Self::ParentChange
            | Self::OwnParent
            | Self::TooDeep
            | Self::NoParent
            | Self::OwnAccount
            | Self::SuspendedAbove
            | Self::NotACustomer { .. }
            | Self::NotToBeLentOn(_)
            | Self::OutsideTheLenders(_)
            | Self::CaNotLent
            | Self::SpcNotHeld(_)
            | Self::Window(_)
            | Self::UnknownClass(_)
            | Self::Over(_)
            | Self::TooLate(_)
            | Self::TooFragmented { .. }
            | Self::NameTheAccount
            | Self::TooManyWebhooks
            | Self::TooManyDeliveries
            | Self::NotSentYet
            | Self::WebhookEnded
            | Self::DelegationEnded
            | Self::TooManyRenewals
            | Self::SpcNotRenewed(_)
            | Self::RenewalLifetime(_)
            | Self::NotReturned
            | Self::AlreadyUndone(_)
            | Self::NotUndoable(_)
            | Self::UndoFirst { .. }
            // Each of its numbers has a reason of its own.
            | Self::CannotStart(_)
            | Self::HowManyNumbers { .. }
            | Self::NoGateway(_)
            | Self::ReproofingAge(_)
            | Self::TooLongToProve { .. }
            | Self::SignedAnswerNeeded
            | Self::NotPending
            | Self::TooManyWrongCodes { .. }
            | Self::List(_)
            | Self::Store(_) => &[],
        }
    }
}

fn listed(ranges: &[NumberRange]) -> String {
    let ranges: Vec<String> = ranges.iter().map(ToString::to_string).collect();
    ranges.join(", ")
}

fn until(window: &Window) -> String {
    window
        .until()
        .map(|until| format!(" to {}", rfc3339(&until)))
        .unwrap_or_default()
}
