//! What answers show of accounts, rows and grants. Numbers are always `start` and `count`, times always UTC.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::http::time::Instant;
use crate::authority::{PageOf, Withdrawing};
use crate::domain::accounts::account::Account;
use crate::domain::inventory::withdrawal::Exposure;
use crate::domain::inventory::{Allocation, Basis, Delegation, Exclusion, Reason};
use crate::domain::tokens::grant::{Grant, GrantState, Justification, Withdrawal};
use crate::domain::{Dialect, NumberRange, Time, TkType, Window};

/// Numbers that lie side by side.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Range)]
pub(in crate::api) struct RangeView {
    /// The first of them, in E.164.
    #[schema(example = "+12125551000")]
    start: String,
    /// How many there are.
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

/// Who asks for tokens.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Account)]
pub(in crate::api) struct AccountView {
    #[schema(example = "acme")]
    id: String,
    #[schema(example = "Acme Plumbing")]
    name: String,
    /// The reseller that it is a customer of.
    parent: Option<String>,
    created_at: Instant,
    /// Since when it gets no tokens.
    suspended_since: Option<Instant>,
    /// How long its tokens live when a request does not say: proof or grant-horizon
    #[schema(value_type = String, example = "proof")]
    lifetime: &'static str,
    /// How strictly its requests are read: strict or legacy
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

/// When a row holds: from `valid_from` until just before `valid_until`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Window)]
pub(in crate::api) struct WindowView {
    valid_from: Instant,
    /// Null when no end is known.
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
    /// Counts from 1; rows are superseded, never edited.
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
    /// When this version was superseded; null for the newest.
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

/// Numbers lent to an account.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Delegation)]
pub(in crate::api) struct DelegationView {
    id: Uuid,
    #[schema(example = 1)]
    version: i32,
    #[schema(example = "acme")]
    account: String,
    /// The delegation of a reseller that this one is cut from, and the reseller; null when the carrier itself lends.
    parent: Option<Uuid>,
    lender: Option<String>,
    /// Whether the reseller who lends may still get tokens for the numbers itself.
    lender_keeps: bool,
    #[serde(flatten)]
    numbers: RangeView,
    /// Whether tokens for CA certificates are allowed.
    ca: bool,
    /// Whether the account may lend the numbers on.
    lend_on: bool,
    /// The carrier's own order or contract.
    reference: Option<String>,
    #[serde(flatten)]
    window: WindowView,
    recorded_at: Instant,
    superseded_at: Option<Instant>,
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
        }
    }
}

/// Numbers without authority, though the carrier holds them.
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

/// The record behind one token.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Grant)]
pub(in crate::api) struct GrantView {
    /// The id of the token.
    jti: String,
    #[schema(example = "acme")]
    account: String,
    /// Where it stands now: active, expired or withdrawn.
    #[schema(value_type = String, example = "active")]
    state: GrantState,
    /// TNAuthList or JWTClaimConstraints
    #[schema(value_type = String, example = "TNAuthList")]
    tktype: TkType,
    /// What the token is about, character for character as it was asked.
    #[schema(example = "MA-iDRYLMTIxMjU1NTEwMDE")]
    tkvalue: String,
    /// How strictly the request was read: strict or legacy. In legacy, `tkvalue` may be padded base64, and `fingerprint`
    /// that of the SubjectPublicKeyInfo.
    #[schema(value_type = String, example = "strict")]
    dialect: Dialect,
    /// The numbers of the list.
    numbers: Vec<RangeView>,
    /// The service provider codes of the list.
    spcs: Vec<String>,
    ca: bool,
    fingerprint: String,
    issued_at: Instant,
    expires_at: Instant,
    /// The chain whose key signed: `GET /certs/{chain}.pem`.
    chain: String,
    /// The id of the API key, or other proof, that asked.
    caller: String,
    request_id: Uuid,
    justified_by: Vec<JustificationView>,
    /// The policies that permitted it, by their ids.
    #[schema(example = json!(["own-accounts"]))]
    policies: Vec<String>,
    /// How many more there were.
    #[serde(skip_serializing_if = "is_zero")]
    #[schema(required = false)]
    policies_left_out: usize,
    /// SHA-256 of the set of policies; null for grants that are older than this is recorded.
    policy_set: Option<String>,
    withdrawal: Option<WithdrawalView>,
}

/// A version of a row that a grant leans on, or the right to renew that it was asked by.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Justification)]
pub(in crate::api) struct JustificationView {
    /// delegation, allocation or renewal
    #[schema(example = "delegation")]
    kind: &'static str,
    id: Uuid,
    version: i32,
}

/// From when on and why a grant is taken back; the instant may lie ahead.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Withdrawal)]
pub(in crate::api) struct WithdrawalView {
    at: Instant,
    reason: String,
}

impl GrantView {
    /// The grant, as it stands at `now`.
    pub(in crate::api) fn at(now: Time, grant: &Grant) -> Self {
        let numbers = grant.tkvalue.numbers().unwrap_or_default();
        Self {
            jti: grant.jti.to_string(),
            account: grant.account.to_string(),
            state: grant.state(now),
            tktype: grant.tkvalue.tktype(),
            tkvalue: grant.tkvalue.text(),
            dialect: grant.dialect,
            numbers: numbers.into_iter().map(RangeView::from).collect(),
            spcs: grant.tkvalue.spcs().map(ToString::to_string).collect(),
            ca: grant.ca,
            fingerprint: grant.fingerprint.to_string(),
            issued_at: grant.issued_at.into(),
            expires_at: grant.expires_at.into(),
            chain: grant.chain.clone(),
            caller: grant.caller.clone(),
            request_id: grant.request_id,
            justified_by: grant
                .justified_by
                .iter()
                .map(JustificationView::from)
                .collect(),
            policies: grant.policies.ids().to_vec(),
            policies_left_out: grant.policies.left_out(),
            policy_set: grant.policies.set().map(str::to_owned),
            withdrawal: grant.withdrawal.clone().map(WithdrawalView::from),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks in this way")]
const fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl From<&Justification> for JustificationView {
    fn from(justification: &Justification) -> Self {
        let row = justification.row();
        Self {
            kind: justification.kind(),
            id: row.id,
            version: row.version,
        }
    }
}

impl From<Withdrawal> for WithdrawalView {
    fn from(withdrawal: Withdrawal) -> Self {
        Self {
            at: withdrawal.at.into(),
            reason: withdrawal.reason,
        }
    }
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Page)]
pub(in crate::api) struct PageView<T> {
    items: Vec<T>,
    /// `cursor` of the next page; null on the last one.
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

/// What authority was taken by, and the tokens that can be redeemed nevertheless: nobody can call a token back.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Affected)]
pub(in crate::api) struct AffectedView<T> {
    #[serde(flatten)]
    row: T,
    outstanding_grants: Vec<GrantView>,
    /// True when there are more than are listed; `GET /v1/grants` lists them all.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    outstanding_grants_more: bool,
    exposure: ExposureView,
}

/// How many tokens can be redeemed although authority ended, listed or not.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Exposure)]
pub(in crate::api) struct ExposureView {
    #[schema(example = 1)]
    tokens: u64,
    /// When the last of them expires; null when there is none.
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
        let outstanding = affected.outstanding_grants;
        Self {
            row: affected.row.into(),
            outstanding_grants: outstanding
                .grants
                .iter()
                .map(|grant| GrantView::at(now, grant))
                .collect(),
            outstanding_grants_more: outstanding.more,
            exposure: outstanding.exposure.into(),
        }
    }
}
