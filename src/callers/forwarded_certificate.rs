//! A client's certificate in a header field that a proxy sets, in the encodings of common proxies.
//!
//! Only the encoding is checked here. Whether the certificate is trusted is decided later, from its
//! DER.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::certificate::PresentedCertificate;
use super::client_ca::MAX_CHAIN;
use super::quoted::split_outside_quotes;
use crate::domain::network::trusted_proxy::CertificateEncoding;
use crate::domain::signing::certificate::Certificate;
use crate::domain::text::percent;

/// Bytes of a header field with certificates.
const MAX_LENGTH: usize = 32_768;
/// What proxies write if the client has no certificate: nothing, an empty byte sequence (HAProxy),
/// the text of an unset variable (Apache), or that of an empty field in a log.
const NO_CERTIFICATE: [&[u8]; 4] = [b"", b"::", b"(null)", b"-"];
/// The start of a placeholder that Caddy leaves as it is if the client has no certificate.
const CADDY_PLACEHOLDER: &[u8] = b"{http.request.tls.client.";

/// Certificates in DER, the client's first.
type Path = Vec<Vec<u8>>;

/// Whether the value of a field says that the client has no certificate.
pub(super) fn is_none(value: &[u8]) -> bool {
    let value = value.trim_ascii();
    let bytes = value
        .strip_prefix(b":")
        .and_then(|rest| rest.strip_suffix(b":"));
    let bare = bytes.unwrap_or(value);
    NO_CERTIFICATE.contains(&value) || bare.starts_with(CADDY_PLACEHOLDER) && bare.ends_with(b"}")
}

/// Reads the certificate, and the intermediate certificates that came with it: in the same field,
/// or in the lines of `chain`, the field of RFC 9440 §2.3. `None` if it is malformed.
pub(super) fn read(
    encoding: CertificateEncoding,
    value: &[u8],
    chain: &[&[u8]],
) -> Option<PresentedCertificate> {
    let length: usize = chain.iter().map(|line| line.len()).sum();
    if value.len() + length > MAX_LENGTH {
        return None;
    }
    let mut path = match encoding {
        CertificateEncoding::Rfc9440 => vec![byte_sequence(value)?],
        CertificateEncoding::EscapedPem => pem(value)?,
        CertificateEncoding::Base64Der => base64_list(value)?,
        CertificateEncoding::Xfcc => xfcc(value)?,
    };
    path.extend(byte_sequences(chain)?);
    if path.is_empty() || path.len() > 1 + usize::from(MAX_CHAIN) {
        return None;
    }
    let leaf = path.remove(0);
    Some(PresentedCertificate::new(leaf, path))
}

/// The certificate's DER as a byte sequence (RFC 9440 §2.1, RFC 8941 §3.3.5).
fn byte_sequence(value: &[u8]) -> Option<Vec<u8>> {
    der(value.strip_prefix(b":")?.strip_suffix(b":")?)
}

/// A list of byte sequences, over any number of lines (RFC 9440 §2.1, RFC 8941 §3.1).
fn byte_sequences(lines: &[&[u8]]) -> Option<Path> {
    let lines = lines.iter().filter(|line| !line.trim_ascii().is_empty());
    let items = lines.flat_map(|line| line.split(|byte| *byte == b','));
    items.map(|item| byte_sequence(item.trim_ascii())).collect()
}

/// PEM, percent-encoded as a whole or in part: AWS leaves `+`, `=` and `/` as they are, Apache
/// encodes nothing and writes spaces for line breaks.
fn pem(value: &[u8]) -> Option<Path> {
    let pem = percent::decode(value)?;
    let path = Certificate::chain_from_pem(std::str::from_utf8(&pem).ok()?).ok()?;
    Some(path.iter().map(|one| one.as_der().to_vec()).collect())
}

/// DER in base64 (RFC 4648 §4), separated by commas. Older versions of Traefik percent-encode it.
fn base64_list(value: &[u8]) -> Option<Path> {
    let list = percent::decode(value)?;
    let items = list.split(|byte| *byte == b',');
    items.map(|item| der(item.trim_ascii())).collect()
}

fn der(base64: &[u8]) -> Option<Vec<u8>> {
    let der = STANDARD.decode(base64).ok()?;
    (!der.is_empty()).then_some(der)
}

