//! The client's address and certificate, as a proxy in front of the service forwards them.
//!
//! Only proxies whose address is configured are trusted, because any client can send these header
//! fields.

use std::net::{IpAddr, SocketAddr};

use super::certificate::PresentedCertificate;
use super::forwarded_certificate;
use super::quoted::split_outside_quotes;
use super::rejection::Rejection;
use crate::domain::network::trusted_proxy::{AddressHeader, CertificateEncoding, ProxyAddress};

/// Trusted proxies between the client and the service.
const MAX_HOPS: usize = 32;

/// Splits a header field into hops, from last to first. `None` is an unreadable hop.
type ReadHops = fn(&[u8]) -> Vec<Option<&str>>;

/// The trusted proxies, and the header fields that they set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    pub addresses: Vec<ProxyAddress>,
    /// The header field with the client's certificate, in lower case.
    pub certificate_header: Option<String>,
    pub certificate_encoding: CertificateEncoding,
    /// The header field with its intermediate certificates (RFC 9440 §2.3), in lower case.
    pub certificate_chain_header: Option<String>,
    /// The header field with the client's address.
    pub address_header: Option<AddressHeader>,
}

/// The client of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientInfo {
    /// The client's address; `None` if a proxy does not state it reliably.
    pub from: Option<IpAddr>,
    pub certificate: Option<PresentedCertificate>,
}

impl Proxies {
    /// Determines the client of a request. `own` is the certificate of the connection; `fields`
    /// returns the values of a header field in order.
    ///
    /// # Errors
    /// [`Rejection`] if a header field with certificates is malformed, or not from a trusted proxy.
    pub fn resolve_client<'a, I: Iterator<Item = &'a [u8]>>(
        &self,
        peer: Option<IpAddr>,
        own: Option<&PresentedCertificate>,
        fields: impl Fn(&str) -> I,
    ) -> Result<ClientInfo, Rejection> {
        let peer = peer.map(|address| address.to_canonical());
        let all = |name: &Option<String>| -> Vec<&'a [u8]> {
            name.as_deref().map(&fields).into_iter().flatten().collect()
        };
        let sent = all(&self.certificate_header);
        let chain = all(&self.certificate_chain_header);
        if peer.is_some_and(|peer| self.is_proxy(peer)) {
            return Ok(ClientInfo {
                from: self.client(&fields),
                // The proxy's own certificate does not identify the client.
                certificate: self.certificate(&sent, &chain)?,
            });
        }
        // A forged certificate, or a proxy missing in the configuration. Ignoring the field would
        // hide both.
        if !sent.is_empty() || !chain.is_empty() {
            return Err(Rejection::Unnamed);
        }
        Ok(ClientInfo {
            from: peer,
            certificate: own.cloned(),
        })
    }

    fn is_proxy(&self, address: IpAddr) -> bool {
        self.addresses
            .iter()
            .any(|network| network.contains(address))
    }

    /// The certificate in the values of the header fields, if there is one.
    fn certificate(
        &self,
        sent: &[&[u8]],
        chain: &[&[u8]],
    ) -> Result<Option<PresentedCertificate>, Rejection> {
        match sent {
            [value] if !forwarded_certificate::is_none(value) => {
                let encoding = self.certificate_encoding;
                let read = forwarded_certificate::read(encoding, value, chain);
                read.map(Some).ok_or(Rejection::HeaderMalformed)
            }
            // RFC 9440 §2.3: there is no chain without a certificate, so the proxy passed on what a
            // client has sent.
            [] | [_]
                if !chain
                    .iter()
                    .all(|line| forwarded_certificate::is_none(line)) =>
            {
                Err(Rejection::HeaderMalformed)
            }
            [] | [_] => Ok(None),
            [_, _, ..] => Err(Rejection::HeaderTwice),
        }
    }

    /// The last address in the list that is not a trusted proxy's. The client can forge those
    /// before it.
    fn client<'a, I: Iterator<Item = &'a [u8]>>(
        &self,
        fields: impl Fn(&str) -> I,
    ) -> Option<IpAddr> {
        let (name, read): (_, ReadHops) = match self.address_header? {
            AddressHeader::Forwarded => ("forwarded", forwarded),
            AddressHeader::XForwardedFor => ("x-forwarded-for", x_forwarded_for),
        };
        let fields: Vec<&[u8]> = fields(name).collect();
        // From the end, so that the part that the client can forge is not even parsed.
        let mut hops = fields.into_iter().rev().flat_map(read);
        let mut client = None;
        for hop in hops.by_ref().take(MAX_HOPS) {
            let address = address(hop?)?;
            client = Some(address);
            if !self.is_proxy(address) {
                return client;
            }
        }
        // Only trusted proxies: the first of them made the request itself.
        client.filter(|_| hops.next().is_none())
    }
}

fn x_forwarded_for(field: &[u8]) -> Vec<Option<&str>> {
    let hops = field.rsplit(|byte| *byte == b',');
    hops.map(|hop| std::str::from_utf8(hop).ok()).collect()
}

/// The values of `for` (RFC 7239 §4), from the last to the first.
fn forwarded(field: &[u8]) -> Vec<Option<&str>> {
    let mut elements = Vec::new();
    let (mut end, mut quoted) = (field.len(), false);
    for (at, byte) in field.iter().enumerate().rev() {
        quoted ^= *byte == b'"';
        if *byte == b',' && !quoted {
            elements.push(&field[at + 1..end]);
            end = at;
        }
    }
    elements.push(&field[..end]);
    let read = |element| forwarded_for(std::str::from_utf8(element).ok()?);
    elements.into_iter().map(read).collect()
}

