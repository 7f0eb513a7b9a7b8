//! The configuration: TOML and environment, plain data. What a section means is the business of the room that gets it.
//!
//! Every key has a default or may be left out, so that the service boots on SQLite with no file at all. A key that nobody
//! knows is an error: a mistyped one would otherwise be a default that nobody chose.

mod facade;
mod limits;
mod list;
mod proofs;
mod secret;
mod share;
mod validate;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use config::{Environment, File, FileFormat};
use serde::Deserialize;
use thiserror::Error;

use crate::domain::{AccountId, Network, Passphrase, Spc};
use crate::telemetry::LogFormat;

pub use facade::Facade;
pub use limits::Limits;
use list::list;
pub use proofs::{CertificateCaller, ClientCertificates, Issuer, OAuth, Proxy};
pub use secret::{DatabaseUrl, Secret, SecretError};
pub use share::Share;

/// Why a configuration cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("the configuration cannot be read: {0}")]
    Read(#[from] config::ConfigError),
    #[error("the configuration is wrong: `{key}` {why}")]
    Wrong { key: String, why: String },
}

/// All sections.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub carrier: Carrier,
    pub server: Server,
    pub operations: Operations,
    pub database: Database,
    pub writer: Writer,
    pub signer: Signer,
    pub tokens: Tokens,
    pub aging: Aging,
    pub policy: Policy,
    pub imports: Imports,
    pub limits: Limits,
    pub api_keys: ApiKeys,
    pub oauth: OAuth,
    pub client_certificates: ClientCertificates,
    pub proxy: Proxy,
    pub idempotency: Idempotency,
    pub facade: Facade,
    pub webhooks: Webhooks,
    pub log: Log,
}

/// Who runs the service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Carrier {
    /// The carrier's service provider codes (OCNs).
    #[serde(deserialize_with = "list")]
    pub spcs: Vec<Spc>,
    /// The carrier's own account, the only one that may get tokens with an `spc` entry.
    pub account: Option<AccountId>,
}

/// The API's listener.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    pub listen: SocketAddr,
    /// What clients and CAs call the service: `iss`, and the front of `x5u`.
    pub public_url: String,
    pub tls_certificate: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    /// A proxy in front ends TLS, so that plain HTTP is right also on addresses other than loopback.
    pub behind_proxy: bool,
    /// Threads that serve HTTP; one a core when absent.
    pub workers: Option<usize>,
    pub max_body_bytes: usize,
    /// The same for a bulk of requests for tokens.
    pub max_bulk_body_bytes: usize,
    /// Seconds that a client has to send a request.
    pub request_timeout: u64,
    /// Connections that are open at one time.
    pub max_connections: usize,
    /// Requests that are worked on at one time; more are answered 503.
    pub max_requests: usize,
    /// Seconds that requests under way get when the service stops.
    pub shutdown_timeout: u64,
}

/// The listener for metrics and health.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Operations {
    pub listen: SocketAddr,
}

/// Where everything is kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// `sqlite:PATH` or `postgres://..`
    pub url: DatabaseUrl,
    pub pool_size: u32,
    /// Whether `serve` applies migrations when it starts.
    pub migrate: bool,
}

/// The writer with group commit.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Writer {
    /// Jobs that may wait; more are answered 503.
    pub queue: usize,
    /// Jobs in one transaction.
    pub batch: usize,
}

/// What tokens are signed with.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Signer {
    /// A folder of keys and certificate chains, which is watched. What the keys below name is used beside it.
    pub dir: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    /// A key in a module of hardware (RFC 7512).
    pub key_uri: Option<String>,
    pub chain_file: Option<PathBuf>,
    /// Opens encrypted keys.
    pub passphrase: Option<Passphrase>,
    pub passphrase_file: Option<PathBuf>,
    /// Whether tokens carry their certificate chain too.
    pub x5c: bool,
    /// Seconds between two looks at the files.
    pub poll_interval: u32,
    /// Seconds between the publication of a chain and its first signature.
    pub publication_delay: u32,
    pub pkcs11: Pkcs11,
}

/// Modules of hardware.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pkcs11 {
    /// The module's shared library.
    pub module: Option<PathBuf>,
    pub pin: Option<Passphrase>,
    pub pin_file: Option<PathBuf>,
    /// Signatures at one time, for each key.
    pub sessions: usize,
    /// Signatures that may wait; more are answered 503.
    pub queue: usize,
    /// Seconds that a signature may take.
    pub timeout: u64,
}

/// How long tokens live, in seconds. Policies may be stricter.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tokens {
    pub default_lifetime: u32,
    pub min_lifetime: u32,
    /// The longest that may be asked for.
    pub max_lifetime: u32,
    /// The longest in grant-horizon mode.
    pub max_horizon: u32,
    /// Whether tokens for JWTClaimConstraints can be had, as far as policies permit.
    pub jwt_claim_constraints: bool,
}

