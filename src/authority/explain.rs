//! Explain: the decision that a mint would get, and which rows say yes or no to each part of it. No token, no grant.

use std::sync::Arc;

use super::scope::Visibility;
use super::{Action, Authority, ChangeError};
use crate::domain::accounts::account::Account;
use crate::domain::clock::Time;
use crate::domain::decision::Facts;
use crate::domain::decision::explanation::{self, ExplainedPart, ExplainedRow};
use crate::domain::decision::policy_trace::PolicyTrace;
use crate::domain::inventory::InventoryRow;
use crate::domain::issuance::RuledRequest;
use crate::domain::signing::chain::{Candidate, SigningChain};
use crate::domain::tokens::grant::Justification;
use crate::domain::tokens::tn_auth_list::{TnAuthList, TnAuthListError, TnEntry};
use crate::domain::{AccountId, Caller, Denial, Fingerprint, NumberRange, Role, TokenRequest};
use crate::store::StoreError;

/// What would be asked.
#[derive(Debug, Clone)]
pub struct ExplainRequest {
    pub account: AccountId,
    pub numbers: Vec<NumberRange>,
    pub ca: bool,
    pub lifetime: Option<u32>,
}

/// What would be decided, and on what.
#[derive(Debug, Clone)]
pub struct Explained {
    /// As of when.
    pub at: Time,
    /// The expiry and the rows that justify it, or why not.
    pub decision: Result<(Time, Vec<Justification>), Denial>,
    /// The policies that permit it or forbid it, as far as no number is concerned.
    pub policies: PolicyTrace,
    /// The numbers in their order, split where the answer changes, each with the rows that say so.
    pub parts: Vec<ExplainedPart>,
    /// Every row that touches the numbers now and that the caller may know of.
    pub facts: Facts,
}

impl Authority {
    /// Explains what a mint for the account would be answered, were it asked by the account itself. A reseller is told of
    /// its customers alone, and who may ask for tokens of an account is told of that one. Blocks.
    ///
    /// # Errors
    /// [`ChangeError`] if the caller may not know, the numbers are no list, or the store cannot answer.
    pub fn explain(
        &self,
        caller: &Caller,
        question: &ExplainRequest,
    ) -> Result<Explained, ChangeError> {
        let request = request(question)?;
        let on_behalf = Caller {
            role: Role::Account,
            accounts: vec![question.account.clone()],
            ..caller.clone()
        };
        let ruled = self.ruled(&on_behalf, question.account.clone(), request, None);
        let may_ask = || {
            let asked = self.asked(&ruled.account, &ruled.request, ruled.renewal, ruled.now);
            let ruling = self.policy.in_force().may_ask(caller, &asked);
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
            // At the command line, the certificates that the service has agreed on.
            let chains = match self.signers {
                Some(_) => None,
                None => Some(in_use(&tx.signing_chains()?)),
            };
            let facts = tx.facts(&ruled)?;
            Ok::<_, StoreError>(Some((account, chains, facts)))
        })?;
        let Some((account, chains, facts)) = read else {
            // Another tenant's account is answered as one that is not there.
            return Ok(Explained {
                at: ruled.now,
                decision: Err(Denial::NotTheCallers),
                policies: PolicyTrace::default(),
                parts: Vec::new(),
                facts: Facts::default(),
            });
        };
        // From here on the database is free for others.
        let ruled = match chains {
            Some(chains) => RuledRequest { chains, ..ruled },
            None => ruled,
        };
        let decided = ruled.decide(&facts);
        let mut explained = Explained {
            at: ruled.now,
            decision: decided.map(|decision| (decision.expires_at, decision.justified_by)),
            parts: explanation::parts(&ruled.question(facts.lifetime), &facts),
            policies: ruled.policies,
            facts,
        };
        if let Visibility::AccountSubset(part) = &scope {
            explained.hide_from(&part.roots, &account);
        }
        Ok(explained)
    }
}

impl Explained {
    /// Takes out what a reseller may not know: what the resellers above it were lent, and what is known of numbers that
    /// were not lent to it or its customers.
    fn hide_from(&mut self, roots: &[AccountId], account: &Account) {
        let line: Vec<&AccountId> = std::iter::once(&account.id).chain(&account.above).collect();
        let top = line.iter().rposition(|id| roots.contains(id)).unwrap_or(0);
        let knows = |id: &AccountId| line[..=top].contains(&id);
        self.facts.delegations.retain(|row| knows(&row.account));
        let lent: Vec<NumberRange> = self
            .facts
            .delegations
            .iter()
            .map(InventoryRow::numbers)
            .collect();
        let is_lent = |numbers: NumberRange| lent.iter().any(|l| l.intersection(numbers).is_some());
        self.facts.allocations.retain(|row| is_lent(row.numbers));
        self.facts.exclusions.retain(|row| is_lent(row.numbers));
        if let Ok((_, rows)) = &mut self.decision {
            rows.retain(|justification| match justification {
                Justification::Delegation(row) => {
                    self.facts.delegations.iter().any(|seen| seen.row == *row)
                }
                Justification::Allocation(_) | Justification::Renewal(_) => true,
            });
        }
        for part in &mut self.parts {
            part.rows.retain(|said| match said {
                ExplainedRow::Delegation(row) => knows(&row.account),
                ExplainedRow::LentOn(_) => true,
                ExplainedRow::Allocation(row) => is_lent(row.numbers),
                ExplainedRow::Exclusion(row) => is_lent(row.numbers),
            });
        }
    }
}

/// The certificates that a service over this database chooses from.
fn in_use(chains: &[SigningChain]) -> Arc<[Candidate]> {
    let in_use = chains.iter().filter(|chain| chain.retired_at.is_none());
    in_use.flat_map(Candidate::of).collect()
}

/// The request that would ask for these numbers; whose key it is bound to makes no difference to the decision.
fn request(question: &ExplainRequest) -> Result<TokenRequest, TnAuthListError> {
    let entries = question
        .numbers
        .iter()
        .map(|numbers| TnEntry::try_from(*numbers));
    let list = TnAuthList::from_entries(entries.collect::<Result<_, _>>()?)?;
    TokenRequest::new(
        list,
        question.ca,
        Fingerprint::from([0; 32]),
        question.lifetime,
    )
}