/// `x-forwarded-client-cert` of Envoy. There must be one element: with several, one for each proxy,
/// it would not be clear which client is meant. Of its pairs, `Chain` is the whole path and `Cert`
/// the client's certificate; the others, such as `Hash` and `Subject`, prove nothing.
fn xfcc(value: &[u8]) -> Option<Path> {
    let text = std::str::from_utf8(value).ok()?;
    let elements = split_outside_quotes(text, ',')?;
    let [element] = elements[..] else {
        return None;
    };
    let (mut certificate, mut chain) = (None, None);
    for pair in split_outside_quotes(element, ';')? {
        let (name, value) = pair.split_once('=')?;
        let found = match name.trim().to_ascii_lowercase().as_str() {
            "cert" => &mut certificate,
            "chain" => &mut chain,
            _ => continue,
        };
        let value = value.trim();
        let value = value
            .strip_prefix('"')
            .map_or(Some(value), |rest| rest.strip_suffix('"'))?;
        if found.replace(pem(value.as_bytes())?).is_some() {
            return None;
        }
    }
    match (certificate, chain) {
        (Some(certificate), None) if certificate.len() == 1 => Some(certificate),
        (None, Some(chain)) => Some(chain),
        (Some(certificate), Some(chain))
            if certificate.len() == 1 && certificate.first() == chain.first() =>
        {
            Some(chain)
        }
        (Some(_) | None, Some(_) | None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_sequence_has_one_spelling() {
        assert_eq!(byte_sequence(b":AQID:"), Some(vec![1, 2, 3]));
        for wrong in [
            &b""[..],
            b":",
            b"::",
            b"AQID",
            b":AQID",
            b":AQI:",
            b":AQIDBA:",
            b":AQ ID:",
            b":AQID:;a=1",
            b":AQID:, :AQID:",
            b":-_-_:",
            b" :AQID:",
            b":\xff\xff\xff\xff:",
        ] {
            let text = String::from_utf8_lossy(wrong);
            assert_eq!(byte_sequence(wrong), None, "{text}");
        }
    }

    #[test]
    fn a_chain_is_a_list_over_any_number_of_lines() {
        let all = Some(vec![vec![1, 2, 3], vec![4], vec![5]]);
        for lines in [
            &[&b":AQID:, :BA==:,:BQ==:"[..]][..],
            &[b":AQID:", b"", b":BA==: ,\t:BQ==:"],
        ] {
            assert_eq!(byte_sequences(lines), all);
        }
        assert_eq!(byte_sequences(&[]), Some(Vec::new()));
        for wrong in [&b":AQID:,"[..], b",", b"AQID", b":AQID: :BA==:", b"::"] {
            assert_eq!(byte_sequences(&[wrong]), None);
        }
        let long = vec![&b":AQID:"[..]; usize::from(MAX_CHAIN)];
        let encoding = CertificateEncoding::Rfc9440;
        assert!(read(encoding, b":AQID:", &long).is_some());
        let too_long = [&long[..], &[b":AQID:"]].concat();
        assert_eq!(read(encoding, b":AQID:", &too_long), None);
    }

    #[test]
    fn base64_is_a_list_with_the_leaf_first() {
        let read = |text: &str| base64_list(text.as_bytes());
        let both = Some(vec![vec![251, 255], vec![4]]);
        for text in ["+/8=,BA==", "+/8=, BA==", "%2B%2F8%3D%2CBA%3D%3D"] {
            assert_eq!(read(text), both, "{text}");
        }
        for wrong in [
            "",
            ",",
            "BA==,",
            ",BA==",
            ":BA==:",
            "BA==;BA==",
            "%",
            "-_8=",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_not_pem_is_refused() {
        for wrong in [
            "%",
            "%4",
            "%zz",
            "%ff",
            "-----BEGIN CERTIFICATE-----",
            "none",
        ] {
            assert_eq!(pem(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn each_way_to_say_none_is_known_and_nothing_else() {
        for none in [
            "",
            " ",
            "::",
            "(null)",
            "-",
            " - ",
            ":{http.request.tls.client.certificate_der_base64}:",
            "{http.request.tls.client.certificate_pem}",
        ] {
            assert!(is_none(none.as_bytes()), "{none}");
        }
        for other in [
            ":",
            "--",
            "null",
            "none",
            ":AQID:",
            "\"\"",
            "{}",
            "{http.request.tls.client.",
        ] {
            assert!(!is_none(other.as_bytes()), "{other}");
        }
    }
}