/// How long disconnected numbers age before they can be lent again.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Aging {
    /// Days, by the class of whoever had the numbers; 45 to 365 each.
    pub days: BTreeMap<String, u32>,
}

/// Where the Cedar policies stand.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// The built-in policies when absent.
    pub dir: Option<PathBuf>,
    /// Seconds between two looks at the folder.
    pub poll_interval: u32,
}

/// Imports of tables.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Imports {
    /// The share of the numbers of a service provider code that one import may end without being confirmed.
    pub max_ended_share: Share,
    /// The longest table that is taken over HTTP.
    pub max_upload_bytes: u64,
    /// Imports over HTTP that may wait, the running one included; more are answered 503.
    pub queue: usize,
    /// Where their files are until they are done; the system's folder for temporary files when absent.
    pub dir: Option<PathBuf>,
}

/// How API keys are kept: as a hash under a secret key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiKeys {
    pub secret: Option<Secret>,
    pub secret_file: Option<PathBuf>,
}

/// Requests with an Idempotency-Key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Idempotency {
    /// Seconds that an answer is kept for.
    pub keep: u32,
    /// Seconds without an answer after which a request is taken for gone, so that the next one is done in its place.
    pub lease: u32,
}

/// Who may be told of what happens.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Webhooks {
    /// Networks of the carrier's own that targets may be in, though they are not public.
    pub allow_private: Vec<Network>,
    /// CAs (PEM) that targets are believed by, in place of those of the system.
    pub ca_file: Option<PathBuf>,
}

/// How the log looks. Its level comes from `RUST_LOG`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    pub format: LogFormat,
}

impl Config {
    /// Reads the file, if one is given, and the environment, which wins: `TN_AUTHORITY__SECTION__KEY`.
    ///
    /// # Errors
    /// [`ConfigError`] names the key that is unknown or wrong.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        Self::load_with(file, None)
    }

    fn load_with(
        file: Option<&Path>,
        environment: Option<HashMap<String, String>>,
    ) -> Result<Self, ConfigError> {
        let mut sources = config::Config::builder();
        if let Some(path) = file {
            sources = sources.add_source(File::from(path).format(FileFormat::Toml));
        }
        // Values stay text until the type of their key reads them: an account `007` is not the number 7.
        let environment = Environment::with_prefix("TN_AUTHORITY")
            .prefix_separator("__")
            .separator("__")
            .ignore_empty(true)
            .source(environment);
        let config: Self = sources.add_source(environment).build()?.try_deserialize()?;
        config.validate()?;
        Ok(config)
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8443)),
            public_url: "https://localhost:8443".to_owned(),
            tls_certificate: None,
            tls_key: None,
            behind_proxy: false,
            workers: None,
            max_body_bytes: 262_144,
            max_bulk_body_bytes: 2_097_152,
            request_timeout: 10,
            max_connections: 10_000,
            max_requests: 5_000,
            shutdown_timeout: 20,
        }
    }
}

impl Default for Operations {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9090)),
        }
    }
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: "sqlite:tn-authority.sqlite".into(),
            pool_size: 8,
            migrate: true,
        }
    }
}

impl Default for Writer {
    fn default() -> Self {
        Self {
            queue: 1024,
            batch: 256,
        }
    }
}

impl Default for Signer {
    fn default() -> Self {
        Self {
            dir: None,
            key_file: None,
            key_uri: None,
            chain_file: None,
            passphrase: None,
            passphrase_file: None,
            x5c: false,
            poll_interval: 10,
            publication_delay: 300,
            pkcs11: Pkcs11::default(),
        }
    }
}

impl Default for Pkcs11 {
    fn default() -> Self {
        Self {
            module: None,
            pin: None,
            pin_file: None,
            sessions: 4,
            queue: 256,
            timeout: 5,
        }
    }
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            default_lifetime: 3600,
            min_lifetime: 300,
            max_lifetime: 86_400,
            max_horizon: 2_592_000,
            jwt_claim_constraints: false,
        }
    }
}

impl Default for Aging {
    fn default() -> Self {
        // 47 CFR 52.15(f)(1)(ii): at most 90 days for residential numbers and 365 for those of businesses.
        let days = [("residential", 90), ("business", 365)];
        Self {
            days: days.map(|(class, days)| (class.to_owned(), days)).into(),
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            dir: None,
            poll_interval: 10,
        }
    }
}

impl Default for Imports {
    fn default() -> Self {
        Self {
            max_ended_share: Share::TENTH,
            max_upload_bytes: 268_435_456,
            queue: 8,
            dir: None,
        }
    }
}

impl Default for Idempotency {
    fn default() -> Self {
        Self {
            keep: 86_400,
            lease: 10,
        }
    }
}

#[cfg(test)]
mod tests;
