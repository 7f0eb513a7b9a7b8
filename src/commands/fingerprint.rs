//! `fingerprint`: the fingerprint that binds a token to an ACME account.

use std::path::PathBuf;

use tn_authority::acme::AccountKey;
use tn_authority::domain::Fingerprint;
use tn_authority::signer::FileKey;

use super::output::say;
use super::{Exit, Outcome, file};

/// Print the fingerprint of an ACME account key (RFC 7638, SHA-256), as a token request needs it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  tn-authority fingerprint account-key.jwk")]
pub struct Args {
    /// A file with the public key (JWK), or with the private P-256 key that `redeem` uses (PEM).
    key: PathBuf,
}

pub fn run(args: &Args) -> Outcome {
    let text = file::text(&args.key)?;
    let fingerprint = if text.contains("-----BEGIN ") {
        AccountKey::new(FileKey::from_pem(text.as_bytes())?)?.fingerprint()
    } else {
        Fingerprint::of_jwk(&text)?
    };
    say!("{fingerprint}");
    Ok(Exit::SUCCESS)
}
