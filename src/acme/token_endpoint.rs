//! Requests tokens at the token endpoint of an authority (RFC 9447 §5, RFC 9448 §5.5).

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::error::ProblemDocument;
use super::{AcmeError, TokenWanted};
use crate::domain::text::strict_json;
use crate::domain::{Clock, Dialect, Passphrase, TkType, TkValue};
use crate::outgoing::{HttpRequest, HttpsUrl, Outgoing};
use crate::verifier;

/// A token endpoint, and the credential to call it with.
pub struct TokenEndpoint {
    pub http: Outgoing,
    pub url: HttpsUrl,
    pub api_key: Passphrase,
    /// The requested lifetime of a token, in seconds; the authority's default if `None`.
    pub lifetime: Option<u32>,
    pub clock: Clock,
}

/// Shows the URL, without the API key.
impl fmt::Debug for TokenEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenEndpoint")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl TokenEndpoint {
    /// Requests a token and checks that it matches the request: with a wrong one the challenge
    /// would fail, and could not be answered again.
    ///
    /// # Errors
    /// [`AcmeError::Withheld`] if the authority refuses, [`AcmeError::Authority`] for any other
    /// status, and other errors if its response is malformed.
    pub fn token(&self, wanted: &TokenWanted<'_>) -> Result<String, AcmeError> {
        let mut body = json!({
            "tktype": TkType::TnAuthList,
            "tkvalue": wanted.list.to_tkvalue(),
            "ca": wanted.ca,
            "fingerprint": wanted.fingerprint,
        });
        if let Some(lifetime) = self.lifetime {
            body["lifetime"] = json!(lifetime);
        }
        let body = body.to_string();
        let authorization = format!("Bearer {}", self.api_key.expose());
        let request = HttpRequest::Post {
            media_type: "application/json",
            body: body.as_bytes(),
        };
        let headers = [("Authorization", authorization.as_str())];
        let reply = self
            .http
            .send(&self.url, request, &headers, Duration::MAX)?;
        let problem = || ProblemDocument::read(&reply.body);
        match reply.status {
            200 => {}
            403 => return Err(AcmeError::Withheld(problem().unwrap_or_default())),
            status => {
                return Err(AcmeError::Authority {
                    status,
                    problem: problem(),
                });
            }
        }
        let answer = strict_json::from_slice(&reply.body);
        let answer = answer.map_err(|e| AcmeError::TokenAnswer(e.to_string()))?;
        let token = answer.get("token").and_then(Value::as_str);
        let token = token.ok_or_else(|| AcmeError::TokenAnswer("it has no `token`".to_owned()))?;
        self.check(token, wanted)?;
        Ok(token.to_owned())
    }

    fn check(&self, token: &str, wanted: &TokenWanted<'_>) -> Result<(), AcmeError> {
        let claims = verifier::lint(token, Dialect::Strict)?;
        if claims.tkvalue != TkValue::from(wanted.list.clone()) {
            return Err(AcmeError::OtherToken("another TNAuthList"));
        }
        if claims.fingerprint != wanted.fingerprint {
            return Err(AcmeError::OtherToken("another account's key"));
        }
        if claims.ca != wanted.ca {
            return Err(AcmeError::OtherToken("another `ca`"));
        }
        if claims.registered.exp <= self.clock.now() {
            return Err(AcmeError::TokenExpired(claims.registered.exp));
        }
        Ok(())
    }
}
