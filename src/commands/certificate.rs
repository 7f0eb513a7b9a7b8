//! `certificate`: describes certificates, and writes requests for new ones.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tn_authority::app;
use tn_authority::authority::{of_certificate, refusal};
use tn_authority::config::Config;
use tn_authority::domain::clock::rfc3339;
use tn_authority::domain::signing::certificate::{Certificate, CertificateError};
use tn_authority::domain::signing::distrust::Distrust;
use tn_authority::domain::signing::profile_fault::ProfileFault;
use tn_authority::domain::{Clock, Spc, Time};
use tn_authority::signer::csr::{
    AlternativeName, PolicyId, RequestedNames, certificate_request, subject, usual_subject,
};
use tn_authority::signer::{Chain, FileKey, SigningKey};

use super::{Exit, Outcome, file};

/// Inspect signing certificates, and request new ones.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Print one JSON line per file: names, validity, key, TNAuthList, and whether it can be used
    /// to sign tokens now.
    ///
    /// `reasons` says why it cannot be used. With `--config`, that includes a key that is
    /// distrusted, which the database knows. `warnings` names the rules of ATIS-1000080, RFC 8226
    /// and RFC 5280 that the certificates of the file break, and what to do. Exits with 1 if a file
    /// cannot be read.
    #[command(after_help = "\
Example:
  tn-authority certificate inspect --spc 1234 /etc/tn-authority/signing.pem")]
    Inspect {
        /// A service provider code of the carrier; the certificate must name one of those given
        /// (repeatable).
        #[arg(long, value_name = "CODE")]
        spc: Vec<Spc>,
        /// A certificate chain in PEM, whose first certificate is described, or a certificate in
        /// DER.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    Request(RequestArgs),
}

/// Print a certificate request (PEM) for a service provider code, to be sent to the carrier's CA.
///
/// The key is in a file or in a hardware security module. The section `signer` of the configuration
/// has the passphrase of an encrypted key, and the module and its PIN.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tn-authority certificate request --spc 1234 --key signing.key --new > signing.csr
  tn-authority certificate request --spc 1234 --key 'pkcs11:token=carrier;object=signing'
  tn-authority certificate request --spc 1234 --key signing.key --organization 'Acme Telecom' \\
    --san DNS:authority.example.com --policy 2.16.840.1.114569.1.1.3")]
pub struct RequestArgs {
    /// The service provider code that the request's TNAuthList names.
    #[arg(long, value_name = "CODE")]
    spc: Spc,
    /// The key: a PEM file, or a URI such as `pkcs11:token=carrier;object=signing`.
    #[arg(long, value_name = "FILE|URI")]
    key: String,
    /// Generate the key, in a new file, or in the module, which it then never leaves.
    #[arg(long)]
    new: bool,
    /// The subject as RFC 4514 writes it. Default: `CN=SHAKEN CODE`.
    #[arg(long, value_name = "NAME", value_parser = subject, conflicts_with = "organization")]
    subject: Option<String>,
    /// The organization in the default subject: `CN=SHAKEN CODE,O=NAME`.
    #[arg(long, value_name = "NAME")]
    organization: Option<String>,
    /// A subject alternative name: `DNS:`, `URI:`, `email:` or `IP:` and its value (repeatable).
    /// Some CAs accept no signing certificate without one.
    #[arg(long, value_name = "NAME")]
    san: Vec<AlternativeName>,
    /// The OID of a certificate policy (repeatable).
    #[arg(long, value_name = "OID")]
    policy: Vec<PolicyId>,
}

pub fn run(command: &Command, config: Option<&Path>) -> Outcome {
    match command {
        Command::Inspect { spc, files } => {
            let distrusts = match config {
                Some(_) => app::distrusts(&Config::load(config)?)?,
                None => Vec::new(),
            };
            inspect(files, spc, &distrusts)
        }
        Command::Request(args) => request(args, &Config::load(config)?),
    }
}

