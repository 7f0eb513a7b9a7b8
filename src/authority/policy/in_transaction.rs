//! A set that refers to rows, asked in the transaction that records the grant. What it sees of rows
//! was read there; everything else is fixed since the request was made.

use std::sync::Arc;

use super::active::log_failure;
use super::engine::cache::RequestKey;
use super::{MintContext, PolicySet, Ruling, TokenContext};
use crate::domain::issuance::{RowFacts, RowInputs, RowPolicies};
use crate::domain::{AccountId, Caller};

/// The set that was in force when the request was made, and the request.
#[derive(Debug)]
pub(in crate::authority) struct RulingInTransaction {
    policy: Arc<PolicySet>,
    caller: Caller,
    account: AccountId,
    is_carrier: bool,
    token: TokenContext,
    key: RequestKey,
}

impl RulingInTransaction {
    pub(in crate::authority) fn new(
        policy: Arc<PolicySet>,
        caller: &Caller,
        context: &MintContext<'_>,
    ) -> Self {
        Self {
            key: policy.request_key(caller, context),
            policy,
            caller: caller.clone(),
            account: context.account.clone(),
            is_carrier: context.is_carrier,
            token: context.token,
        }
    }
}

impl RowPolicies for RulingInTransaction {
    fn inputs(&self) -> RowInputs {
        self.policy.row_inputs()
    }

    fn rule(&self, rows: &RowFacts) -> Ruling {
        let context = MintContext {
            account: &self.account,
            is_carrier: self.is_carrier,
            token: self.token,
            rows: Some(rows),
        };
        let ruling = self
            .policy
            .may_mint_by_key(&self.key, &self.caller, &context);
        log_failure(&ruling.by);
        ruling
    }
}
