//! Explain: what a mint would decide, and which rows support or contradict each part of it. It
//! issues no token and records no grant.

use std::sync::Arc;

use super::scope::Visibility;
use super::{Action, Authority, ChangeError};
use crate::domain::accounts::account::Account;
use crate::domain::clock::Time;
use crate::domain::decision::control_lack::ControlLack;
use crate::domain::decision::explanation::{self, ExplainedPart, ExplainedRow};
use crate::domain::decision::policy_trace::PolicyTrace;
use crate::domain::decision::{Facts, MAX_ROWS};
use crate::domain::inventory::InventoryRow;
use crate::domain::issuance::{RowInputs, RuledRequest};
use crate::domain::signing::chain_choice::{Candidate, SigningChain};
use crate::domain::tokens::grant::Justification;
use crate::domain::tokens::tn_auth_list::{TnAuthList, TnAuthListError, TnEntry};
use crate::domain::{AccountId, Caller, Denial, Fingerprint, NumberRange, Role, TokenRequest};
use crate::store::StoreError;

/// A mint to be explained.
#[derive(Debug, Clone)]
pub struct ExplainRequest {
    pub account: AccountId,
    pub numbers: Vec<NumberRange>,
    pub ca: bool,
    pub lifetime: Option<u32>,
    /// The ACME account key; `None`: one for which the account has had no token. Only policies can
    /// refer to it.
    pub fingerprint: Option<Fingerprint>,
}

/// The decision, and what it is based on.
#[derive(Debug, Clone)]
pub struct Explained {
    /// The time of the decision.
    pub at: Time,
    /// The expiry and the rows that justify it, or the denial.
    pub decision: Result<(Time, Vec<Justification>), Denial>,
    /// The policies that permit or forbid the request, whatever the inventory says.
    pub policies: PolicyTrace,
    /// What the policies refer to of `facts.rows`.
    pub row_inputs: RowInputs,
    /// Why the policies refuse the request for lack of control, if they do.
    pub lack: Option<Box<ControlLack>>,
    /// The requested numbers in order, split wherever the answer changes, each part with its rows.
    pub parts: Vec<ExplainedPart>,
    /// All rows that overlap the numbers now and that the caller may see.
    pub facts: Facts,
    /// Whether more rows overlap than `facts` has.
    pub more: bool,
}

impl Authority {
    /// Explains what the account itself would get if it requested a token now. A reseller sees this
    /// for its customers; a caller that may request tokens for an account, for that account.
    /// Blocks.
    ///
    /// # Errors
    /// If the caller may not see it, or the numbers are not a valid list.
    pub fn explain(
        &self,
        caller: &Caller,
        question: &ExplainRequest,
    ) -> Result<Explained, ChangeError> {
        let request = request(question)?;
        // The answer must not depend on what the asking caller itself is allowed.
        let on_behalf = Caller {
            role: Role::Account,
            accounts: vec![question.account.clone()],
            ..caller.clone()
        };
        let ruled = self.rule(&on_behalf, question.account.clone(), request, None);
        let may_ask = || {
            let context =
                self.mint_context(&ruled.account, &ruled.request, ruled.renewal, ruled.now);
            let ruling = self.policy.in_force().may_ask(caller, &context);
            ruling.verdict.is_ok()
        };
        if self.require(caller, Action::Read).is_err() && !may_ask() {
            return Err(ChangeError::Forbidden);
        }
        let scope = Visibility::of(caller);
        let read = self.store.read(|tx| {
            let Some(account) = scope.account(tx, &question.account)? else {
                return Ok(None);
            };
            // The command line has no signers of its own, so use the chains that the service's
            // replicas agreed on.
            let chains = match self.signers {
                Some(_) => None,
                None => Some(usable_candidates(&tx.signing_chains()?)),
            };
            let facts = tx.facts(&ruled)?;
            Ok::<_, StoreError>(Some((account, chains, facts)))
        })?;
        let Some((account, chains, facts)) = read else {
            // Answer as for an unknown account, so that other tenants' accounts cannot be
            // discovered.
            return Ok(Explained {
                at: ruled.now,
                decision: Err(Denial::NotTheCallers),
                policies: PolicyTrace::default(),
                row_inputs: RowInputs::default(),
                lack: None,
                parts: Vec::new(),
                facts: Facts::default(),
                more: false,
            });
        };
        let ruled = match chains {
            Some(chains) => RuledRequest { chains, ..ruled },
            None => ruled,
        };
        let (decided, ruling) = (ruled.decide(&facts), ruled.ruling(&facts));
        let inputs = ruled.deferred.as_ref().map(|one| one.policies.inputs());
        let mut explained = Explained {
            at: ruled.now,
            decision: decided.map(|(decision, _)| (decision.expires_at, decision.justified_by)),
            parts: explanation::parts(&ruled.question(facts.lifetime), &facts),
            policies: ruling.by,
            row_inputs: inputs.unwrap_or_default(),
            lack: match ruling.verdict {
                Err(Denial::ControlNotProven { lack, .. }) => Some(lack),
                Ok(()) | Err(_) => None,
            },
            more: facts.exceeds(MAX_ROWS),
            facts,
        };
        if let Visibility::AccountSubset(part) = &scope {
            explained.hide_from(&part.roots, &account);
        }
        Ok(explained)
    }
}

