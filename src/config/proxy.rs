//! `[proxy]`: proxies in front of the service.

use serde::Deserialize;

use super::ConfigError;
use super::bounds::wrong;
use super::lists::list;
use crate::domain::network::trusted_proxy::{AddressHeader, CertificateEncoding, ProxyAddress};

/// Proxies in front of the service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Proxy {
    /// Their addresses. Header fields about clients are accepted only from these.
    #[serde(deserialize_with = "list")]
    pub addresses: Vec<ProxyAddress>,
    /// The header field with the client's certificate.
    pub certificate_header: Option<String>,
    pub certificate_encoding: CertificateEncoding,
    /// The header field with the intermediate certificates (RFC 9440 §2.3).
    pub certificate_chain_header: Option<String>,
    /// The header field with the client's address.
    pub address_header: Option<AddressHeader>,
}

impl Proxy {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let any_header = self.certificate_header.is_some() || self.address_header.is_some();
        if any_header && self.addresses.is_empty() {
            return wrong(
                "proxy.addresses",
                "is empty; name the proxies that set the header fields",
            );
        }
        if let Some(name) = &self.certificate_header {
            check_field("proxy.certificate_header", name)?;
        }
        if let Some(name) = &self.certificate_chain_header {
            check_field("proxy.certificate_chain_header", name)?;
            let is_rfc9440 = self.certificate_encoding == CertificateEncoding::Rfc9440;
            if self.certificate_header.is_none() || !is_rfc9440 {
                return wrong(
                    "proxy.certificate_chain_header",
                    "needs `proxy.certificate_header` in the encoding `rfc9440`; other encodings have the chain in the same field",
                );
            }
            if self.certificate_header.as_ref() == Some(name) {
                return wrong(
                    "proxy.certificate_chain_header",
                    "is the same field as `proxy.certificate_header`",
                );
            }
        }
        Ok(())
    }
}

fn check_field(key: &str, name: &str) -> Result<(), ConfigError> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if name.is_empty() || !name.bytes().all(plain) {
        return wrong(
            key,
            "must be a name of lower-case letters, digits and `-`, such as `client-cert`",
        );
    }
    if matches!(name, "authorization" | "forwarded" | "x-forwarded-for") {
        return wrong(
            key,
            "is a header field with another meaning; choose a different one",
        );
    }
    Ok(())
}
