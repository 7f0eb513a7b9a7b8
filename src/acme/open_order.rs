//! An order that the CA has not decided in time, and that the next attempt continues.

use super::AcmeError;
use super::TokenWanted;
use super::order::{CertificateRequest, IssuedCertificate, PlacedOrder, complete};
use super::session::AcmeSession;
use crate::outgoing::OutgoingError;
use crate::signer::SigningKey;

/// How often an order is continued. Some CAs leave an order `processing` that they have given up.
const MAX_CONTINUED: u32 = 3;

/// The order that an attempt has left open. A further order would leave its certificate at the CA.
#[derive(Debug, Default)]
pub struct OpenOrder {
    order: Option<PlacedOrder>,
    continued: u32,
}

impl OpenOrder {
    /// Gets a certificate: from the order that was left open, if it is for the same list, or from a
    /// new one. See [`redeem`](super::redeem).
    pub fn redeem(
        &mut self,
        session: &AcmeSession<'_>,
        wanted: &CertificateRequest<'_>,
        key: &dyn SigningKey,
        token: &dyn Fn(&TokenWanted<'_>) -> Result<String, AcmeError>,
    ) -> Result<IssuedCertificate, AcmeError> {
        if key.public_key_der() == session.key().public_key_der() {
            return Err(AcmeError::SameKey);
        }
        let open = self.order.take().filter(|order| order.is_for(wanted));
        let order = if let Some(order) = open.filter(|_| self.continued < MAX_CONTINUED) {
            self.continued += 1;
            order
        } else {
            self.continued = 0;
            session.order(wanted)?
        };
        let issued = complete(session, &order, wanted, key, token);
        if issued.as_ref().is_err_and(leaves_open) {
            self.order = Some(order);
        }
        issued
    }
}

/// Whether the CA may still issue a certificate for the order. Any other failure would be repeated.
const fn leaves_open(error: &AcmeError) -> bool {
    matches!(
        error,
        AcmeError::Late { .. }
            | AcmeError::Outgoing(OutgoingError::Late { .. } | OutgoingError::Failed { .. })
            | AcmeError::Status {
                status: 429 | 500..=599,
                ..
            }
            | AcmeError::Authority {
                status: 429 | 500..=599,
                ..
            }
    )
}
