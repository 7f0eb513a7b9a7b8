//! The configuration: plain data from TOML and the environment. The module that uses a section
//! gives it its meaning.
//!
//! Every key has a default or is optional, so the service starts on SQLite without any file. An
//! unknown key is an error; otherwise a mistyped key would silently mean the default.
//!
//! Each section has a file of its own, with its keys, their defaults and their bounds.

mod address;
mod aging;
mod api_keys;
mod bounds;
mod carrier;
mod client_certificates;
mod control;
mod database;
mod environment;
mod facade;
mod fraction;
mod gateway_keys;
mod idempotency;
mod imports;
mod limits;
mod lists;
mod log;
mod oauth;
mod operations;
mod pkcs11;
mod policy;
mod proxy;
mod secret;
mod server;
mod signer;
mod tokens;
mod validate;
mod warnings;
mod webhooks;
mod writer;

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use config::{Environment, File, FileFormat};
use serde::Deserialize;
use thiserror::Error;

pub use aging::Aging;
pub use api_keys::ApiKeys;
pub use carrier::Carrier;
pub use client_certificates::{CertificateCaller, ClientCertificates};
pub use control::{Control, Gateway, GatewayKind};
pub use database::{Database, PreparedStatements};
pub use facade::Facade;
pub use fraction::Fraction;
pub use idempotency::Idempotency;
pub use imports::Imports;
pub use limits::Limits;
pub use log::Log;
pub use oauth::{Issuer, NO_TOKEN_TYPE, OAuth};
pub use operations::Operations;
pub use pkcs11::Pkcs11;
pub use policy::Policy;
pub use proxy::Proxy;
pub use secret::{Secret, SecretError, SecretUrl};
pub use server::Server;
pub use signer::Signer;
pub use tokens::Tokens;
pub use webhooks::Webhooks;
pub use writer::Writer;

/// Why a configuration cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("the configuration cannot be read: {0}{help}", help = help(.0))]
    Read(#[from] config::ConfigError),
    #[error("invalid configuration: `{key}` {why}")]
    Wrong { key: String, why: String },
    #[error(
        "the environment variable `{name}` would be ignored; a setting has two underscores before its section and two \
         before its key: write `{instead}`"
    )]
    Variable { name: String, instead: String },
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
    pub control: Control,
    pub log: Log,
}

impl Config {
    /// Reads the file, if one is given, and the environment, which wins:
    /// `TN_AUTHORITY__SECTION__KEY`.
    ///
    /// # Errors
    /// [`ConfigError`] names the key that is unknown or wrong.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        Self::load_with(file, None)
    }

    /// Like [`Config::load`], but these sections are read from the file alone. Also returns the
    /// names of the variables that were ignored.
    ///
    /// # Errors
    /// [`ConfigError`] names the key that is unknown or wrong.
    pub fn load_ignoring(
        file: &Path,
        sections: &[&str],
    ) -> Result<(Self, Vec<OsString>), ConfigError> {
        let is_ignored = |name: &OsStr| {
            // Names are compared without regard to case, as by the library.
            let name = name.to_string_lossy().to_ascii_lowercase();
            let key = name.strip_prefix("tn_authority__");
            let section = key.map(|key| key.split("__").next().unwrap_or(key));
            section.is_some_and(|section| sections.contains(&section))
        };
        let (ignored, used): (Vec<_>, Vec<_>) =
            std::env::vars_os().partition(|(name, _)| is_ignored(name));
        let used = used.into_iter().filter_map(|(name, value)| {
            Some((
                name.into_string().ok()?,
                value.to_string_lossy().into_owned(),
            ))
        });
        let config = Self::load_with(Some(file), Some(used.collect()))?;
        Ok((config, ignored.into_iter().map(|(name, _)| name).collect()))
    }

    /// Warnings about environment variables that look like ours and mean nothing.
    #[must_use]
    pub fn environment_warnings() -> Vec<String> {
        environment::warnings(std::env::vars_os().map(|(name, _)| name))
    }

    fn load_with(
        file: Option<&Path>,
        environment: Option<HashMap<String, String>>,
    ) -> Result<Self, ConfigError> {
        if let Some(pairs) = &environment {
            environment::refuse_mistyped(pairs.keys().map(String::as_str))?;
        } else {
            let names: Vec<OsString> = std::env::vars_os().map(|(name, _)| name).collect();
            environment::refuse_mistyped(names.iter().filter_map(|name| name.to_str()))?;
        }
        let mut sources = config::Config::builder();
        if let Some(path) = file {
            sources = sources.add_source(File::from(path).format(FileFormat::Toml));
        }
        // Values stay text until the type of the key parses them: the account `007` is not the
        // number 7.
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

/// What to do about a file that cannot be parsed. The parser says where, but a quotation mark that
/// is missing makes it complain of something else.
fn help(error: &config::ConfigError) -> &'static str {
    match error {
        config::ConfigError::FileParse { cause, .. }
            if cause.to_string().contains("duplicate key") =>
        {
            "; each section, and each key in it, is written once"
        }
        config::ConfigError::FileParse { .. } => {
            "; texts are in quotation marks that end on the same line: is one missing?"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests;
