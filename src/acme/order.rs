//! An order, from placing it to downloading the certificate (RFC 8555 §7.4, RFC 9447 §3, RFC 9448).

use chrono::TimeDelta;
use serde_json::json;

use super::open_order::OpenOrder;
use super::session::{AcmeSession, location, status};
use super::star::AutoRenewal;
use super::wire::{self, AuthorizationBody, ChallengeBody, OrderBody, TN_AUTH_LIST};
use super::{AcmeError, ProblemDocument, TokenWanted};
use crate::domain::TnAuthList;
use crate::domain::clock::{Time, rfc3339};
use crate::domain::signing::certificate::Certificate;
use crate::domain::text::printable::printable;
use crate::outgoing::HttpsUrl;
use crate::signer::SigningKey;
use crate::signer::csr::request_der;
use crate::signer::published_chain::Chain;

const DOWNLOAD: &str = "the certificate download";
/// How far the clocks of a CA and of this machine may differ.
const MAX_CLOCK_SKEW: TimeDelta = TimeDelta::minutes(5);

/// The certificate to order.
#[derive(Debug, Clone)]
pub struct CertificateRequest<'a> {
    pub list: &'a TnAuthList,
    /// Whether the certificate may issue others.
    pub ca: bool,
    /// The subject, in the form of RFC 4514.
    pub subject: &'a str,
    /// Automatic renewal by the CA, if requested.
    pub renewal: Option<&'a AutoRenewal>,
}

/// An order that the CA has accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedOrder {
    /// Identifies the order, also to cancel it.
    pub url: HttpsUrl,
    list: TnAuthList,
    authorization: HttpsUrl,
    finalize: HttpsUrl,
    star: bool,
}

impl PlacedOrder {
    /// Whether it is an order for this list, renewed by the CA or not.
    pub(super) fn is_for(&self, wanted: &CertificateRequest<'_>) -> bool {
        self.list == *wanted.list && self.star == wanted.renewal.is_some()
    }
}

/// A certificate that was issued for an order.
#[derive(Debug, Clone)]
pub struct IssuedCertificate {
    pub order: HttpsUrl,
    /// The URL of the current certificate, if the CA renews it automatically (RFC 8739 §3.3).
    pub star: Option<HttpsUrl>,
    pub chain: Chain,
}

