//! An HTTPS client as anybody's: it trusts the development CA and nothing else.

use std::error::Error;

use serde_json::Value;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

/// A caller with its key.
pub struct Client {
    agent: Agent,
    url: String,
    authorization: String,
}

impl Client {
    pub fn new(url: &str, ca_pem: &str, api_key: &str) -> Result<Self, Box<dyn Error>> {
        let root = Certificate::from_pem(ca_pem.as_bytes())?;
        let tls = TlsConfig::builder()
            .provider(TlsProvider::NativeTls)
            .root_certs(RootCerts::new_with_certs(&[root]))
            .build();
        // Statuses are answers here, and what the environment says of proxies is not about loopback.
        let config = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .proxy(None)
            .build();
        Ok(Self {
            agent: config.into(),
            url: url.to_owned(),
            authorization: format!("Bearer {api_key}"),
        })
    }

    pub fn post(&self, path: &str, body: &Value) -> Result<Answer, Box<dyn Error>> {
        println!("   POST {path} {body}");
        let request = self.agent.post(format!("{}{path}", self.url));
        read(
            request
                .header("Authorization", &self.authorization)
                .send_json(body)?,
        )
    }

    pub fn put(&self, path: &str, body: &Value) -> Result<Answer, Box<dyn Error>> {
        println!("   PUT {path} {body}");
        let request = self.agent.put(format!("{}{path}", self.url));
        read(
            request
                .header("Authorization", &self.authorization)
                .send_json(body)?,
        )
    }

    pub fn get_text(&self, path: &str) -> Result<String, Box<dyn Error>> {
        let mut response = self.agent.get(format!("{}{path}", self.url)).call()?;
        if response.status() != 200 {
            return Err(format!("GET {path}: {}", response.status()).into());
        }
        Ok(response.body_mut().read_to_string()?)
    }
}

fn read(mut response: ureq::http::Response<ureq::Body>) -> Result<Answer, Box<dyn Error>> {
    let status = response.status().as_u16();
    let body = response.body_mut().read_to_string()?;
    Ok(Answer {
        status,
        body: serde_json::from_str(&body)?,
    })
}
