//! `fingerprint`: what binds a token to an ACME account.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use tn_authority::domain::Fingerprint;

use super::Outcome;

/// Print the fingerprint of an ACME account key (RFC 7638, SHA-256), as a token request takes it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The public key as a JWK.
    jwk: PathBuf,
}

pub fn run(args: &Args) -> Outcome {
    let jwk = fs::read_to_string(&args.jwk)
        .map_err(|e| format!("`{}` cannot be read: {e}", args.jwk.display()))?;
    println!("{}", Fingerprint::of_jwk(&jwk)?);
    Ok(ExitCode::SUCCESS)
}
