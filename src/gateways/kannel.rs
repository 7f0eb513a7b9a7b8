//! The `sendsms` interface of Kannel's smsbox, by POST: the password, the number and the text are
//! in header fields and the body, and so in no log of URLs.

use std::time::Duration;

use super::alphabet::is_gsm;
use super::error::GatewayError;
use super::gateway::{Gateway, OutgoingCode};
use super::http::checked_url;
use super::http_reply::{ExpectedReply, asked_wait, outcome};
use crate::domain::Passphrase;
use crate::domain::control::sending::{SendFailure, SendOutcome};
use crate::outgoing::{OperatorClient, OperatorRequest};

/// The status of a message that the smsbox has accepted or queued.
const ACCEPTED: u16 = 202;

/// A Kannel, as the configuration describes it.
#[derive(Debug, Clone)]
pub struct KannelSettings {
    /// Such as `http://127.0.0.1:13013/cgi-bin/sendsms`.
    pub target: String,
    pub username: String,
    pub password: Passphrase,
    /// Who the message is from; by default as Kannel is configured.
    pub from: Option<String>,
    pub ca_pem: Option<String>,
    pub allow_plain: bool,
    pub timeout: Duration,
}

/// A gateway by Kannel.
#[derive(Debug)]
pub struct KannelGateway {
    client: OperatorClient,
    url: String,
    username: String,
    password: Passphrase,
    from: Option<String>,
}

impl KannelGateway {
    /// # Errors
    /// [`GatewayError`] if the URL, the password or the CAs cannot be used.
    pub fn new(settings: KannelSettings) -> Result<Self, GatewayError> {
        let is_visible = |b: u8| b == b' ' || b.is_ascii_graphic();
        let password = settings.password.expose();
        if password.is_empty() || !password.bytes().all(is_visible) {
            return Err(GatewayError::wrong(
                "secret_file",
                &"has a password that is not visible ASCII",
            ));
        }
        let client = OperatorClient::new(settings.ca_pem.as_deref(), settings.timeout);
        Ok(Self {
            client: client.map_err(|error| GatewayError::wrong("ca_file", &error))?,
            url: checked_url(&settings.target, settings.allow_plain)?,
            username: settings.username,
            password: settings.password,
            from: settings.from,
        })
    }
}

impl Gateway for KannelGateway {
    fn send(&self, code: &OutgoingCode) -> SendOutcome {
        let coding = if is_gsm(&code.text) { "0" } else { "2" };
        let number = code.number.to_string();
        let mut headers: Vec<(String, String)> = [
            ("content-type", "text/plain; charset=UTF-8"),
            ("x-kannel-username", &self.username),
            ("x-kannel-password", self.password.expose()),
            ("x-kannel-to", &number),
            ("x-kannel-coding", coding),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
        if let Some(from) = &self.from {
            headers.push(("x-kannel-from".to_owned(), from.clone()));
        }
        let reply = self.client.send(OperatorRequest {
            method: "POST",
            url: &self.url,
            headers: &headers,
            body: Some(code.text.as_bytes()),
        });
        // An smsbox without a connection to the bearerbox answers 503. So does what is before it,
        // perhaps after the smsbox has accepted the message.
        match reply {
            Ok(reply) if reply.status == 503 => {
                SendOutcome::Unclear(SendFailure::Unreachable, asked_wait(&reply))
            }
            reply => outcome(
                reply,
                &ExpectedReply {
                    status: Some(ACCEPTED),
                    text: None,
                },
            ),
        }
    }
}