impl Explained {
    /// Removes what a reseller may not see: delegations to the resellers above it, and facts about
    /// numbers that are not delegated to it or its customers.
    fn hide_from(&mut self, roots: &[AccountId], account: &Account) {
        let line: Vec<&AccountId> = std::iter::once(&account.id).chain(&account.above).collect();
        let top = line.iter().rposition(|id| roots.contains(id)).unwrap_or(0);
        let may_see = |id: &AccountId| line[..=top].contains(&id);
        self.facts.delegations.retain(|row| may_see(&row.account));
        let delegated: Vec<NumberRange> = self
            .facts
            .delegations
            .iter()
            .map(InventoryRow::numbers)
            .collect();
        let is_delegated =
            |numbers: NumberRange| delegated.iter().any(|l| l.intersection(numbers).is_some());
        self.facts
            .allocations
            .retain(|row| is_delegated(row.numbers));
        self.facts
            .exclusions
            .retain(|row| is_delegated(row.numbers));
        self.facts
            .departures
            .retain(|row| is_delegated(row.numbers));
        if let Ok((_, rows)) = &mut self.decision {
            rows.retain(|justification| match justification {
                Justification::Delegation(row) => self
                    .facts
                    .delegations
                    .iter()
                    .any(|visible| visible.row == *row),
                Justification::Allocation(_) | Justification::Renewal(_) => true,
            });
        }
        for part in &mut self.parts {
            part.rows.retain(|explained| match explained {
                ExplainedRow::Delegation(row) => may_see(&row.account),
                ExplainedRow::LentOn(_) => true,
                ExplainedRow::Allocation(row) => is_delegated(row.numbers),
                ExplainedRow::Exclusion(row) => is_delegated(row.numbers),
                ExplainedRow::Departure(row) => is_delegated(row.numbers),
            });
        }
    }
}

/// The chains that a service with this database can choose from.
fn usable_candidates(chains: &[SigningChain]) -> Arc<[Candidate]> {
    let in_use = chains
        .iter()
        .filter(|chain| chain.retired_at.is_none() && chain.distrust.is_none());
    in_use.flat_map(Candidate::of).collect()
}

/// The token request for these numbers.
fn request(question: &ExplainRequest) -> Result<TokenRequest, TnAuthListError> {
    let entries = question
        .numbers
        .iter()
        .map(|numbers| TnEntry::try_from(*numbers));
    let list = TnAuthList::from_entries(entries.collect::<Result<_, _>>()?)?;
    TokenRequest::new(
        list,
        question.ca,
        question.fingerprint.unwrap_or(Fingerprint::from([0; 32])),
        question.lifetime,
    )
}
