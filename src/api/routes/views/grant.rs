//! Views of the ledger: a grant, what justified it, and its withdrawal.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::RangeView;
use crate::api::http::time::Instant;
use crate::domain::tokens::grant::{Grant, GrantState, Justification, Withdrawal};
use crate::domain::{Dialect, Time, TkType};

/// The ledger's record of one issued token.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Grant)]
pub(in crate::api) struct GrantView {
    /// The id of the token (its `jti` claim).
    jti: String,
    #[schema(example = "acme")]
    account: String,
    /// The current state: active, expired or withdrawn
    #[schema(value_type = String, example = "active")]
    state: GrantState,
    /// TNAuthList or JWTClaimConstraints
    #[schema(value_type = String, example = "TNAuthList")]
    tktype: TkType,
    /// The `tkvalue` of the token, character for character as it was requested.
    #[schema(example = "MA-iDRYLMTIxMjU1NTEwMDE")]
    tkvalue: String,
    /// How strictly the request was parsed: strict or legacy. In the legacy dialect, `tkvalue` can
    /// be padded base64, and `fingerprint` can be that of the SubjectPublicKeyInfo.
    #[schema(value_type = String, example = "strict")]
    dialect: Dialect,
    /// The numbers in the TNAuthList.
    numbers: Vec<RangeView>,
    /// The service provider codes in the TNAuthList.
    spcs: Vec<String>,
    /// Whether the token is for a CA certificate.
    ca: bool,
    /// The fingerprint of the ACME account key that the token is bound to.
    fingerprint: String,
    issued_at: Instant,
    expires_at: Instant,
    /// The certificate chain whose key signed the token: `GET /certs/{chain}.pem`.
    chain: String,
    /// The id of the API key, or other credential, that requested the token.
    caller: String,
    /// The `X-Request-Id` of that request.
    request_id: Uuid,
    /// The row versions that gave the account authority over the numbers.
    justified_by: Vec<JustificationView>,
    /// The ids of the policies that permitted the request.
    #[schema(example = json!(["own-accounts"]))]
    policies: Vec<String>,
    /// How many more policies permitted it; left out if zero.
    #[serde(skip_serializing_if = "is_zero")]
    #[schema(required = false)]
    policies_left_out: usize,
    /// SHA-256 of the policy set in force; null for grants made before it was recorded.
    policy_set: Option<String>,
    /// Null unless the grant was withdrawn, or will be.
    withdrawal: Option<WithdrawalView>,
}

/// A row version that justifies a grant, or the renewal right under which it was requested.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Justification)]
pub(in crate::api) struct JustificationView {
    /// delegation, allocation or renewal
    #[schema(example = "delegation")]
    kind: &'static str,
    id: Uuid,
    version: i32,
}

/// When and why a grant is withdrawn.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Withdrawal)]
pub(in crate::api) struct WithdrawalView {
    /// Can lie in the future.
    at: Instant,
    reason: String,
}

impl GrantView {
    /// The grant, with its state at `now`.
    pub(in crate::api) fn at(now: Time, grant: &Grant) -> Self {
        // Only lists that could be parsed were granted, so the default is never needed.
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

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference to `skip_serializing_if`"
)]
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
