//! Certificates that the CA renews automatically (STAR, RFC 8739), until an end date or until the
//! order is canceled.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::AcmeError;
use super::session::AcmeSession;
use super::wire::{self, Meta, OrderBody};
use crate::domain::clock::{Time, rfc3339};
use crate::domain::text::printable::printable;
use crate::outgoing::HttpsUrl;
use crate::signer::published_chain::Chain;

/// The automatic renewal of an order (RFC 8739 §3.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutoRenewal {
    /// When the last certificate expires.
    pub until: Time,
    /// How long each certificate is valid, in seconds.
    pub lifetime: u32,
}

impl AutoRenewal {
    /// The member `auto-renewal` of an order, or an error if the CA does not support it (§3.2). An
    /// order with this member must not have `notBefore` or `notAfter`.
    pub(super) fn payload(&self, meta: &Meta, now: Time) -> Result<Value, AcmeError> {
        let offer = meta.auto_renewal.as_ref().ok_or(AcmeError::NoStar)?;
        if u64::from(self.lifetime) < offer.min_lifetime {
            return Err(AcmeError::StarLifetime(offer.min_lifetime));
        }
        let longest = i64::try_from(offer.max_duration).ok();
        let longest = longest
            .and_then(TimeDelta::try_seconds)
            .unwrap_or(TimeDelta::MAX);
        if self.until - now > longest {
            return Err(AcmeError::StarDuration(offer.max_duration));
        }
        Ok(json!({ "end-date": rfc3339(&self.until), "lifetime": self.lifetime }))
    }
}

impl AcmeSession<'_> {
    /// Downloads the current certificate (§3.3).
    ///
    /// # Errors
    /// [`AcmeError::StarEnded`] if the CA no longer renews it, or another error.
    pub fn next_star(&self, url: &HttpsUrl) -> Result<Chain, AcmeError> {
        self.download(url).map_err(ended)
    }

    /// Cancels an order permanently (§3.1.2): the CA issues no further certificates for it. The
    /// last one remains valid until it expires. An order that is canceled already stays so.
    ///
    /// # Errors
    /// [`AcmeError::NotCancelable`] in a state in which a client must not cancel, or another error
    /// if the CA does not confirm the cancellation.
    pub fn cancel(&self, order: &HttpsUrl) -> Result<(), AcmeError> {
        const WHAT: &str = "the cancellation";
        let is_uncanceled = || {
            let what = "the order status request";
            let body: OrderBody = wire::read(what, &self.post(what, order, None)?.body)?;
            match body.status.as_str() {
                "valid" => Ok(true),
                "canceled" => Ok(false),
                other => Err(AcmeError::NotCancelable(printable(other))),
            }
        };
        if !is_uncanceled()? {
            return Ok(());
        }
        let payload = json!({ "status": "canceled" });
        let Some(reply) = self.post_while(WHAT, order, &payload, &is_uncanceled)? else {
            return Ok(());
        };
        let body: OrderBody = wire::read(WHAT, &reply.body)?;
        if body.status == "canceled" {
            return Ok(());
        }
        Err(AcmeError::Malformed {
            what: WHAT,
            why: format!("the order is `{}`", printable(&body.status)),
        })
    }
}

/// Recognizes the end of an automatic renewal (RFC 8739 §3.1.2, §3.3).
fn ended(error: AcmeError) -> AcmeError {
    match error {
        AcmeError::Status { problem, .. }
            if problem
                .as_ref()
                .is_some_and(|p| p.is("autoRenewalCanceled") || p.is("autoRenewalExpired")) =>
        {
            AcmeError::StarEnded(problem)
        }
        other => other,
    }
}
