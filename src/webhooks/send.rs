//! One attempt: a signed POST. Only the status and `Retry-After` of the response are read.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use serde_json::{Value, json};
use thiserror::Error;
use ureq::Agent;
use ureq::tls::TlsConfig;
use ureq::unversioned::transport::DefaultConnector;

use super::guard::{Guard, NameLookup};
use super::sign::{Secrets, SignError};
use crate::authority::{Assignment, FeedItems};
use crate::domain::clock::rfc3339;
use crate::domain::control::failure::FailedControl;
use crate::domain::inventory::withdrawal::Withdrawn;
use crate::domain::network::embedded_ipv4::Nat64Prefix;
use crate::domain::network::retry_after::RetryAfter;
use crate::domain::webhook::{DeliveryFailure, TargetAnswer};
use crate::domain::{Network, Time};
use crate::outgoing::{self, OutgoingError};
use crate::regular_file::WatchedFile;

/// Timeout of an attempt. It must be well below the lease of a webhook.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(15);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest response header in bytes.
const MAX_HEADER_BYTES: usize = 16_384;

/// Why nothing can be sent at all.
#[derive(Debug, Error)]
pub enum SendError {
    #[error("`{path}` cannot be used as webhooks.ca_file: {why}")]
    CaFile { path: PathBuf, why: String },
    #[error(transparent)]
    Tls(OutgoingError),
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// The configuration of a sender.
#[derive(Debug)]
pub struct SenderSettings {
    /// Internal networks that are allowed as well.
    pub allow_private: Vec<Network>,
    /// The prefixes of translators, besides the well-known one.
    pub nat64_prefixes: Vec<Nat64Prefix>,
    /// A PEM file of the CAs that targets are verified against; by default those of the system.
    pub ca_file: Option<PathBuf>,
    /// The key that the webhooks' secrets are derived from.
    pub key: Vec<u8>,
    /// The one before it, which they are derived from until they are rotated.
    pub previous_key: Option<Vec<u8>>,
    pub names: Arc<dyn NameLookup>,
}

/// Sends deliveries to targets.
#[derive(Debug)]
pub struct Sender {
    agent: RwLock<Agent>,
    ca_file: Option<WatchedFile>,
    guard: Guard,
    secrets: Secrets,
}

impl Sender {
    /// Prepares the TLS settings, the HTTP client and the secrets.
    pub fn new(settings: SenderSettings) -> Result<Self, SendError> {
        let guard = Guard::new(
            settings.allow_private,
            settings.nat64_prefixes,
            settings.names,
        );
        let ca_file = settings.ca_file.map(WatchedFile::new);
        Ok(Self {
            agent: RwLock::new(agent(tls(ca_file.as_ref())?, guard.clone())),
            ca_file,
            guard,
            secrets: Secrets::new(&settings.key, settings.previous_key.as_deref())?,
        })
    }

    /// The file of the CAs, if there is one.
    #[must_use]
    pub const fn ca_file(&self) -> Option<&WatchedFile> {
        self.ca_file.as_ref()
    }

    /// Reads the file of the CAs again; deliveries that are sent from now on use them.
    ///
    /// # Errors
    /// [`SendError`] if it is faulty. It changes nothing then.
    pub fn read_ca_file_again(&self) -> Result<(), SendError> {
        let agent = agent(tls(self.ca_file.as_ref())?, self.guard.clone());
        *self.agent.write() = agent;
        Ok(())
    }

    #[must_use]
    pub const fn guard(&self) -> &Guard {
        &self.guard
    }

    #[must_use]
    pub const fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Sends a delivery once. Blocks.
    ///
    /// # Errors
    /// If it cannot be signed; nothing was sent then.
    pub fn send(&self, assignment: &Assignment, now: Time) -> Result<TargetAnswer, SignError> {
        let (webhook, delivery) = (&assignment.webhook, &assignment.delivery);
        let body = message(assignment).to_string();
        let timestamp = now.timestamp();
        let signature = self
            .secrets
            .sign(webhook, now, (delivery.id, timestamp, &body))?;
        // An attempt under way does not keep the CAs from being replaced.
        let request = self.agent.read().post(webhook.url.as_str());
        let sent = request
            .header("content-type", "application/json")
            .header("webhook-id", delivery.id.to_string())
            .header("webhook-timestamp", timestamp.to_string())
            .header("webhook-signature", signature)
            .send(&body);
        Ok(match sent {
            Ok(answer) => {
                let retry_after = answer.headers().get("retry-after");
                let retry_after = retry_after.and_then(|value| value.to_str().ok());
                TargetAnswer::Status(
                    answer.status().as_u16(),
                    retry_after.and_then(RetryAfter::parse),
                )
            }
            Err(error) => TargetAnswer::Nothing(failure(&error)),
        })
    }
}

/// The message of a delivery. It is the same in each attempt.
fn message(assignment: &Assignment) -> Value {
    let delivery = &assignment.delivery;
    json!({
        "type": delivery.kind.as_str(),
        "timestamp": rfc3339(&delivery.created_at),
        "data": {
            "items": items(&assignment.items),
            "next_after": delivery.last,
        },
    })
}

fn items(items: &FeedItems) -> Vec<Value> {
    match items {
        FeedItems::Withdrawn(items) => items.iter().map(item).collect(),
        FeedItems::Failed(items) => items.iter().map(failed).collect(),
    }
}

/// An entry as in `GET /v1/control-failures`, with the part of the proof that does not change.
fn failed(failed: &FailedControl) -> Value {
    let proof = &failed.proof;
    json!({
        "sequence": failed.sequence,
        "proof": proof.id,
        "account": proof.account,
        "number": proof.number,
        "method": proof.method,
        "renewal": proof.renewal,
        "reason": failed.failure,
        "started_at": rfc3339(&proof.started_at),
        "failed_at": rfc3339(&failed.at),
    })
}

/// An entry as in `GET /v1/withdrawals`, but without the row that ended the authority.
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

/// Classifies a failure. What a target answers is neither stored nor logged.
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

fn agent(tls: TlsConfig, guard: Guard) -> Agent {
    let config = Agent::config_builder()
        .tls_config(tls)
        .https_only(true)
        .http_status_as_error(false)
        // A redirect could lead anywhere, so it counts as the final response.
        .max_redirects(0)
        .max_redirects_will_error(false)
        // A proxy from the environment would bypass the guard.
        .proxy(None)
        // No connection is reused: every attempt resolves and checks its target again.
        .max_idle_connections(0)
        .max_response_header_size(MAX_HEADER_BYTES)
        .timeout_global(Some(ATTEMPT_TIMEOUT))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .user_agent(concat!("tn-authority/", env!("CARGO_PKG_VERSION")))
        .build();
    Agent::with_parts(config, DefaultConnector::default(), guard)
}

fn tls(ca_file: Option<&WatchedFile>) -> Result<TlsConfig, SendError> {
    let Some(file) = ca_file else {
        return outgoing::tls(None).map_err(SendError::Tls);
    };
    let unusable = |why: String| SendError::CaFile {
        path: file.path().to_owned(),
        why,
    };
    let pem = file
        .read_text()
        .map_err(|error| unusable(error.to_string()))?;
    outgoing::tls(Some(&pem)).map_err(|error| unusable(error.to_string()))
}
