//! Views of accounts and inventory rows, and of pages; `grant.rs` has those of grants. Numbers are
//! always `start` and `count`; times are always UTC.

mod control_proof;
mod departure;
pub(in crate::api) mod explained_rows;
mod grant;

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

pub(in crate::api) use control_proof::ControlProofView;
pub(in crate::api) use departure::{DepartureView, EndedDelegationView, EndedForView};
pub(in crate::api) use grant::{GrantView, JustificationView};

use crate::api::http::time::Instant;
use crate::authority::{DelegationStatus, PageOf, Restored, StillBlocked, Withdrawing};
use crate::domain::accounts::account::Account;
use crate::domain::inventory::withdrawal::Exposure;
use crate::domain::inventory::{Allocation, Basis, Delegation, Exclusion, Reason};
use crate::domain::{Dialect, NumberRange, Time, Window};

/// A contiguous range of numbers.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Range)]
pub(in crate::api) struct RangeView {
    /// The first number, in E.164.
    #[schema(example = "+12125551000")]
    start: String,
    /// How many numbers the range contains.
    #[schema(minimum = 1, example = 1000)]
    count: u64,
}

impl From<NumberRange> for RangeView {
    fn from(numbers: NumberRange) -> Self {
        Self {
            start: numbers.first().to_string(),
            count: numbers.count(),
        }
    }
}

/// An account, for which tokens are requested.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Account)]
pub(in crate::api) struct AccountView {
    #[schema(example = "acme")]
    id: String,
    #[schema(example = "Acme Plumbing")]
    name: String,
    /// The reseller whose customer this account is; null for a direct customer of the carrier.
    parent: Option<String>,
    created_at: Instant,
    /// When the account was suspended; null if it is not. A suspended account gets no tokens.
    suspended_since: Option<Instant>,
    /// The lifetime mode of tokens whose request names no lifetime: proof or grant-horizon
    #[schema(value_type = String, example = "proof")]
    lifetime: &'static str,
    /// How strictly requests for this account are parsed: strict or legacy
    #[schema(value_type = String, example = "strict")]
    dialect: Dialect,
}

impl From<Account> for AccountView {
    fn from(account: Account) -> Self {
        Self {
            id: account.id.to_string(),
            parent: account.parent().map(ToString::to_string),
            name: account.name,
            created_at: account.created_at.into(),
            suspended_since: account.suspended_since.map(Instant),
            lifetime: account.lifetime.as_str(),
            dialect: account.dialect,
        }
    }
}

/// When a row is valid: from `valid_from` (inclusive) until `valid_until` (exclusive).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Window)]
pub(in crate::api) struct WindowView {
    valid_from: Instant,
    /// Null if no end is known.
    valid_until: Option<Instant>,
}

impl From<Window> for WindowView {
    fn from(window: Window) -> Self {
        Self {
            valid_from: window.from().into(),
            valid_until: window.until().map(Instant),
        }
    }
}

/// Numbers that the carrier holds.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Allocation)]
pub(in crate::api) struct AllocationView {
    id: Uuid,
    /// Counts from 1. Each change supersedes the newest version with another one; rows are never
    /// edited.
    #[schema(example = 1)]
    version: i32,
    #[schema(example = "1234")]
    spc: String,
    #[serde(flatten)]
    numbers: RangeView,
    #[schema(value_type = String, example = "block")]
    basis: Basis,
    #[serde(flatten)]
    window: WindowView,
    recorded_at: Instant,
    /// When this version was superseded; null for the newest version.
    superseded_at: Option<Instant>,
}

impl From<Allocation> for AllocationView {
    fn from(row: Allocation) -> Self {
        Self {
            id: row.row.id,
            version: row.row.version,
            spc: row.spc.to_string(),
            numbers: row.numbers.into(),
            basis: row.basis,
            window: row.window.into(),
            recorded_at: row.belief.recorded_at.into(),
            superseded_at: row.belief.superseded_at.map(Instant),
        }
    }
}

/// Numbers delegated to an account.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Delegation)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a member of the JSON object"
)]
pub(in crate::api) struct DelegationView {
    id: Uuid,
    #[schema(example = 1)]
    version: i32,
    #[schema(example = "acme")]
    account: String,
    /// The reseller's delegation that this one is cut from; null if the carrier itself delegates.
    parent: Option<Uuid>,
    /// The reseller that delegates; null if the carrier itself does.
    lender: Option<String>,
    /// Whether the delegating reseller can still get tokens for the numbers itself.
    lender_keeps: bool,
    #[serde(flatten)]
    numbers: RangeView,
    /// Whether tokens for CA certificates are allowed.
    ca: bool,
    /// Whether the account may delegate the numbers to its own customers.
    lend_on: bool,
    /// The carrier's reference for the order or contract.
    reference: Option<String>,
    #[serde(flatten)]
    window: WindowView,
    recorded_at: Instant,
    superseded_at: Option<Instant>,
    /// Numbers for which it ended, or will, before `valid_until`, because they left: at most 100
    /// ranges. If all of its numbers left, `valid_until` is when the last of them did. Part of
    /// `GET /v1/delegations/{id}` and of the list of an account; left out if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    ended_for: Vec<EndedForView>,
    /// True if there are more such numbers than listed here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    ended_for_more: bool,
}

impl From<DelegationStatus> for DelegationView {
    fn from(status: DelegationStatus) -> Self {
        let ended_for = status.ended_for.into_iter().map(EndedForView::from);
        Self {
            ended_for: ended_for.collect(),
            ended_for_more: status.more,
            ..status.row.into()
        }
    }
}

