//! Warnings about the certificate of the API's listener.

use std::net::IpAddr;

use openssl::asn1::{Asn1Time, TimeDiff};
use openssl::error::ErrorStack;
use openssl::stack::Stack;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::{X509CheckFlags, X509VerifyFlags, X509VerifyParam};
use openssl::x509::{X509, X509Ref, X509StoreContext};

use crate::config::Config;
use crate::domain::network::web_url::WebUrl;
use crate::domain::{Clock, Time};
use crate::regular_file;

/// OpenSSL's codes of a certificate for other hosts: `X509_V_ERR_HOSTNAME_MISMATCH` and
/// `X509_V_ERR_IP_ADDRESS_MISMATCH`.
const MISMATCHES: [i32; 2] = [62, 64];

/// Warnings about a certificate that clients refuse, or will soon. None if there is a proxy, whose
/// certificate clients see instead, or if the certificate cannot be read.
#[must_use]
pub fn tls_warnings(config: &Config, clock: &Clock) -> Vec<String> {
    let file = config.server.tls_certificate.as_ref();
    let Some(file) = file.filter(|_| !config.has_proxy()) else {
        return Vec::new();
    };
    let leaf = regular_file::read(file, regular_file::MAX_BYTES)
        .ok()
        .and_then(|pem| X509::from_pem(&pem).ok());
    let Some(leaf) = leaf else {
        return Vec::new();
    };
    let (path, url) = (file.display(), &config.server.public_url);
    let mut warnings = Vec::new();
    if let Ok(Some(when)) = ending(&leaf, clock.now()) {
        warnings.push(format!("`{path}` {when}; renew it"));
    }
    if is_for_another_host(&leaf, url).unwrap_or(false) {
        warnings.push(format!(
            "`{path}` is not for the host of `server.public_url`, `{url}`, so CAs and callers refuse it"
        ));
    }
    warnings
}

/// That a certificate has expired, or that less than a tenth of its time is left.
fn ending(leaf: &X509, now: Time) -> Result<Option<String>, ErrorStack> {
    let now = Asn1Time::from_unix(now.timestamp())?;
    let left = seconds(&now.diff(leaf.not_after())?);
    let whole = seconds(&leaf.not_before().diff(leaf.not_after())?);
    let end = leaf.not_after();
    Ok(if left < 0 {
        Some(format!("expired on {end}"))
    } else if left < whole / 10 {
        Some(format!("expires on {end}"))
    } else {
        None
    })
}

/// The period of a certificate, in seconds since 1970.
pub(super) fn validity(certificate: &X509Ref) -> Result<(i64, i64), ErrorStack> {
    let start = Asn1Time::from_unix(0)?;
    let since = |time| Ok::<_, ErrorStack>(seconds(&start.diff(time)?));
    Ok((
        since(certificate.not_before())?,
        since(certificate.not_after())?,
    ))
}

fn seconds(difference: &TimeDiff) -> i64 {
    i64::from(difference.days) * 86_400 + i64::from(difference.secs)
}

/// Whether a certificate does not name the host of a URL (RFC 9525 §6). The certificate is its own
/// trust anchor here, since only the name is in question.
fn is_for_another_host(leaf: &X509, url: &str) -> Result<bool, ErrorStack> {
    let url = url.parse::<WebUrl>().ok();
    let Some(host) = url.as_ref().and_then(WebUrl::host) else {
        return Ok(false);
    };
    let mut store = X509StoreBuilder::new()?;
    store.add_cert(leaf.clone())?;
    let mut parameters = X509VerifyParam::new()?;
    parameters.set_flags(X509VerifyFlags::PARTIAL_CHAIN | X509VerifyFlags::NO_CHECK_TIME)?;
    parameters.set_hostflags(X509CheckFlags::NEVER_CHECK_SUBJECT);
    match host {
        url::Host::Domain(name) => parameters.set_host(name)?,
        url::Host::Ipv4(address) => parameters.set_ip(IpAddr::V4(address))?,
        url::Host::Ipv6(address) => parameters.set_ip(IpAddr::V6(address))?,
    }
    store.set_param(&parameters)?;
    let (store, chain) = (store.build(), Stack::new()?);
    let mut context = X509StoreContext::new()?;
    context.init(&store, leaf, &chain, |context| {
        let is_sound = context.verify_cert()?;
        Ok(!is_sound && MISMATCHES.contains(&context.error().as_raw()))
    })
}
