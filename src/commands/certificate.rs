//! `certificate`: what a certificate says, and whether its key can sign tokens.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};
use tn_authority::domain::certificate::{Certificate, CertificateError, SigningFault};
use tn_authority::domain::clock::rfc3339;
use tn_authority::domain::{Clock, Time};

use super::Outcome;

/// Look at certificates.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Print one JSON line a file: names, validity, key, TNAuthList, and whether the key can sign tokens now. Exit 1 if a
    /// file cannot be read.
    Inspect {
        /// PEM, of which the first certificate is looked at, or DER.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

pub fn run(command: &Command) -> Outcome {
    let Command::Inspect { files } = command;
    let now = Clock::system().now();
    let mut out = io::stdout().lock();
    let mut exit = ExitCode::SUCCESS;
    for file in files {
        let line = match first_certificate(file) {
            Ok(certificate) => described(file, &certificate, now),
            Err(error) => {
                exit = ExitCode::FAILURE;
                json!({ "file": file.display().to_string(), "error": error })
            }
        };
        writeln!(out, "{line}")?;
    }
    Ok(exit)
}

fn first_certificate(file: &Path) -> Result<Certificate, String> {
    let bytes = fs::read(file).map_err(|e| format!("the file cannot be read: {e}"))?;
    // DER starts with a SEQUENCE, which PEM, being text, does not.
    if let [0x30, 0x80..=0x84, ..] = bytes[..] {
        return Certificate::from_der(&bytes).map_err(|e| e.to_string());
    }
    let chain = Certificate::chain_from_pem(&String::from_utf8_lossy(&bytes));
    let first = chain.and_then(|chain| chain.into_iter().next().ok_or(CertificateError::None));
    first.map_err(|e| e.to_string())
}

fn described(file: &Path, certificate: &Certificate, now: Time) -> Value {
    let list = certificate.tn_auth_list();
    let faults = certificate.signing_faults(now);
    let mut line = json!({
        "file": file.display().to_string(),
        "subject": certificate.subject(),
        "serial": certificate.serial(),
        "not_before": rfc3339(&certificate.not_before()),
        "not_after": rfc3339(&certificate.not_after()),
        "key": certificate.key_kind().to_string(),
        "ca": certificate.is_ca(),
        "tn_auth_list": list.as_ref().ok().map(|list| json!(list.entries())),
        "usable_for_signing": faults.is_empty(),
        "reasons": faults.iter().map(SigningFault::to_string).collect::<Vec<_>>(),
    });
    if let Err(error) = list {
        line["tn_auth_list_error"] = json!(error.to_string());
    }
    line
}
