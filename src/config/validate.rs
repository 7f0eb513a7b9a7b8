//! What the types of the configuration cannot say: bounds, and keys that need or exclude each other.

use super::{Config, ConfigError};

impl Config {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        self.validate_server()?;
        at_least_one("database.pool_size", u64::from(self.database.pool_size))?;
        at_least_one("writer.queue", self.writer.queue as u64)?;
        at_least_one("writer.batch", self.writer.batch as u64)?;
        at_least_one("imports.queue", self.imports.queue as u64)?;
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
        if self.signer.key_file.is_some() != self.signer.chain_file.is_some() {
            return wrong(
                "signer.key_file",
                "and `signer.chain_file` go together; one of them is missing",
            );
        }
        if self.api_keys.secret.is_some() && self.api_keys.secret_file.is_some() {
            return wrong(
                "api_keys.secret",
                "and `api_keys.secret_file` exclude each other; remove one",
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
            at_least_one("server.workers", workers as u64)?;
        }
        at_least_one("server.max_body_bytes", server.max_body_bytes as u64)?;
        at_least_one("server.request_timeout", server.request_timeout)
    }
}

/// The URL goes into tokens as it stands, so it has one spelling: `https://host[:port][/path]`.
fn public_url_fault(url: &str) -> Option<&'static str> {
    let Some(rest) = url.strip_prefix("https://") else {
        return Some("has to start with `https://` (RFC 7515 §4.1.5)");
    };
    if url.ends_with('/') {
        return Some("must not end with `/`");
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/[]%".contains(&b);
    if rest.starts_with(['/', ':']) || rest.is_empty() {
        return Some("has no host");
    }
    if !rest.bytes().all(allowed) {
        return Some(
            "is `https://host`, with a port and a path if need be; no user, query, fragment or white space",
        );
    }
    None
}

fn at_least_one(key: &'static str, value: u64) -> Result<(), ConfigError> {
    if value == 0 {
        return wrong(key, "has to be at least 1");
    }
    Ok(())
}

fn wrong<T>(key: &'static str, why: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::Wrong {
        key,
        why: why.into(),
    })
}
