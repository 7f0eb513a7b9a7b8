//! What is permitted, but most likely not meant. It does not keep the service from starting.

use url::Host;

use super::Config;
use crate::domain::network::public_address::is_public;
use crate::domain::network::web_url::WebUrl;

/// The ports from which verifiers of calls fetch certificates (ATIS-1000074).
const FETCHED_PORTS: [u16; 2] = [443, 8443];

impl Config {
    /// Warnings about settings that should be changed.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        // CAs fetch the chain from `x5u` without a client certificate (RFC 9448 §6 step 2). If
        // there is a proxy, it is the proxy that needs one.
        if self.client_certificates.require && !self.has_proxy() {
            warnings.push(
                "`client_certificates.require` refuses CAs, which fetch `x5u` (/certs/) without a client certificate \
                 (RFC 9448 §6 step 2), so they accept no token; set it to `false`: callers with a certificate are \
                 authenticated all the same"
                    .to_owned(),
            );
        }
        warnings.extend(self.public_url_warnings());
        let operations = self.operations.listen;
        if is_public(operations.ip()) {
            warnings.push(format!(
                "`operations.listen` is `{operations}`, a public address; metrics and health are served there without \
                 authentication, so use a private one"
            ));
        }
        warnings
    }

    /// Whether clients reach the service through a proxy.
    #[must_use]
    pub fn has_proxy(&self) -> bool {
        self.server.behind_proxy || !self.proxy.addresses.is_empty()
    }

    fn public_url_warnings(&self) -> Vec<String> {
        let text = &self.server.public_url;
        let Ok(url) = text.parse::<WebUrl>() else {
            return Vec::new();
        };
        let mut warnings = Vec::new();
        if let Some(port) = url.port().filter(|port| !FETCHED_PORTS.contains(port)) {
            warnings.push(format!(
                "`server.public_url` has port {port}; verifiers of calls that follow ATIS-1000074 fetch certificates \
                 (`x5u`) from ports 443 and 8443 only; use one of them"
            ));
        }
        let is_local = match url.host() {
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(address)) => address.is_loopback() || address.is_unspecified(),
            Some(Host::Ipv6(address)) => address.is_loopback() || address.is_unspecified(),
            None => false,
        };
        if is_local {
            warnings.push(format!(
                "`server.public_url` is `{text}`, which CAs cannot reach from other machines, and which is in every \
                 token; set it to the public name of this service"
            ));
        }
        warnings
    }
}
