//! Explain: the decision that a mint would get, and the rows behind it. No token, no grant.

use super::{Action, Authority, Refused};
use crate::domain::clock::Time;
use crate::domain::decision::Facts;
use crate::domain::grant::Justification;
use crate::domain::tn_auth_list::{TnAuthList, TnAuthListError, TnEntry};
use crate::domain::{AccountId, Caller, Denial, Fingerprint, NumberRange, TokenRequest};

/// What would be asked.
#[derive(Debug, Clone)]
pub struct Question {
    pub account: AccountId,
    pub numbers: Vec<NumberRange>,
    pub ca: bool,
    pub lifetime: Option<u32>,
}

/// What would be decided, and on what.
#[derive(Debug, Clone)]
pub struct Explained {
    /// The expiry and the rows that justify it, or why not.
    pub decision: Result<(Time, Vec<Justification>), Denial>,
    /// Every row that touches the numbers now.
    pub facts: Facts,
}

impl Authority {
    /// Explains what a mint for the account would be answered, were it asked by the account itself. Blocks.
    ///
    /// # Errors
    /// [`Refused`] if the caller may not read, the numbers are no list, or the store cannot answer.
    pub fn explain(&self, caller: &Caller, question: &Question) -> Result<Explained, Refused> {
        self.require(caller, Action::Read)?;
        let request = request(question)?;
        let on_behalf = Caller {
            role: crate::domain::Role::Account,
            accounts: vec![question.account.clone()],
            ..caller.clone()
        };
        let order = self.order(&on_behalf, question.account.clone(), request);
        let (decided, facts) = self.store.explain(&order)?;
        let decision = decided.map(|grant| (grant.expires_at, grant.justified_by));
        Ok(Explained { decision, facts })
    }
}

/// The request that would ask for these numbers; whose key it is bound to makes no difference to the decision.
fn request(question: &Question) -> Result<TokenRequest, TnAuthListError> {
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
