//! `certificate`: what a certificate says, whether its key can sign tokens, and a request for a new one.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tn_authority::app;
use tn_authority::config::Config;
use tn_authority::domain::clock::rfc3339;
use tn_authority::domain::hex::hex;
use tn_authority::domain::signing::certificate::{Certificate, CertificateError};
use tn_authority::domain::{Clock, Spc, Time};
use tn_authority::signer::csr::{certificate_request, subject};
use tn_authority::signer::{Chain, FileKey, SigningKey};

use super::{Exit, Outcome, file};

/// Look at certificates, and ask for new ones.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Print one JSON line a file: names, validity, key, TNAuthList, and whether the key can sign tokens now. Exit 1 if a
    /// file cannot be read.
    Inspect {
        /// A code of the carrier, that the certificate has to name; may be given more than once.
        #[arg(long, value_name = "CODE")]
        spc: Vec<Spc>,
        /// PEM, of which the first certificate is looked at, or DER.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    Request(RequestArgs),
}

/// Print a certificate request (PEM) with the TNAuthList of a code, for the carrier's own CA. The key is a file, or in a
/// module of hardware; the section `signer` of the configuration says how encrypted keys and modules are opened.
#[derive(Debug, clap::Args)]
pub struct RequestArgs {
    /// The service provider code.
    #[arg(long, value_name = "CODE")]
    spc: Spc,
    /// A file in PEM, or a URI such as `pkcs11:token=carrier;object=signing`.
    #[arg(long, value_name = "FILE|URI")]
    key: String,
    /// Make the key: into a new file, or in the module, which it then never leaves.
    #[arg(long)]
    new: bool,
    /// The subject, in the form of RFC 4514. Default: `CN=SHAKEN CODE`.
    #[arg(long, value_name = "NAME", value_parser = subject)]
    subject: Option<String>,
}

pub fn run(command: &Command, config: Option<&Path>) -> Outcome {
    match command {
        Command::Inspect { spc, files } => inspect(files, spc),
        Command::Request(args) => request(args, &Config::load(config)?),
    }
}

fn request(args: &RequestArgs, config: &Config) -> Outcome {
    let key: Box<dyn SigningKey> = if args.key.starts_with("pkcs11:") {
        let (uri, pkcs11) = (args.key.parse()?, app::pkcs11(&config.signer.pkcs11));
        Box::new(if args.new {
            pkcs11.generate(&uri)?
        } else {
            pkcs11.open(&uri)?
        })
    } else if args.new {
        Box::new(new_key_file(Path::new(&args.key))?)
    } else {
        let passphrase = app::passphrase(&config.signer);
        let passphrase = passphrase.map(|source| source.read("passphrase of the signing key"));
        Box::new(FileKey::open(
            Path::new(&args.key),
            passphrase.transpose()?.as_ref(),
        )?)
    };
    let usual = format!("CN=SHAKEN {}", args.spc);
    let subject = args.subject.as_deref().unwrap_or(&usual);
    let request = certificate_request(&*key, &args.spc, subject)?;
    io::stdout().write_all(request.as_bytes())?;
    Ok(Exit::SUCCESS)
}

/// Makes a key in a file that nobody else can read, and never takes the place of another.
pub(super) fn new_key_file(path: &Path) -> Result<FileKey, Box<dyn std::error::Error>> {
    let (key, pem) = FileKey::generate()?;
    file::keep(path, pem.as_bytes())?;
    Ok(key)
}

fn inspect(files: &[PathBuf], own: &[Spc]) -> Outcome {
    let now = Clock::system().now();
    let mut out = io::stdout().lock();
    let mut exit = Exit::SUCCESS;
    for file in files {
        let line = match read(file) {
            Ok((certificate, chain)) => described(file, &certificate, chain.as_ref(), own, now),
            Err(error) => {
                exit = Exit::FAILURE;
                json!({ "file": file.display().to_string(), "error": error })
            }
        };
        writeln!(out, "{line}")?;
    }
    Ok(exit)
}

/// The first certificate, and what keeps the file from being a chain, if anything does.
fn read(path: &Path) -> Result<(Certificate, Option<Result<Chain, String>>), String> {
    let bytes = file::bytes(path)?;
    // DER starts with a SEQUENCE, which PEM, being text, does not.
    if let [0x30, 0x80..=0x84, ..] = bytes[..] {
        let certificate = Certificate::from_der(&bytes).map_err(|e| e.to_string())?;
        return Ok((certificate, None));
    }
    let text = String::from_utf8_lossy(&bytes);
    let first = match Certificate::chain_from_pem(&text) {
        Ok(all) => all.into_iter().next().ok_or(CertificateError::None),
        // Whatever follows, the first one may be readable.
        Err(error) => Certificate::first_from_pem(&text).map_err(|_| error),
    };
    let first = first.map_err(|e| e.to_string())?;
    Ok((
        first,
        Some(Chain::from_pem(&text).map_err(|e| e.to_string())),
    ))
}

fn described(
    file: &Path,
    certificate: &Certificate,
    chain: Option<&Result<Chain, String>>,
    own: &[Spc],
    now: Time,
) -> Value {
    let list = certificate.tn_auth_list();
    let faults = certificate.signing_faults(now);
    let mut reasons: Vec<String> = faults.iter().map(ToString::to_string).collect();
    let mut warnings = Vec::new();
    match chain {
        Some(Ok(chain)) => {
            warnings = chain.warnings();
            if !own.is_empty() && list.is_ok() {
                reasons.extend(chain.names_one_of(own).err().map(|e| e.to_string()));
            }
            // The leaf's own faults are named already.
            if faults.is_empty() {
                reasons.extend(chain.usable_at(now).err().map(|e| e.to_string()));
            }
        }
        Some(Err(error)) => reasons.push(error.clone()),
        None => {}
    }
    let mut line = json!({
        "file": file.display().to_string(),
        "subject": certificate.subject(),
        "issuer": certificate.issuer(),
        "serial": certificate.serial(),
        "not_before": rfc3339(&certificate.not_before()),
        "not_after": rfc3339(&certificate.not_after()),
        "key": certificate.key_kind().to_string(),
        "ca": certificate.is_ca(),
        "tn_auth_list": list.as_ref().ok().map(|list| json!(list.entries())),
        "usable_for_signing": reasons.is_empty(),
        "reasons": reasons,
        "warnings": warnings,
    });
    if let Err(error) = list {
        line["tn_auth_list_error"] = json!(error.to_string());
        // What it holds instead, for whoever has to talk to the CA about it.
        if let Some(der) = certificate.tn_auth_list_der() {
            line["tn_auth_list_der"] = json!(hex(der));
        }
    }
    line
}
