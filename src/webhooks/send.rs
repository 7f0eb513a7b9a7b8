//! One attempt: a POST with a signature, and what came back. Nothing of an answer but its status is looked at.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use thiserror::Error;
use ureq::Agent;
use ureq::tls::TlsConfig;
use ureq::unversioned::transport::DefaultConnector;

use super::guard::{Guard, NameLookup};
use super::sign::{Secrets, SignError};
use crate::authority::Assignment;
use crate::domain::clock::rfc3339;
use crate::domain::inventory::withdrawal::Withdrawn;
use crate::domain::webhook::{DeliveryFailure, TargetAnswer};
use crate::domain::{Network, Time};
use crate::outgoing::{self, OutgoingError};

/// How long an attempt may take. Well below the lease of a webhook.
const PATIENCE: Duration = Duration::from_secs(15);
const CONNECT: Duration = Duration::from_secs(5);
/// The longest head of an answer.
const MAX_HEAD: usize = 16_384;

/// Why nothing can be sent at all. Says what to do.
#[derive(Debug, Error)]
pub enum SendError {
    #[error("`{path}` cannot be used as webhooks.ca_file: {why}")]
    CaFile { path: PathBuf, why: String },
    #[error(transparent)]
    Tls(OutgoingError),
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// How things are sent.
#[derive(Debug)]
pub struct SenderSettings {
    /// Networks inside that may be told too.
    pub allow_private: Vec<Network>,
    /// PEM of the CAs that targets are believed by; those of the system when there is none.
    pub ca_file: Option<PathBuf>,
    /// What secrets are derived from.
    pub key: Vec<u8>,
    pub names: Arc<dyn NameLookup>,
}

/// Sends to targets.
#[derive(Debug)]
pub struct Sender {
    agent: Agent,
    guard: Guard,
    secrets: Secrets,
}

impl Sender {
    /// Makes ready to send.
    ///
    /// # Errors
    /// [`SendError`] if the file of CAs is none.
    pub fn new(settings: SenderSettings) -> Result<Self, SendError> {
        let config = Agent::config_builder()
            .tls_config(tls(settings.ca_file.as_deref())?)
            .https_only(true)
            .http_status_as_error(false)
            // A redirect is an answer, and no way to anywhere.
            .max_redirects(0)
            .max_redirects_will_error(false)
            // What the environment says of proxies would lead past the guard.
            .proxy(None)
            // Each attempt looks its name up again, and is checked again.
            .max_idle_connections(0)
            .max_response_header_size(MAX_HEAD)
            .timeout_global(Some(PATIENCE))
            .timeout_connect(Some(CONNECT))
            .user_agent(concat!("tn-authority/", env!("CARGO_PKG_VERSION")))
            .build();
        let guard = Guard::new(settings.allow_private, settings.names);
        Ok(Self {
            agent: Agent::with_parts(config, DefaultConnector::default(), guard.clone()),
            guard,
            secrets: Secrets::new(&settings.key)?,
        })
    }

    /// Says where to things may be sent.
    #[must_use]
    pub const fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Makes the secrets of webhooks.
    #[must_use]
    pub const fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Sends a delivery, once. Blocks.
    ///
    /// # Errors
    /// [`SignError`] if it cannot be signed; then nothing was sent.
    pub fn send(&self, assignment: &Assignment, now: Time) -> Result<TargetAnswer, SignError> {
        let (webhook, delivery) = (&assignment.webhook, &assignment.delivery);
        let body = message(assignment).to_string();
        let timestamp = now.timestamp();
        let signature = self.secrets.sign(
            webhook.id,
            &webhook.generations(now),
            (delivery.id, timestamp, &body),
        )?;
        let request = self.agent.post(webhook.url.as_str());
        let sent = request
            .header("content-type", "application/json")
            .header("webhook-id", delivery.id.to_string())
            .header("webhook-timestamp", timestamp.to_string())
            .header("webhook-signature", signature)
            .send(&body);
        Ok(match sent {
            Ok(answer) => TargetAnswer::Status(answer.status().as_u16()),
            Err(error) => TargetAnswer::Nothing(failure(&error)),
        })
    }
}

/// The message of a delivery, the same in each attempt.
fn message(assignment: &Assignment) -> Value {
    let delivery = &assignment.delivery;
    json!({
        "type": delivery.kind.as_str(),
        "timestamp": rfc3339(&delivery.created_at),
        "data": {
            "items": assignment.items.iter().map(item).collect::<Vec<_>>(),
            "next_after": delivery.last,
        },
    })
}

/// As in `GET /v1/withdrawals`, but for the row by which authority ended.
fn item(withdrawn: &Withdrawn) -> Value {
    json!({
        "sequence": withdrawn.sequence,
        "jti": withdrawn.jti,
        "account": withdrawn.account,
        "numbers": withdrawn.numbers,
        "reason": withdrawn.ended.reason,
        "at": rfc3339(&withdrawn.ended.at),
        "expires": rfc3339(&withdrawn.expires_at),
        "recorded_at": rfc3339(&withdrawn.recorded_at),
    })
}

/// One word for what went wrong. What a target says is neither kept nor logged.
fn failure(error: &ureq::Error) -> DeliveryFailure {
    match error {
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            DeliveryFailure::RefusedAddress
        }
        ureq::Error::HostNotFound => DeliveryFailure::NoAddress,
        ureq::Error::Timeout(_) => DeliveryFailure::Timeout,
        ureq::Error::NativeTls(_) | ureq::Error::Tls(_) | ureq::Error::TlsRequired => {
            DeliveryFailure::Tls
        }
        ureq::Error::Io(_) | ureq::Error::ConnectionFailed => DeliveryFailure::Connection,
        _ => DeliveryFailure::Protocol,
    }
}

fn tls(ca_file: Option<&Path>) -> Result<TlsConfig, SendError> {
    let Some(path) = ca_file else {
        return outgoing::tls(None).map_err(SendError::Tls);
    };
    let wrong = |why: String| SendError::CaFile {
        path: path.to_owned(),
        why,
    };
    let pem = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    outgoing::tls(Some(&pem)).map_err(|error| wrong(error.to_string()))
}
