//! The checks of all sections, and the rules that concern more than one section.

use super::bounds::wrong;
use super::client_certificates::NEEDS_CA;
use super::{Config, ConfigError};

impl Config {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        self.server.validate()?;
        self.database.validate()?;
        self.writer.validate()?;
        self.signer.validate()?;
        self.tokens.validate()?;
        self.aging.validate()?;
        self.policy.validate()?;
        self.imports.validate()?;
        self.limits.validate()?;
        self.api_keys.validate()?;
        self.oauth.validate()?;
        self.client_certificates.validate()?;
        self.certificates_can_arrive()?;
        self.proxy.validate()?;
        self.idempotency.validate()?;
        self.facade.validate()?;
        self.control.validate()
    }

    /// Client certificates arrive by TLS that ends here, or in a header field from a proxy. Neither
    /// is accepted without a CA.
    fn certificates_can_arrive(&self) -> Result<(), ConfigError> {
        let certificates = &self.client_certificates;
        let by_tls = self.server.tls_certificate.is_some();
        let by_proxy = self.proxy.certificate_header.is_some();
        if by_proxy && certificates.ca_file.is_none() {
            return wrong("proxy.certificate_header", NEEDS_CA);
        }
        if certificates.ca_file.is_some() && !by_tls && !by_proxy {
            return wrong(
                "client_certificates.ca_file",
                "needs `server.tls_certificate`, or `proxy.certificate_header` if a proxy terminates TLS",
            );
        }
        if certificates.require && !by_tls {
            return wrong(
                "client_certificates.require",
                "needs `server.tls_certificate`",
            );
        }
        Ok(())
    }
}