impl From<Delegation> for DelegationView {
    fn from(row: Delegation) -> Self {
        let from = row.cut_from.as_ref();
        Self {
            id: row.row.id,
            version: row.row.version,
            account: row.account.to_string(),
            parent: from.map(|from| from.parent),
            lender: from.map(|from| from.lender.to_string()),
            lender_keeps: from.is_some_and(|from| from.lender_keeps),
            numbers: row.numbers.into(),
            ca: row.ca,
            lend_on: row.lend_on,
            reference: row.reference,
            window: row.window.into(),
            recorded_at: row.belief.recorded_at.into(),
            superseded_at: row.belief.superseded_at.map(Instant),
            ended_for: Vec::new(),
            ended_for_more: false,
        }
    }
}

/// Numbers for which no tokens are issued, although the carrier holds them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Exclusion)]
pub(in crate::api) struct ExclusionView {
    id: Uuid,
    #[schema(example = 1)]
    version: i32,
    #[serde(flatten)]
    numbers: RangeView,
    #[schema(value_type = String, example = "ported-out")]
    reason: Reason,
    #[serde(flatten)]
    window: WindowView,
    recorded_at: Instant,
    superseded_at: Option<Instant>,
}

impl From<Exclusion> for ExclusionView {
    fn from(row: Exclusion) -> Self {
        Self {
            id: row.row.id,
            version: row.row.version,
            numbers: row.numbers.into(),
            reason: row.reason,
            window: row.window.into(),
            recorded_at: row.belief.recorded_at.into(),
            superseded_at: row.belief.superseded_at.map(Instant),
        }
    }
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Page)]
pub(in crate::api) struct PageView<T> {
    items: Vec<T>,
    /// The `cursor` of the next page; null on the last page.
    next_cursor: Option<String>,
}

impl<T> PageView<T> {
    pub(in crate::api) fn of<R>(page: PageOf<R>, view: impl Fn(R) -> T) -> Self {
        Self {
            items: page.items.into_iter().map(view).collect(),
            next_cursor: page.next,
        }
    }
}

/// The row that ended authority, and the affected tokens that can still be redeemed, because an
/// issued token cannot be recalled.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Affected)]
pub(in crate::api) struct AffectedView<T> {
    #[serde(flatten)]
    row: T,
    /// The grants whose tokens can still be redeemed.
    outstanding_grants: Vec<GrantView>,
    /// True if there are more than listed here; `GET /v1/grants` lists all of them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    outstanding_grants_more: bool,
    exposure: ExposureView,
    /// The delegations that end, wholly or for some of their numbers, because numbers leave; at
    /// most 100. Left out if none does.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    delegation_ends: Vec<EndedDelegationView>,
    /// True if there are more than listed here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    delegation_ends_more: bool,
}

/// A row, the delegations that count again because a mistake was undone, and what still blocks the
/// numbers.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Restored)]
pub(in crate::api) struct RestoredView<T> {
    #[serde(flatten)]
    row: T,
    /// The delegations that count again for numbers for which they had ended. Withdrawn grants stay
    /// withdrawn; a new token takes one request.
    restored_delegations: Vec<DelegationView>,
    /// True if there are more than listed here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    restored_delegations_more: bool,
    /// The delegations that something else has ended too, for all or some of these numbers, and
    /// what that is; at most 100. Left out if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    still_ended: Vec<EndedDelegationView>,
    /// True if there are more than listed here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    still_ended_more: bool,
    /// The other exclusions that have some of the numbers of this one, now or later; at most 100.
    /// Left out if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    still_excluded: Vec<ExclusionView>,
    /// True if there are more than listed here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    still_excluded_more: bool,
}

impl<T> RestoredView<T> {
    pub(in crate::api) fn of<R: Into<T>>(restored: Restored<R>) -> Self {
        let more = restored.delegations.more();
        let rows = restored.delegations.rows.into_iter();
        let StillBlocked {
            delegations,
            exclusions,
            more_exclusions,
        } = restored.blocked;
        let ended = delegations.delegations.into_iter();
        Self {
            row: restored.row.into(),
            restored_delegations: rows.map(DelegationView::from).collect(),
            restored_delegations_more: more,
            still_ended: ended.map(EndedDelegationView::from).collect(),
            still_ended_more: delegations.more,
            still_excluded: exclusions.into_iter().map(ExclusionView::from).collect(),
            still_excluded_more: more_exclusions,
        }
    }
}

/// How many tokens can still be redeemed although authority has ended, including those not listed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Exposure)]
pub(in crate::api) struct ExposureView {
    #[schema(example = 1)]
    tokens: u64,
    /// When the last of these tokens expires; null if there are none.
    until: Option<Instant>,
}

impl From<Exposure> for ExposureView {
    fn from(exposure: Exposure) -> Self {
        Self {
            tokens: exposure.tokens,
            until: exposure.until.map(Instant),
        }
    }
}

impl<T> AffectedView<T> {
    pub(in crate::api) fn at<R: Into<T>>(now: Time, affected: Withdrawing<R>) -> Self {
        let (outstanding, ended) = (affected.outstanding_grants, affected.ended_delegations);
        Self {
            row: affected.row.into(),
            outstanding_grants: outstanding
                .grants
                .iter()
                .map(|grant| GrantView::at(now, grant))
                .collect(),
            outstanding_grants_more: outstanding.more,
            exposure: outstanding.exposure.into(),
            delegation_ends: ended.delegations.into_iter().map(Into::into).collect(),
            delegation_ends_more: ended.more,
        }
    }
}
