//! What the types of the configuration cannot say: bounds, and keys that need or exclude each other.

use super::{Config, ConfigError};
use crate::domain::web_url::{WebUrl, WebUrlError};

impl Config {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        self.validate_server()?;
        within(
            "database.pool_size",
            u64::from(self.database.pool_size),
            1_000,
        )?;
        within("writer.queue", self.writer.queue as u64, 100_000)?;
        within("writer.batch", self.writer.batch as u64, 10_000)?;
        within("imports.queue", self.imports.queue as u64, 1_000)?;
        at_least_one("imports.max_upload_bytes", self.imports.max_upload_bytes)?;
        at_least_one("tokens.min_lifetime", u64::from(self.tokens.min_lifetime))?;
        if self.tokens.min_lifetime > self.tokens.default_lifetime {
            return wrong(
                "tokens.min_lifetime",
                format!(
                    "is {} seconds, more than `tokens.default_lifetime`, which is {}",
                    self.tokens.min_lifetime, self.tokens.default_lifetime
                ),
            );
        }
        let short_or_long = self
            .aging
            .days
            .iter()
            .find(|(_, days)| !(45..=365).contains(*days));
        if let Some((class, days)) = short_or_long {
            return wrong(
                "aging.days",
                format!("has {days} days for `{class}`; numbers age for 45 to 365 days"),
            );
        }
        if self.tokens.max_lifetime < self.tokens.default_lifetime {
            return wrong(
                "tokens.max_lifetime",
                format!(
                    "is {} seconds, less than `tokens.default_lifetime`, which is {}",
                    self.tokens.max_lifetime, self.tokens.default_lifetime
                ),
            );
        }
        if self.tokens.max_horizon < self.tokens.min_lifetime {
            return wrong(
                "tokens.max_horizon",
                "is less than `tokens.min_lifetime`, so that no token could be signed",
            );
        }
        at_least_one("policy.poll_interval", self.policy.poll_interval.into())?;
        self.validate_idempotency()?;
        if let Some((key, why)) = self.facade.fault() {
            return wrong(key, why);
        }
        self.validate_signer()?;
        self.validate_proofs()?;
        self.limits.validate()?;
        if self.api_keys.secret.is_some() && self.api_keys.secret_file.is_some() {
            return wrong(
                "api_keys.secret",
                "and `api_keys.secret_file` exclude each other; remove one",
            );
        }
        Ok(())
    }

    fn validate_idempotency(&self) -> Result<(), ConfigError> {
        let keys = &self.idempotency;
        within("idempotency.keep", u64::from(keys.keep), 2_592_000)?;
        within("idempotency.lease", u64::from(keys.lease), 600)?;
        if keys.keep < keys.lease {
            return wrong(
                "idempotency.keep",
                format!(
                    "is {} seconds, less than `idempotency.lease`, which is {}: a key would be forgotten while its request \
                     is at work",
                    keys.keep, keys.lease
                ),
            );
        }
        Ok(())
    }

    fn validate_signer(&self) -> Result<(), ConfigError> {
        let signer = &self.signer;
        let key = signer.key_file.is_some() || signer.key_uri.is_some();
        if signer.dir.is_none() && key != signer.chain_file.is_some() {
            return wrong(
                "signer.key_file",
                "and `signer.chain_file` go together; one of them is missing",
            );
        }
        for (key, both) in [
            (
                "signer.key_file",
                (signer.key_file.is_some(), signer.key_uri.is_some()),
            ),
            (
                "signer.passphrase",
                (
                    signer.passphrase.is_some(),
                    signer.passphrase_file.is_some(),
                ),
            ),
            (
                "signer.pkcs11.pin",
                (
                    signer.pkcs11.pin.is_some(),
                    signer.pkcs11.pin_file.is_some(),
                ),
            ),
        ] {
            if both == (true, true) {
                let other = match key {
                    "signer.key_file" => "signer.key_uri",
                    "signer.passphrase" => "signer.passphrase_file",
                    _ => "signer.pkcs11.pin_file",
                };
                return wrong(key, format!("and `{other}` exclude each other; remove one"));
            }
        }
        at_least_one("signer.poll_interval", u64::from(signer.poll_interval))?;
        within("signer.pkcs11.sessions", signer.pkcs11.sessions as u64, 256)?;
        within("signer.pkcs11.queue", signer.pkcs11.queue as u64, 100_000)?;
        at_least_one("signer.pkcs11.timeout", signer.pkcs11.timeout)?;
        let shortest = signer.poll_interval.saturating_mul(3);
        if signer.publication_delay != 0 && signer.publication_delay < shortest {
            return wrong(
                "signer.publication_delay",
                format!(
                    "has to be at least three times `signer.poll_interval`, which is {shortest} seconds, so that every \
                     replica publishes a chain before any signs with it; or 0, for a process without replicas"
                ),
            );
        }
        Ok(())
    }

    fn validate_server(&self) -> Result<(), ConfigError> {
        let server = &self.server;
        if let Some(why) = public_url_fault(&server.public_url) {
            return wrong("server.public_url", why);
        }
        if server.tls_certificate.is_some() != server.tls_key.is_some() {
            return wrong(
                "server.tls_certificate",
                "and `server.tls_key` go together; one of them is missing",
            );
        }
        if server.tls_certificate.is_none()
            && !server.behind_proxy
            && !server.listen.ip().is_loopback()
        {
            return wrong(
                "server.listen",
                format!(
                    "is `{}`, where plain HTTP would be open to others; set `server.tls_certificate` and \
                     `server.tls_key`, or `server.behind_proxy = true` if a proxy ends TLS",
                    server.listen
                ),
            );
        }
        if let Some(workers) = server.workers {
            within("server.workers", workers as u64, 1_024)?;
        }
        let (connections, requests) = (server.max_connections, server.max_requests);
        within("server.max_connections", connections as u64, 1_000_000)?;
        within("server.max_requests", requests as u64, 1_000_000)?;
        at_least_one("server.max_body_bytes", server.max_body_bytes as u64)?;
        at_least_one("server.request_timeout", server.request_timeout)
    }
}

/// The URL goes into tokens as it stands, so it has one spelling: `https://host[:port][/path]`.
fn public_url_fault(url: &str) -> Option<&'static str> {
    if !url.starts_with("https://") {
        return Some("has to start with `https://` (RFC 7515 §4.1.5)");
    }
    if url.ends_with('/') {
        return Some("must not end with `/`");
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/[]%".contains(&b);
    match url.parse::<WebUrl>() {
        Ok(_) if url.bytes().all(allowed) => None,
        Err(WebUrlError::Host) => Some("has no host, or one that is not spelled as usual"),
        Ok(_) | Err(_) => Some(
            "is `https://host`, with a port and a path if need be; no user, query, fragment or white space",
        ),
    }
}

fn at_least_one(key: impl Into<String>, value: u64) -> Result<(), ConfigError> {
    if value == 0 {
        return wrong(key, "has to be at least 1");
    }
    Ok(())
}

/// From 1 to a number that a machine can still serve.
pub(super) fn within(key: impl Into<String>, value: u64, most: u64) -> Result<(), ConfigError> {
    if value > most {
        return wrong(key, format!("is {value}, more than {most}"));
    }
    at_least_one(key, value)
}

pub(super) fn wrong<T>(key: impl Into<String>, why: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::Wrong {
        key: key.into(),
        why: why.into(),
    })
}