/// The `for` of one hop, if there is exactly one.
fn forwarded_for(element: &str) -> Option<&str> {
    let mut of = split_outside_quotes(element, ';')?
        .into_iter()
        .filter_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            name.trim()
                .eq_ignore_ascii_case("for")
                .then_some(value.trim())
        });
    match (of.next(), of.next()) {
        (Some(value), None) => match value.strip_prefix('"') {
            Some(quoted) => quoted.strip_suffix('"'),
            None => Some(value),
        },
        _ => None,
    }
}

/// An address, with or without a port: `192.0.2.7`, `192.0.2.7:4711`, `[2001:db8::1]:4711`,
/// `2001:db8::1`.
fn address(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let bare = hop
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let alone = bare.unwrap_or(hop).parse::<IpAddr>();
    let address = alone.or_else(|_| hop.parse::<SocketAddr>().map(|both| both.ip()));
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(header: AddressHeader) -> Proxies {
        Proxies {
            addresses: vec![
                "10.0.0.0/8".parse().expect("one"),
                "2001:db8::/32".parse().expect("one"),
            ],
            address_header: Some(header),
            ..Proxies::default()
        }
    }

    fn client(proxies: &Proxies, peer: &str, values: &[&str]) -> Option<String> {
        let fields = |_: &str| values.iter().map(|value| value.as_bytes());
        let client = proxies.resolve_client(peer.parse().ok(), None, fields);
        client
            .expect("no certificate")
            .from
            .map(|from| from.to_string())
    }

    #[test]
    fn the_client_is_the_last_address_that_is_not_a_proxy() {
        let proxies = proxies(AddressHeader::XForwardedFor);
        for (peer, values, from) in [
            ("10.0.0.1", &["192.0.2.1"][..], Some("192.0.2.1")),
            ("::ffff:10.0.0.1", &["192.0.2.1"], Some("192.0.2.1")),
            // The client wrote the first part.
            ("10.0.0.1", &["198.51.100.9, 192.0.2.1"], Some("192.0.2.1")),
            (
                "10.0.0.1",
                &["198.51.100.9", "192.0.2.1, 10.9.9.9"],
                Some("192.0.2.1"),
            ),
            ("10.0.0.1", &["10.1.1.1, 10.2.2.2"], Some("10.1.1.1")),
            ("10.0.0.1", &["192.0.2.1:4711"], Some("192.0.2.1")),
            ("10.0.0.1", &["[2001:db9::1]:4711"], Some("2001:db9::1")),
            ("10.0.0.1", &["::ffff:192.0.2.1"], Some("192.0.2.1")),
            ("10.0.0.1", &["192.0.2.1, unknown"], None),
            ("10.0.0.1", &["192.0.2.1,"], None),
            ("10.0.0.1", &[], None),
            // The header of an untrusted peer is ignored.
            ("192.0.2.77", &["192.0.2.1"], Some("192.0.2.77")),
            ("2001:db9::2", &["192.0.2.1"], Some("2001:db9::2")),
        ] {
            assert_eq!(
                client(&proxies, peer, values).as_deref(),
                from,
                "{peer} {values:?}"
            );
        }
        // The client's part does not have to be readable.
        let fields = |_: &str| [&b"\xff, 192.0.2.1"[..]].into_iter();
        let info = proxies.resolve_client("10.0.0.1".parse().ok(), None, fields);
        let from = info.expect("no certificate").from;
        assert_eq!(from, "192.0.2.1".parse().ok());
        let many = vec!["10.1.1.1"; MAX_HOPS + 1].join(",");
        assert_eq!(client(&proxies, "10.0.0.1", &[&many]), None);
    }

    #[test]
    fn forwarded_is_parsed_as_in_rfc_7239() {
        let proxies = proxies(AddressHeader::Forwarded);
        for (value, from) in [
            ("for=192.0.2.1", Some("192.0.2.1")),
            ("For=\"[2001:db9::17]:4711\"", Some("2001:db9::17")),
            (
                "for=198.51.100.9, for=192.0.2.1;proto=https;by=10.0.0.1",
                Some("192.0.2.1"),
            ),
            ("by=\"a,b;for=192.0.2.9\";for=192.0.2.1", Some("192.0.2.1")),
            ("for=192.0.2.1, for=\"10.0.0.2:80\"", Some("192.0.2.1")),
            ("for=192.0.2.1;for=192.0.2.2", None),
            ("for=192.0.2.1, proto=https", None),
            // The client's part does not have to be readable.
            ("proto=https, for=192.0.2.1", Some("192.0.2.1")),
            ("for=\"198.51.100.9, for=192.0.2.1", Some("192.0.2.1")),
            ("for=198.51.100.9;for=a, for=192.0.2.1", Some("192.0.2.1")),
            ("for=_hidden", None),
            ("for=unknown", None),
            ("for=\"192.0.2.1", None),
            ("for=", None),
        ] {
            assert_eq!(
                client(&proxies, "10.0.0.1", &[value]).as_deref(),
                from,
                "{value}"
            );
        }
        // A trusted proxy without a configured address header.
        let silent = Proxies {
            address_header: None,
            ..proxies
        };
        assert_eq!(client(&silent, "10.0.0.1", &["for=192.0.2.1"]), None);
    }
}
