//! Which of the certificates that were found are chains of a signing key, and which are issuers'.
//!
//! Tools that renew certificates leave a folder with several views of one chain: cert-manager
//! `tls.crt` and `ca.crt`, certbot `cert.pem`, `chain.pem` and `fullchain.pem`. An issuer's
//! certificate is no alarm there, and completes the chains that it is missing from.

use std::path::PathBuf;
use std::sync::Arc;

use super::ScanResult;
use super::files::{Certificates, ScannedFile};
use crate::domain::Time;
use crate::domain::signing::certificate::Certificate;
use crate::signer::{Chain, SigningKey};

/// The public keys that any of the certificates is for.
pub(super) fn public_keys(certificates: &[(ScannedFile, Certificates)]) -> Vec<Vec<u8>> {
    let keys = certificates.iter().filter_map(|(_, found)| match found {
        Certificates::Chain(chain) => Some(chain.leaf_key_der().to_vec()),
        Certificates::OfCas(all) => all.first().and_then(|first| first.public_key_der().ok()),
    });
    keys.collect()
}

/// The chains that could sign, complete as far as possible, with their files: one for each leaf,
/// the longest.
pub(super) fn chains(
    certificates: Vec<(ScannedFile, Certificates)>,
    keys: &[Arc<dyn SigningKey>],
    at: Time,
    found: &mut ScanResult,
) -> Vec<(PathBuf, Chain)> {
    let mut chains: Vec<(PathBuf, Chain)> = Vec::new();
    let mut of_cas = Vec::new();
    for (file, found) in certificates {
        match found {
            Certificates::Chain(chain) => chains.push((file.path, *chain)),
            Certificates::OfCas(all) => of_cas.push((file, all)),
        }
    }
    let mut issuers = Vec::new();
    for (file, all) in of_cas {
        if !file.is_named && are_issuers(&all, &chains, keys) {
            found.issuers.push(file.path.display().to_string());
            issuers.extend(all);
            continue;
        }
        match Chain::new(all) {
            Ok(chain) => chains.push((file.path, chain)),
            Err(error) => found.refuse(file.path.display(), &error, None),
        }
    }
    let mut complete: Vec<(PathBuf, Chain)> = Vec::new();
    for (path, chain) in chains {
        let chain = chain.completed(&issuers, at);
        let is_same = |known: &&mut (PathBuf, Chain)| known.1.leaf() == chain.leaf();
        match complete.iter_mut().find(is_same) {
            Some(known) if chain.length() > known.1.length() => *known = (path, chain),
            Some(_) => {}
            None => complete.push((path, chain)),
        }
    }
    complete
}

/// Whether certificates of CAs are only issuers'. A CA's certificate may sign tokens too (RFC 9448
/// requires neither kind), so it is missed if its key is here, or if it has a TNAuthList but has
/// issued nothing that is here.
fn are_issuers(
    all: &[Certificate],
    chains: &[(PathBuf, Chain)],
    keys: &[Arc<dyn SigningKey>],
) -> bool {
    let Some(first) = all.first() else {
        return false;
    };
    let public_key = first.public_key_der().unwrap_or_default();
    if keys.iter().any(|key| key.public_key_der() == public_key) {
        return false;
    }
    first.tn_auth_list_der().is_none()
        || chains
            .iter()
            .any(|(_, chain)| chain.leaf().issuer() == first.subject())
}
