//! Standing rights to renew: an account can repeatedly get a token for the same numbers and the
//! same key, as long as a certain delegation lasts.
//!
//! A right grants nothing that an ordinary request would not get. It fixes what can be requested,
//! and the decision counts no delegation to the account but that one.

use uuid::Uuid;

use super::claims::TokenRequest;
use super::fingerprint::Fingerprint;
use super::tkvalue::TkContent;
use super::tn_auth_list::{TnAuthList, TnAuthListError};
use crate::domain::accounts::account::AccountId;
use crate::domain::clock::Time;
use crate::domain::control::reproofing::Reproofing;
use crate::domain::credentials::caller::{Caller, Role};
use crate::domain::decision::Facts;
use crate::domain::decision::denial::{Beyond, Denial};

/// A standing right to renew. It never changes, until it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    pub id: Uuid,
    pub account: AccountId,
    /// The delegation that it depends on.
    pub delegation: Uuid,
    pub list: TnAuthList,
    pub fingerprint: Fingerprint,
    /// The longest lifetime of a token, in seconds.
    pub lifetime: u32,
    /// An end of its own, if the delegation lasts longer.
    pub not_after: Option<Time>,
    /// The only caller that can use it; `None` for every caller that can request tokens for the
    /// account.
    pub caller: Option<String>,
    pub created_at: Time,
    pub created_by: String,
    pub revoked_at: Option<Time>,
    /// How control of its numbers is proven again; `None` if it is not.
    pub control: Option<Reproofing>,
}

impl Renewal {
    /// Whether a caller can use it. A caller whose role permits only renewals needs a right that
    /// names it.
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
    /// [`TnAuthListError`] if an entry of the list is not an E.164 number, which cannot happen
    /// here.
    pub fn request(&self) -> Result<TokenRequest, TnAuthListError> {
        let lifetime = self.lifetime;
        TokenRequest::new(self.list.clone(), false, self.fingerprint, Some(lifetime))
    }

    /// Checks that a request is within the right.
    ///
    /// # Errors
    /// [`Denial::OutsideRenewal`] names the first thing that is not.
    pub fn covers(&self, request: &TokenRequest) -> Result<(), Denial> {
        // Compares the content. Whether the account may use this spelling is checked elsewhere.
        let is_same_list = match request.tkvalue().scope() {
            TkContent::TnAuthList(list) => *list == self.list,
            TkContent::JwtClaimConstraints(_) => false,
        };
        let beyond = if !is_same_list {
            Beyond::List
        } else if request.fingerprint() != self.fingerprint {
            Beyond::Fingerprint
        } else if request.ca() {
            Beyond::Ca
        } else if request
            .lifetime()
            .is_some_and(|requested| requested > self.lifetime)
        {
            Beyond::Lifetime
        } else {
            return Ok(());
        };
        Err(Denial::OutsideRenewal(beyond))
    }

    /// The facts without the other delegations of the account.
    ///
    /// # Errors
    /// [`Denial::RenewalEnded`] if it was revoked or has expired.
    pub fn narrowed(&self, facts: &Facts, now: Time) -> Result<Facts, Denial> {
        let is_over = self.not_after.is_some_and(|end| end <= now);
        if self.revoked_at.is_some() || is_over {
            return Err(Denial::RenewalEnded);
        }
        let mut facts = facts.clone();
        facts
            .delegations
            .retain(|row| row.account != self.account || row.row.id == self.delegation);
        Ok(facts)
    }

    /// The latest expiry of a token that would otherwise expire at `until`.
    #[must_use]
    pub fn capped(&self, until: Time) -> Time {
        self.not_after.map_or(until, |end| end.min(until))
    }
}