/// Orders a certificate, answers the challenge with a token, and downloads the certificate.
///
/// `token` is called only if the account has no valid authorization for these numbers yet.
pub fn redeem(
    session: &AcmeSession<'_>,
    wanted: &CertificateRequest<'_>,
    key: &dyn SigningKey,
    token: &dyn Fn(&TokenWanted<'_>) -> Result<String, AcmeError>,
) -> Result<IssuedCertificate, AcmeError> {
    OpenOrder::default().redeem(session, wanted, key, token)
}

/// Goes on with an order from its state (RFC 8555 §7.1.6).
pub(super) fn complete(
    session: &AcmeSession<'_>,
    order: &PlacedOrder,
    wanted: &CertificateRequest<'_>,
    key: &dyn SigningKey,
    token: &dyn Fn(&TokenWanted<'_>) -> Result<String, AcmeError>,
) -> Result<IssuedCertificate, AcmeError> {
    session.authorize(order, wanted, token)?;
    session.finalize(
        order,
        &request_der(key, wanted.list, wanted.ca, wanted.subject)?,
    )?;
    let (certificate, star) = session.certificate(order)?;
    let chain = session.download(&certificate)?;
    check_issued(&chain, wanted, key, session.clock.now())?;
    Ok(IssuedCertificate {
        order: order.url.clone(),
        star,
        chain,
    })
}

/// Checks that a certificate matches the order and the key, and is valid at `at`.
///
/// # Errors
/// [`AcmeError::WrongCertificate`] says what differs.
pub fn check_issued(
    chain: &Chain,
    wanted: &CertificateRequest<'_>,
    key: &dyn SigningKey,
    at: Time,
) -> Result<(), AcmeError> {
    let leaf: &Certificate = chain.leaf();
    let wrong = |why: String| Err(AcmeError::WrongCertificate(why));
    if chain.leaf_key_der() != key.public_key_der() {
        return wrong("it is for another key".to_owned());
    }
    match leaf.tn_auth_list() {
        Ok(list) if list == *wanted.list => {}
        Ok(list) => {
            return wrong(format!(
                "its TNAuthList is `{}`",
                printable(&list.to_tkvalue())
            ));
        }
        Err(error) => return wrong(error.to_string()),
    }
    if leaf.is_ca() != wanted.ca {
        return wrong(format!("its `cA` is {}", leaf.is_ca()));
    }
    if leaf.not_before() > at + MAX_CLOCK_SKEW {
        return wrong(format!(
            "it is not valid before {}",
            rfc3339(&leaf.not_before())
        ));
    }
    if leaf.not_after() <= at {
        return wrong(format!("it expired at {}", rfc3339(&leaf.not_after())));
    }
    Ok(())
}

impl AcmeSession<'_> {
    /// Places an order (RFC 8555 §7.4).
    pub fn order(&self, wanted: &CertificateRequest<'_>) -> Result<PlacedOrder, AcmeError> {
        const WHAT: &str = "the order";
        let tkvalue = wanted.list.to_tkvalue();
        let mut payload = json!({ "identifiers": [{ "type": TN_AUTH_LIST, "value": tkvalue }] });
        if let Some(renewal) = wanted.renewal {
            payload["auto-renewal"] = renewal.payload(&self.meta, self.clock.now())?;
        }
        let reply = self.post(WHAT, &self.new_order, Some(&payload))?;
        let url = location(WHAT, &reply)?;
        let body: OrderBody = wire::read(WHAT, &reply.body)?;
        let malformed = |why: &str| AcmeError::Malformed {
            what: WHAT,
            why: why.to_owned(),
        };
        if !matches!(&body.identifiers[..], [one] if one.is(wanted.list)) {
            return Err(malformed(
                "its identifiers differ from the one that was ordered",
            ));
        }
        let [authorization] = &body.authorizations[..] else {
            return Err(malformed(
                "it must have exactly one authorization, as it has one identifier",
            ));
        };
        if wanted.renewal.is_some() && body.auto_renewal.is_none() {
            return Err(malformed("it has no `auto-renewal`"));
        }
        let finalize = body.finalize.as_deref().unwrap_or_default();
        Ok(PlacedOrder {
            url,
            list: wanted.list.clone(),
            authorization: wire::url("authorizations", authorization)?,
            finalize: wire::url("finalize", finalize)?,
            star: wanted.renewal.is_some(),
        })
    }

    /// Answers the challenge with a token (RFC 9447 §3), and waits until the CA has checked it.
    ///
    /// # Errors
    /// [`AcmeError::TokenRefused`] with the CA's reason, or another error.
    pub fn authorize(
        &self,
        order: &PlacedOrder,
        wanted: &CertificateRequest<'_>,
        token: &dyn Fn(&TokenWanted<'_>) -> Result<String, AcmeError>,
    ) -> Result<(), AcmeError> {
        const WHAT: &str = "the challenge response";
        let (first, _) = self.authorization(order)?;
        if !is_unanswered(&first)? {
            return self.until_valid(order);
        }
        let challenge_url = wire::url("url", &challenge(&first)?.url)?;
        let token = token(&TokenWanted {
            list: wanted.list,
            ca: wanted.ca,
            fingerprint: self.key().fingerprint(),
        })?;
        let mut payload = json!({});
        payload[self.member.as_str()] = json!(token);
        let still_open = || is_unanswered(&self.authorization(order)?.0);
        let reply = self.post_while(WHAT, &challenge_url, &payload, &still_open)?;
        let answered = reply.map(|reply| wire::read::<ChallengeBody>(WHAT, &reply.body));
        let answered = answered.transpose()?;
        match self.until_valid(order) {
            // Some CAs report the reason only in the response to the challenge, not in the
            // authorization.
            Err(AcmeError::TokenRefused { problem: None }) => Err(AcmeError::TokenRefused {
                problem: answered.and_then(|c| c.error).and_then(ProblemDocument::of),
            }),
            other => other,
        }
    }

    /// Waits until the order is ready, and submits the CSR (RFC 8555 §7.4). In no other state than
    /// `ready` is a CSR sent.
    ///
    /// # Errors
    /// [`AcmeError::OrderRefused`] with the CA's reason, or another error.
    pub fn finalize(&self, order: &PlacedOrder, csr: &[u8]) -> Result<(), AcmeError> {
        use base64::Engine as _;
        const WHAT: &str = "the certificate signing request";
        let csr = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(csr);
        if self.is_ready(order)? {
            let payload = json!({ "csr": csr });
            let is_ready = || self.is_ready(order);
            self.post_while(WHAT, &order.finalize, &payload, &is_ready)?;
        }
        Ok(())
    }

    /// Waits for the certificate. Returns its URL, and that of automatically renewed ones if the CA
    /// renews.
    fn certificate(&self, order: &PlacedOrder) -> Result<(HttpsUrl, Option<HttpsUrl>), AcmeError> {
        const WHAT: &str = "the certificate";
        let body = loop {
            let reply = self.post("the order status request", &order.url, None)?;
            let mut body: OrderBody = wire::read("the order status request", &reply.body)?;
            match body.status.as_str() {
                "valid" => break body,
                "processing" | "ready" | "pending" => {
                    let default = std::time::Duration::from_secs(1);
                    self.wait(WHAT, self.retry_after(&reply).unwrap_or(default))?;
                }
                other => {
                    return Err(AcmeError::OrderRefused {
                        status: printable(other),
                        problem: body.error.take().and_then(ProblemDocument::of),
                    });
                }
            }
        };
        if order.star {
            let star = body.star_certificate.as_deref().unwrap_or_default();
            let star = wire::url("star-certificate", star)?;
            return Ok((star.clone(), Some(star)));
        }
        let certificate = body.certificate.as_deref().unwrap_or_default();
        Ok((wire::url("certificate", certificate)?, None))
    }

    /// Downloads a certificate and those of its issuers (RFC 8555 §7.4.2).
    pub fn download(&self, url: &HttpsUrl) -> Result<Chain, AcmeError> {
        let reply = self.post(DOWNLOAD, url, None)?;
        let malformed = |why: String| AcmeError::Malformed {
            what: DOWNLOAD,
            why,
        };
        if reply.status != 200 {
            return Err(status(DOWNLOAD, &reply));
        }
        let pem = String::from_utf8(reply.body).map_err(|e| malformed(e.to_string()))?;
        Chain::from_pem(&pem).map_err(|e| malformed(e.to_string()))
    }

    /// Whether the order waits for a CSR; `false` if it has one (RFC 8555 §7.1.6).
    fn is_ready(&self, order: &PlacedOrder) -> Result<bool, AcmeError> {
        const WHAT: &str = "the order status request";
        let mut attempts = 0;
        loop {
            let reply = self.post(WHAT, &order.url, None)?;
            let mut body: OrderBody = wire::read(WHAT, &reply.body)?;
            match body.status.as_str() {
                "ready" => return Ok(true),
                "valid" | "processing" => return Ok(false),
                // The authorization is valid, but some CAs update the order only a moment later.
                "pending" if attempts < 10 => {
                    attempts += 1;
                    let default = std::time::Duration::from_secs(1);
                    self.wait(WHAT, self.retry_after(&reply).unwrap_or(default))?;
                }
                other => {
                    return Err(AcmeError::OrderRefused {
                        status: printable(other),
                        problem: body.error.take().and_then(ProblemDocument::of),
                    });
                }
            }
        }
    }

    fn authorization(
        &self,
        order: &PlacedOrder,
    ) -> Result<(AuthorizationBody, Option<std::time::Duration>), AcmeError> {
        const WHAT: &str = "the authorization request";
        let reply = self.post(WHAT, &order.authorization, None)?;
        let body: AuthorizationBody = wire::read(WHAT, &reply.body)?;
        if !body.identifier.is(&order.list) {
            return Err(AcmeError::Malformed {
                what: WHAT,
                why: "its identifier is not the one that was ordered".to_owned(),
            });
        }
        Ok((body, self.retry_after(&reply)))
    }

    fn until_valid(&self, order: &PlacedOrder) -> Result<(), AcmeError> {
        loop {
            let (mut body, retry_after) = self.authorization(order)?;
            match body.status.as_str() {
                "valid" => return Ok(()),
                // An authorization is pending while a challenge is processed (RFC 8555 §7.1.6);
                // some CAs report `processing`.
                "pending" | "processing" => {
                    let default = std::time::Duration::from_secs(1);
                    self.wait("the CA to check the token", retry_after.unwrap_or(default))?;
                }
                _ => {
                    return Err(AcmeError::TokenRefused {
                        problem: body.problem(),
                    });
                }
            }
        }
    }
}

/// Whether a token is still to be sent: the authorization and its challenge are pending (RFC 8555
/// §7.1.6).
fn is_unanswered(authorization: &AuthorizationBody) -> Result<bool, AcmeError> {
    if authorization.status != "pending" {
        return Ok(false);
    }
    let challenge = challenge(authorization)?;
    match challenge.status.as_deref() {
        None | Some("pending") => Ok(true),
        Some("processing" | "valid") => Ok(false),
        Some(_) => Err(AcmeError::TokenRefused {
            problem: challenge.error.clone().and_then(ProblemDocument::of),
        }),
    }
}

/// The challenge that is answered with a token (RFC 9448 §4).
fn challenge(authorization: &AuthorizationBody) -> Result<&ChallengeBody, AcmeError> {
    let takes_token =
        |c: &&ChallengeBody| c.kind == "tkauth-01" && c.tkauth_type.as_deref() == Some("atc");
    authorization
        .challenges
        .iter()
        .find(takes_token)
        .ok_or(AcmeError::Malformed {
            what: "the authorization request",
            why: "it has no challenge `tkauth-01` with the `tkauth-type` `atc`".to_owned(),
        })
}
