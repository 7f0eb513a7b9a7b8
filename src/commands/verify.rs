//! `verify`: checks a token as a CA does.

use std::error::Error;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Timelike as _};
use tn_authority::domain::text::printable::printable;
use tn_authority::domain::{Clock, Dialect, Fingerprint, Time, TkType, TkValue};
use tn_authority::outgoing::{
    FailureSide, HostPort, HttpRequest, HttpsUrl, Outgoing, OutgoingError, ReplyLimits, Way,
};
use tn_authority::verifier::{self, Expectations, MissingChain, TrustList, verify};

use super::{Exit, Outcome, file};

/// Exit code if the check could not run; 1 means that the token was refused.
const COULD_NOT_RUN: u8 = 2;
/// The answer of an authority that distrusts the key of the chain (RFC 9110 §15.5.11).
const GONE: u16 = 410;
/// A chain has a handful of certificates, and an order waits while it is fetched.
const X5U: ReplyLimits = ReplyLimits {
    body: 64 * 1024,
    time: Duration::from_secs(5),
};

/// Check an authority token as a CA does (RFC 9448 §6), and print the result of each step.
///
/// Exits with 0 if the token is accepted, 1 if it is refused, 2 if the check could not run. A chain
/// that is not found at `x5u`, or a host that does not answer, refuses the token; `problem` of the
/// JSON report is the type of the ACME error for the client.
///
/// The only URL ever fetched is an `x5u` at a host given by `--x5u-host`. Without `--trust`, a
/// chain given by `--x5u-file` is trusted as it is; a fetched chain never is.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tn-authority verify --trust sti-roots.pem --x5u-host authority.example \\
      --account-jwk account-key.jwk --identifier MAigBhYEMTIzNA - < token
  tn-authority verify --x5u-file https://authority.example/certs/1.pem=chain.pem \\
      --fingerprint 'SHA256 56:3E:..' \"$TOKEN\"")]
pub struct Args {
    /// Certificates of trusted authorities, or of the CAs that issue to them (repeatable).
    #[arg(long, value_name = "PEM")]
    trust: Vec<PathBuf>,
    /// Use the chain in this file instead of fetching the `x5u` URL (repeatable).
    #[arg(long, value_name = "URL=PEM", value_parser = x5u_file)]
    x5u_file: Vec<(String, PathBuf)>,
    /// A host that `x5u` may be fetched from, with its port if that is not 443 (repeatable): HTTPS,
    /// no redirects, up to 64 KiB and 5 seconds.
    #[arg(long, value_name = "HOST", requires = "trust")]
    x5u_host: Vec<HostPort>,
    /// CAs that those hosts' TLS certificates must come from. Default: those of the system.
    #[arg(long, value_name = "PEM", requires = "x5u_host")]
    x5u_ca: Option<PathBuf>,
    #[command(flatten)]
    account: AccountKeyArgs,
    /// The identifier of the ACME order, which `tkvalue` must equal. Default: not compared.
    #[arg(long, value_name = "TKVALUE")]
    identifier: Option<String>,
    /// The type of the identifier: TNAuthList or JWTClaimConstraints.
    #[arg(long, value_name = "TYPE", default_value_t)]
    tktype: TkType,
    /// Accept padded standard base64 too, as some older authorities write it.
    #[arg(long)]
    legacy: bool,
    /// `cA` of the CSR's basicConstraints, which `ca` must equal. Default: not compared.
    #[arg(long, value_name = "BOOL")]
    ca: Option<bool>,
    /// The name of this CA. Needed for tokens that have an `aud`.
    #[arg(long, value_name = "NAME")]
    audience: Option<String>,
    /// Check as of this time (RFC 3339), such as 2022-01-01T00:00:00Z. Default: now.
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<Time>,
    /// Print the report as one JSON object.
    #[arg(long)]
    json: bool,
    /// The token, or `-` to read it from standard input.
    #[arg(allow_hyphen_values = true)]
    token: String,
}

/// The ACME account that the token must be bound to.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct AccountKeyArgs {
    /// The ACME account's public key (JWK). Its thumbprint (RFC 7638) is compared.
    #[arg(long, value_name = "FILE")]
    account_jwk: Option<PathBuf>,
    /// The fingerprint of the ACME account's key: `SHA256 56:3E:..`.
    #[arg(long)]
    fingerprint: Option<Fingerprint>,
}

#[expect(clippy::unnecessary_wraps, reason = "every command has this shape")]
pub fn run(args: &Args) -> Outcome {
    match check(args) {
        Ok(accepted) => Ok(Exit::from(u8::from(!accepted))),
        Err(error) => {
            super::report(&*error);
            Ok(Exit::from(COULD_NOT_RUN))
        }
    }
}

