//! Why a change of what the carrier keeps is refused.

use std::ops::RangeInclusive;

use thiserror::Error;
use uuid::Uuid;

use crate::domain::accounts::account::Account;
use crate::domain::clock::{Time, rfc3339};
use crate::domain::decision::MAX_ROWS;
use crate::domain::inventory::window::WindowError;
use crate::domain::tokens::tn_auth_list::TnAuthListError;
use crate::domain::{AccountId, NumberRange, Spc, Window};
use crate::store::StoreError;

/// Why a verb was not done; nothing of it stays.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ChangeError {
    /// The caller's role does not allow it.
    #[error("the caller's role does not allow this")]
    Forbidden,
    #[error("there is no account `{0}`")]
    UnknownAccount(AccountId),
    /// No such row or grant.
    #[error("there is no {0} with this id")]
    NotFound(&'static str),
    #[error("the account is there already, and its parent, or that it has none, cannot be changed")]
    ParentChange,
    #[error("an account cannot be its own parent")]
    OwnParent,
    #[error("at most {} resellers may stand above an account", Account::MAX_DEPTH)]
    TooDeep,
    #[error(
        "a reseller makes customers of its own; name the parent, which is the reseller or one of its customers"
    )]
    NoParent,
    /// A reseller's key is for its customers.
    #[error("what a reseller is or was lent is for its own lender to change")]
    OwnAccount,
    #[error(
        "the account was suspended by the carrier, or by a reseller above; only they resume it"
    )]
    SuspendedAbove,
    #[error("`{account}` is no customer of `{lender}`, who was lent what this is to be cut from")]
    NotACustomer {
        account: AccountId,
        lender: AccountId,
    },
    #[error("delegation {0} may not be lent on, or has ended")]
    NotToBeLentOn(Uuid),
    /// The reseller was not lent these numbers; at least one range.
    #[error("the reseller was not lent {} to lend on", listed(.0))]
    NotTheLenders(Vec<NumberRange>),
    #[error("the loan goes beyond the one that it is cut from, which holds from {}{}", rfc3339(&.0.from()), until(.0))]
    OutsideTheLenders(Window),
    #[error("the reseller was lent the numbers without the right to CA certificates")]
    CaNotLent,
    #[error("{numbers} stands in {kind} {id} at the same time")]
    Overlap {
        numbers: NumberRange,
        kind: &'static str,
        id: Uuid,
    },
    /// What is to be recorded at once names these numbers more than once.
    #[error("{0} stands in it more than once")]
    Twice(NumberRange),
    /// The carrier does not hold these numbers at the start of what was asked; at least one range.
    #[error("the carrier does not hold {} then", listed(.0))]
    NotHeld(Vec<NumberRange>),
    #[error("`{0}` is not one of the carrier's service provider codes")]
    SpcNotHeld(Spc),
    #[error(transparent)]
    Window(#[from] WindowError),
    /// Lists the configured ones.
    #[error("`class` is none of the configured classes of aging: {0}")]
    UnknownClass(String),
    #[error("the window was over at {}", rfc3339(.0))]
    Over(Time),
    #[error("the numbers touch more than {MAX_ROWS} rows of the inventory; take fewer at once")]
    TooFragmented,
    #[error("the key speaks for several accounts; name the one that the webhook is to be told of")]
    NameTheAccount,
    #[error("there are as many webhooks as there may be; end one")]
    TooManyWebhooks,
    #[error("as many deliveries wait for the webhook as may; ask again when some of them are sent")]
    TooManyDeliveries,
    #[error("the webhook has not come to this place of the feed yet")]
    NotSentYet,
    #[error("the webhook is given up; make another one")]
    WebhookEnded,
    /// A right to renew ends with it.
    #[error("the delegation has ended")]
    DelegationEnded,
    #[error("the account has as many rights to renew as it may have; revoke one")]
    TooManyRenewals,
    /// What a right is to be for is not all of the delegation that it is to end with; at least one range.
    #[error("the delegation does not hold {}", listed(.0))]
    NotOfTheDelegation(Vec<NumberRange>),
    #[error("a right to renew is for numbers, and not for the service provider code {0}")]
    SpcNotRenewed(Spc),
    #[error("`lifetime`: a token lives for {} to {} seconds", .0.start(), .0.end())]
    RenewalLifetime(RangeInclusive<u32>),
    /// The numbers cannot stand in a TNAuthList.
    #[error(transparent)]
    List(#[from] TnAuthListError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ChangeError {
    /// The stable code of the API.
    #[must_use]
    pub const fn code(&self) -> &'static str {
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
            Self::SpcNotHeld(_) => "spc-not-held",
            Self::Window(_) => "window",
            Self::UnknownClass(_) => "unknown-class",
            Self::Over(_) => "window-over",
            Self::TooFragmented => "too-fragmented",
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
            Self::List(_) => "malformed-list",
            Self::Store(_) => "unavailable",
        }
    }

    /// The numbers that it is about, as far as it names any.
    #[must_use]
    pub fn ranges(&self) -> &[NumberRange] {
        match self {
            Self::Overlap { numbers, .. } | Self::Twice(numbers) => std::slice::from_ref(numbers),
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
            | Self::TooFragmented
            | Self::NameTheAccount
            | Self::TooManyWebhooks
            | Self::TooManyDeliveries
            | Self::NotSentYet
            | Self::WebhookEnded
            | Self::DelegationEnded
            | Self::TooManyRenewals
            | Self::SpcNotRenewed(_)
            | Self::RenewalLifetime(_)
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
