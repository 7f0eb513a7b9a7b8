//! Where tokens come from: the token endpoint of an authority (RFC 9447 §5, RFC 9448 §5.5).

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::error::ProblemDocument;
use super::{AcmeError, TokenWanted};
use crate::domain::text::strict_json;
use crate::domain::{Clock, Dialect, Passphrase, TkType, TkValue};
use crate::outgoing::{HttpRequest, HttpsUrl, Outgoing};
use crate::verifier;

/// A token endpoint and what proves who asks.
pub struct TokenEndpoint {
    pub http: Outgoing,
    pub url: HttpsUrl,
    pub api_key: Passphrase,
    /// Seconds that a token shall live; the authority decides, if it is not given.
    pub lifetime: Option<u32>,
    pub clock: Clock,
}

/// Without the key.
impl fmt::Debug for TokenEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenEndpoint")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl TokenEndpoint {
    /// Asks for a token, and looks whether it is for what was asked: a wrong one would only use up a challenge.
    ///
    /// # Errors
    /// [`AcmeError::Withheld`] if the authority refuses, [`AcmeError::Authority`] if it cannot answer now, and others if its
    /// answer is wrong.
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
        let ask = HttpRequest::Post {
            media_type: "application/json",
            body: body.as_bytes(),
        };
        let headers = [("Authorization", authorization.as_str())];
        let reply = self.http.send(&self.url, ask, &headers, Duration::MAX)?;
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
        let token = token.ok_or_else(|| AcmeError::TokenAnswer("no `token`".to_owned()))?;
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
