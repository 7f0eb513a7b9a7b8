//! One order, from the identifier to the certificate (RFC 8555 §7.4, RFC 9447 §3, RFC 9448).

use chrono::TimeDelta;
use serde_json::json;

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
use crate::signer::chain::Chain;
use crate::signer::csr::request_der;

const DOWNLOAD: &str = "the request for the certificate";
/// How far the clocks of a CA and of this machine may be apart.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::minutes(5);

/// What is wanted of a CA.
#[derive(Debug, Clone)]
pub struct CertificateRequest<'a> {
    pub list: &'a TnAuthList,
    /// Whether the certificate shall issue others.
    pub ca: bool,
    /// The subject, in the form of RFC 4514.
    pub subject: &'a str,
    /// Whether the CA shall renew it, and until when.
    pub renewal: Option<&'a AutoRenewal>,
}

/// An order that the CA has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedOrder {
    /// Names the order, also for its cancellation.
    pub url: HttpsUrl,
    tkvalue: String,
    authorization: HttpsUrl,
    finalize: HttpsUrl,
    star: bool,
}

/// A certificate that came of an order.
#[derive(Debug, Clone)]
pub struct IssuedCertificate {
    pub order: HttpsUrl,
    /// Where the CA publishes the next ones (RFC 8739 §3.3), if it renews.
    pub star: Option<HttpsUrl>,
    pub chain: Chain,
}

