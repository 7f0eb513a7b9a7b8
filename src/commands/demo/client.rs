//! An ordinary HTTPS client, which trusts only the development CA.

use std::error::Error;
use std::time::Duration;

use crate::commands::output::say;
use serde_json::Value;
use tn_authority::outgoing::{HttpReply, HttpRequest, HttpsUrl, Outgoing, ReplyLimits, Way};

const LIMITS: ReplyLimits = ReplyLimits {
    body: 1024 * 1024,
    time: Duration::from_secs(60),
};

/// The answer to a call.
#[derive(Debug)]
pub struct HttpAnswer {
    pub status: u16,
    pub body: Value,
}

/// A caller with its API key.
pub struct Client {
    http: Outgoing,
    url: String,
    authorization: String,
}

impl Client {
    pub fn new(url: &str, ca_pem: &str, api_key: &str) -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            // Proxies from the environment are not meant for loopback.
            http: Outgoing::new(Some(ca_pem), LIMITS, Way::Direct)?,
            url: url.to_owned(),
            authorization: format!("Bearer {api_key}"),
        })
    }

    pub fn post(&self, path: &str, body: &Value) -> Result<HttpAnswer, Box<dyn Error>> {
        say!("   POST {path} {body}");
        let body = body.to_string();
        self.json(
            path,
            HttpRequest::Post {
                media_type: "application/json",
                body: body.as_bytes(),
            },
        )
    }

    pub fn put(&self, path: &str, body: &Value) -> Result<HttpAnswer, Box<dyn Error>> {
        say!("   PUT {path} {body}");
        let body = body.to_string();
        self.json(
            path,
            HttpRequest::Put {
                media_type: "application/json",
                body: body.as_bytes(),
            },
        )
    }

    pub fn get_text(&self, path: &str) -> Result<String, Box<dyn Error>> {
        let reply = self.send(path, HttpRequest::Get, &[])?;
        if reply.status != 200 {
            return Err(format!("GET {path}: {}", reply.status).into());
        }
        Ok(String::from_utf8(reply.body)?)
    }

    fn json(&self, path: &str, ask: HttpRequest<'_>) -> Result<HttpAnswer, Box<dyn Error>> {
        let reply = self.send(path, ask, &[("Authorization", &self.authorization)])?;
        Ok(HttpAnswer {
            status: reply.status,
            body: serde_json::from_slice(&reply.body)?,
        })
    }

    fn send(
        &self,
        path: &str,
        ask: HttpRequest<'_>,
        headers: &[(&str, &str)],
    ) -> Result<HttpReply, Box<dyn Error>> {
        let url: HttpsUrl = format!("{}{path}", self.url).parse()?;
        Ok(self.http.send(&url, ask, headers, Duration::MAX)?)
    }
}
