//! Standing rights to renew: an account may have a token for the same numbers and the same key, again and again, as long as
//! one delegation lasts.
//!
//! A right gives nothing that a mint would not give. It pins what is asked, and it is weighed with that one delegation alone.

use uuid::Uuid;

use super::claims::TokenRequest;
use super::fingerprint::Fingerprint;
use super::tkvalue::TkContent;
use super::tn_auth_list::{TnAuthList, TnAuthListError};
use crate::domain::accounts::account::AccountId;
use crate::domain::clock::Time;
use crate::domain::credentials::caller::{Caller, Role};
use crate::domain::decision::Facts;
use crate::domain::decision::denial::{Beyond, Denial};

/// A standing right to renew. It stays as it was given, until it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    pub id: Uuid,
    pub account: AccountId,
    /// It ends with this delegation.
    pub delegation: Uuid,
    pub list: TnAuthList,
    pub fingerprint: Fingerprint,
    /// How long a token lives at most, in seconds.
    pub lifetime: u32,
    /// From then on there are no tokens, if the delegation lasts longer.
    pub not_after: Option<Time>,
    /// The one caller that may use it; whoever may mint for the account, if none is named.
    pub caller: Option<String>,
    pub created_at: Time,
    pub created_by: String,
    pub revoked_at: Option<Time>,
}

impl Renewal {
    /// Whether a caller is one of those that it is for. Whoever may do nothing but renew needs a right that names it.
    #[must_use]
    pub fn is_for(&self, caller: &Caller) -> bool {
        match &self.caller {
            Some(only) => *only == caller.id,
            None => caller.role != Role::Renewer,
        }
    }

    /// The request for the next token.
    ///
    /// # Errors
    /// [`TnAuthListError`] if an entry of the list is no E.164 number, which a right does not have.
    pub fn request(&self) -> Result<TokenRequest, TnAuthListError> {
        let lifetime = self.lifetime;
        TokenRequest::new(self.list.clone(), false, self.fingerprint, Some(lifetime))
    }

    /// Whether a request is one that it is for.
    ///
    /// # Errors
    /// [`Denial::OutsideRenewal`] with the first thing that is another one.
    pub fn covers(&self, request: &TokenRequest) -> Result<(), Denial> {
        // In whatever spelling; which of them the account may write is decided elsewhere.
        let is_of_the_list = match request.tkvalue().scope() {
            TkContent::TnAuthList(list) => *list == self.list,
            TkContent::JwtClaimConstraints(_) => false,
        };
        let beyond = if !is_of_the_list {
            Beyond::List
        } else if request.fingerprint() != self.fingerprint {
            Beyond::Fingerprint
        } else if request.ca() {
            Beyond::Ca
        } else if request
            .lifetime()
            .is_some_and(|asked| asked > self.lifetime)
        {
            Beyond::Lifetime
        } else {
            return Ok(());
        };
        Err(Denial::OutsideRenewal(beyond))
    }

    /// What is left of the facts for a token by it: of what the account was lent, its own delegation alone.
    ///
    /// # Errors
    /// [`Denial::RenewalEnded`] if it holds no more.
    pub fn narrowed(&self, facts: &Facts, now: Time) -> Result<Facts, Denial> {
        let is_over = self.not_after.is_some_and(|end| end <= now);
        if self.revoked_at.is_some() || is_over {
            return Err(Denial::RenewalEnded);
        }
        let mut facts = facts.clone();
        facts
            .delegations
            .retain(|loan| loan.account != self.account || loan.row.id == self.delegation);
        Ok(facts)
    }

    /// The latest expiry of a token that could last until an instant.
    #[must_use]
    pub fn capped(&self, until: Time) -> Time {
        self.not_after.map_or(until, |end| end.min(until))
    }
}