/// Orders a certificate, proves the numbers with a token, and fetches what was ordered.
///
/// `token` is asked only if the CA does not know the numbers of the account already.
///
/// # Errors
/// [`AcmeError`] says who refuses what, or what is wrong with an answer.
pub fn redeem(
    session: &AcmeSession<'_>,
    wanted: &CertificateRequest<'_>,
    key: &dyn SigningKey,
    token: &dyn Fn(&TokenWanted<'_>) -> Result<String, AcmeError>,
) -> Result<IssuedCertificate, AcmeError> {
    if key.public_key_der() == session.key().public_key_der() {
        return Err(AcmeError::SameKey);
    }
    let order = session.order(wanted)?;
    session.prove(&order, wanted, token)?;
    session.finalize(
        &order,
        &request_der(key, wanted.list, wanted.ca, wanted.subject)?,
    )?;
    let (certificate, star) = session.certificate(&order)?;
    let chain = session.download(&certificate)?;
    check_issued(&chain, wanted, key, session.clock.now())?;
    Ok(IssuedCertificate {
        order: order.url,
        star,
        chain,
    })
}

/// Whether a certificate is the one that was wanted, for this key, and in force at `at`.
///
/// # Errors
/// [`AcmeError::WrongCertificate`] says what is different.
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
    if leaf.not_before() > at + CLOCKS_DIFFER {
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
    ///
    /// # Errors
    /// [`AcmeError`].
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
        if !matches!(&body.identifiers[..], [one] if one.is(&tkvalue)) {
            return Err(malformed(
                "its identifiers are not the one that was ordered",
            ));
        }
        let [authorization] = &body.authorizations[..] else {
            return Err(malformed(
                "it has not one authorization for its one identifier",
            ));
        };
        if wanted.renewal.is_some() && body.auto_renewal.is_none() {
            return Err(malformed("it has no `auto-renewal`"));
        }
        let finalize = body.finalize.as_deref().unwrap_or_default();
        Ok(PlacedOrder {
            url,
            tkvalue,
            authorization: wire::url("authorizations", authorization)?,
            finalize: wire::url("finalize", finalize)?,
            star: wanted.renewal.is_some(),
        })
    }

    /// Answers the challenge with a token (RFC 9447 §3), and waits for what the CA says to it.
    ///
    /// # Errors
    /// [`AcmeError::ProofRefused`] with the CA's reason, or another one.
    pub fn prove(
        &self,
        order: &PlacedOrder,
        wanted: &CertificateRequest<'_>,
        token: &dyn Fn(&TokenWanted<'_>) -> Result<String, AcmeError>,
    ) -> Result<(), AcmeError> {
        const WHAT: &str = "the answer to its challenge";
        let (first, _) = self.authorization(order)?;
        match first.status.as_str() {
            "pending" => {}
            _ => return self.until_valid(order),
        }
        let challenge = wire::url("url", &challenge(&first)?.url)?;
        let token = token(&TokenWanted {
            list: wanted.list,
            ca: wanted.ca,
            fingerprint: self.key().fingerprint(),
        })?;
        let mut answer = json!({});
        answer[self.member.as_str()] = json!(token);
        let reply = self.post(WHAT, &challenge, Some(&answer))?;
        let mut answered: ChallengeBody = wire::read(WHAT, &reply.body)?;
        match self.until_valid(order) {
            // Some CAs give the reason here, and not with the authorization.
            Err(AcmeError::ProofRefused { problem: None }) => Err(AcmeError::ProofRefused {
                problem: answered.error.take().and_then(ProblemDocument::of),
            }),
            other => other,
        }
    }

    /// Hands in the CSR (RFC 8555 §7.4), and waits until the order is done.
    ///
    /// # Errors
    /// [`AcmeError::OrderRefused`] with the CA's reason, or another one.
    pub fn finalize(&self, order: &PlacedOrder, csr: &[u8]) -> Result<(), AcmeError> {
        use base64::Engine as _;
        const WHAT: &str = "the certificate request";
        let csr = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(csr);
        let known = self.state(order)?;
        if known.status == "valid" {
            return Ok(());
        }
        self.post(WHAT, &order.finalize, Some(&json!({ "csr": csr })))?;
        Ok(())
    }

    /// Waits for the certificate, and says where it is; and where the next ones will be, if the CA renews.
    fn certificate(&self, order: &PlacedOrder) -> Result<(HttpsUrl, Option<HttpsUrl>), AcmeError> {
        const WHAT: &str = "a certificate";
        let body = loop {
            let reply = self.post("the question for the order", &order.url, None)?;
            let mut body: OrderBody = wire::read("the question for the order", &reply.body)?;
            match body.status.as_str() {
                "valid" => break body,
                "processing" | "ready" | "pending" => {
                    let usual = std::time::Duration::from_secs(1);
                    self.wait(WHAT, self.retry_after(&reply).unwrap_or(usual))?;
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

    /// Fetches a certificate and those of its issuers (RFC 8555 §7.4.2).
    ///
    /// # Errors
    /// [`AcmeError`].
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

    fn state(&self, order: &PlacedOrder) -> Result<OrderBody, AcmeError> {
        const WHAT: &str = "the question for the order";
        let mut waited = 0;
        loop {
            let reply = self.post(WHAT, &order.url, None)?;
            let mut body: OrderBody = wire::read(WHAT, &reply.body)?;
            match body.status.as_str() {
                "ready" | "valid" | "processing" => return Ok(body),
                // The authorization is valid, and some CAs need a moment to see it.
                "pending" if waited < 10 => {
                    waited += 1;
                    let usual = std::time::Duration::from_secs(1);
                    self.wait(WHAT, self.retry_after(&reply).unwrap_or(usual))?;
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
        const WHAT: &str = "the question for the authorization";
        let reply = self.post(WHAT, &order.authorization, None)?;
        let body: AuthorizationBody = wire::read(WHAT, &reply.body)?;
        if !body.identifier.is(&order.tkvalue) {
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
                // Some CAs leave it pending while a challenge is processed, as RFC 8555 §7.1.6 draws it.
                "pending" | "processing" => {
                    let usual = std::time::Duration::from_secs(1);
                    self.wait("the CA's check of the token", retry_after.unwrap_or(usual))?;
                }
                _ => {
                    return Err(AcmeError::ProofRefused {
                        problem: body.problem(),
                    });
                }
            }
        }
    }
}

/// The challenge that a token answers (RFC 9448 §4).
fn challenge(authorization: &AuthorizationBody) -> Result<&ChallengeBody, AcmeError> {
    let fits =
        |c: &&ChallengeBody| c.kind == "tkauth-01" && c.tkauth_type.as_deref() == Some("atc");
    authorization
        .challenges
        .iter()
        .find(fits)
        .ok_or(AcmeError::Malformed {
            what: "the question for the authorization",
            why: "there is no challenge `tkauth-01` with the `tkauth-type` `atc`".to_owned(),
        })
}