fn check(args: &Args) -> Result<bool, Box<dyn Error>> {
    let dialect = if args.legacy {
        Dialect::Legacy
    } else {
        Dialect::Strict
    };
    let identifier = args.identifier.as_deref();
    let identifier = identifier.map(|text| {
        TkValue::read(args.tktype, text, dialect).map_err(|e| format!("`--identifier`: {e}"))
    });
    let identifier = identifier.transpose()?;
    let token = token(args)?;
    let mut trust = trust(args)?;
    fetch(args, &token, &mut trust)?;
    let expected = Expectations {
        trust,
        fingerprint: args.account.fingerprint()?,
        tktype: args.tktype,
        dialect,
        identifier,
        ca: args.ca,
        audience: args.audience.clone(),
    };
    let at = args.at.unwrap_or_else(|| Clock::system().now());
    let report = verify(&token, &expected, at);
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    } else {
        writeln!(out, "{report}")?;
    }
    Ok(report.accepted())
}

fn trust(args: &Args) -> Result<TrustList, Box<dyn Error>> {
    let mut trust = TrustList::default();
    for path in &args.trust {
        let pem = file::text(path)?;
        trust
            .trust_pem(&pem)
            .map_err(|e| format!("`{}`: {e}", path.display()))?;
    }
    for (url, path) in &args.x5u_file {
        let pem = file::text(path)?;
        trust
            .publish_pem(url, &pem)
            .map_err(|e| format!("`{}`: {e}", path.display()))?;
    }
    Ok(trust)
}

/// Fetches the chain that the token names, if its host is allowed and no file has it. The maker of
/// a token chooses its URL, so an answer that is no chain, or none at all, refuses the token. The
/// check could not run only if the cause is here: the network, the configuration.
fn fetch(args: &Args, token: &str, trust: &mut TrustList) -> Result<(), Box<dyn Error>> {
    let Some(url) = verifier::x5u(token).and_then(|url| url.parse::<HttpsUrl>().ok()) else {
        // The verifier reports what is wrong with it.
        return Ok(());
    };
    if !args.x5u_host.contains(url.host()) || trust.knows(url.as_str()) {
        return Ok(());
    }
    let roots = args.x5u_ca.as_deref().map(file::text).transpose()?;
    let reply = Outgoing::new(roots.as_deref(), X5U, Way::Environment)?.send(
        &url,
        HttpRequest::Get,
        &[("Accept", "application/x-pem-file, */*;q=0.1")],
        X5U.time,
    );
    let missing = match reply {
        Ok(reply) if reply.status == GONE => {
            trust.withdraw(url.as_str());
            return Ok(());
        }
        Ok(reply) if reply.status == 200 => match String::from_utf8(reply.body) {
            Ok(pem) => match trust.publish_pem(url.as_str(), &pem) {
                Ok(()) => return Ok(()),
                Err(error) => MissingChain::BadAnswer(error.to_string()),
            },
            Err(_) => MissingChain::BadAnswer("it is not PEM".to_owned()),
        },
        Ok(reply) => {
            let why = format!("expected status 200, got {}", reply.status);
            MissingChain::BadAnswer(why)
        }
        Err(OutgoingError::TooLong { limit, .. }) => {
            MissingChain::BadAnswer(format!("it is longer than {limit} bytes"))
        }
        Err(OutgoingError::Late { seconds, .. }) => {
            MissingChain::NoAnswer(format!("no response within {seconds} seconds"))
        }
        Err(OutgoingError::Failed {
            why,
            side: FailureSide::Peer,
            ..
        }) => MissingChain::NoAnswer(printable(&why)),
        Err(
            error @ (OutgoingError::Failed {
                side: FailureSide::Own,
                ..
            }
            | OutgoingError::Url
            | OutgoingError::Host
            | OutgoingError::Roots(_)),
        ) => {
            let hint = "check the network and the name resolution of this machine, and whether `--x5u-ca` has the CA \
                        of that host";
            return Err(format!("`x5u` cannot be fetched: {error}; {hint}").into());
        }
    };
    trust.is_missing(url.as_str(), missing);
    Ok(())
}

impl AccountKeyArgs {
    fn fingerprint(&self) -> Result<Fingerprint, Box<dyn Error>> {
        match (&self.account_jwk, self.fingerprint) {
            (_, Some(fingerprint)) => Ok(fingerprint),
            (Some(path), None) => Ok(Fingerprint::of_jwk(&file::text(path)?)
                .map_err(|e| format!("`{}`: {e}", path.display()))?),
            (None, None) => {
                Err("give `--account-jwk` or `--fingerprint` of the ACME account".into())
            }
        }
    }
}

/// Text that is not UTF-8 is passed on too: it is not a token, so the verifier refuses it.
fn token(args: &Args) -> io::Result<String> {
    if args.token != "-" {
        return Ok(args.token.clone());
    }
    let bytes = file::all_of(io::stdin().lock())?;
    Ok(String::from_utf8_lossy(bytes.trim_ascii()).into_owned())
}

/// Splits at the last `=`, since a URL can contain one and a file name seldom does.
fn x5u_file(text: &str) -> Result<(String, PathBuf), &'static str> {
    match text.rsplit_once('=') {
        Some((url, file)) if !url.is_empty() && !file.is_empty() => {
            Ok((url.to_owned(), file.into()))
        }
        _ => Err("expected URL=PEM"),
    }
}

fn time(text: &str) -> Result<Time, String> {
    let time = DateTime::parse_from_rfc3339(text)
        .map_err(|e| format!("{e}; write it as 2022-01-01T00:00:00Z"))?;
    Ok(time.with_nanosecond(0).unwrap_or(time).to_utc())
}