fn request(args: &RequestArgs, config: &Config) -> Outcome {
    // Before a key is made.
    let names = RequestedNames {
        subject: match &args.subject {
            Some(subject) => subject.clone(),
            None => usual_subject(&args.spc, args.organization.as_deref())?,
        },
        alternative: args.san.clone(),
        policies: args.policy.clone(),
    };
    let key: Box<dyn SigningKey> = if args.key.starts_with("pkcs11:") {
        let (uri, pkcs11) = (args.key.parse()?, app::pkcs11(&config.signer.pkcs11));
        Box::new(if args.new {
            pkcs11.generate(&uri)?
        } else {
            pkcs11.open(&uri, &[])?
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
    let request = certificate_request(&*key, &args.spc, &names)?;
    io::stdout().write_all(request.as_bytes())?;
    Ok(Exit::SUCCESS)
}

/// Generates a key in a file that only its owner can read. Never replaces an existing file.
pub(super) fn new_key_file(path: &Path) -> Result<FileKey, Box<dyn std::error::Error>> {
    let (key, pem) = FileKey::generate()?;
    file::keep(path, pem.as_bytes())?;
    Ok(key)
}

fn inspect(files: &[PathBuf], own: &[Spc], distrusts: &[Distrust]) -> Outcome {
    let now = Clock::system().now();
    let mut out = io::stdout().lock();
    let mut exit = Exit::SUCCESS;
    for file in files {
        let line = match read(file) {
            Ok((certificate, chain)) => {
                let mut line = described(file, &certificate, chain.as_ref(), own, now);
                if let Some(distrust) = of_certificate(distrusts, &certificate) {
                    add_reason(&mut line, &refusal(distrust));
                }
                line
            }
            Err(error) => {
                exit = Exit::FAILURE;
                json!({ "file": file.display().to_string(), "error": error })
            }
        };
        writeln!(out, "{line}")?;
    }
    Ok(exit)
}

fn add_reason(line: &mut Value, reason: &str) {
    line["usable_for_signing"] = json!(false);
    if let Some(reasons) = line["reasons"].as_array_mut() {
        reasons.push(json!(reason));
    }
}

/// The first certificate, and the whole chain or why the file is not one; `None` for DER.
fn read(path: &Path) -> Result<(Certificate, Option<Result<Chain, String>>), String> {
    let bytes = file::bytes(path)?;
    // DER starts with the tag of a SEQUENCE and a length of several bytes; PEM is text.
    if let [0x30, 0x80..=0x84, ..] = bytes[..] {
        let certificate = Certificate::from_der(&bytes).map_err(|e| e.to_string())?;
        return Ok((certificate, None));
    }
    let text = String::from_utf8_lossy(&bytes);
    let first = match Certificate::chain_from_pem(&text) {
        Ok(all) => all.into_iter().next().ok_or(CertificateError::None),
        // Even if a later certificate is malformed, the first can be readable.
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
    let profile: Vec<(usize, ProfileFault)> = if let Some(Ok(chain)) = chain {
        chain.profile_faults().collect()
    } else {
        let faults = certificate.profile_faults().into_iter();
        faults.map(|fault| (1, fault)).collect()
    };
    match chain {
        Some(Ok(chain)) => {
            warnings = chain.warnings();
            if !own.is_empty() && list.is_ok() {
                reasons.extend(chain.names_one_of(own).err().map(|e| e.to_string()));
            }
            // The leaf's own faults are in the list already.
            if faults.is_empty() {
                reasons.extend(chain.usable_at(now).err().map(|e| e.to_string()));
            }
        }
        Some(Err(error)) => reasons.push(error.clone()),
        None => {}
    }
    warnings.extend(profile.iter().map(|(number, fault)| {
        if *number == 1 {
            fault.to_string()
        } else {
            format!("certificate {number}: {fault}")
        }
    }));
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
        // The raw bytes, for the operator's report to the CA.
        if let Some(der) = certificate.tn_auth_list_der() {
            line["tn_auth_list_der"] = json!(hex::encode(der));
        }
    }
    line
}
