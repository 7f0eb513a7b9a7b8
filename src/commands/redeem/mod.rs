//! `redeem`: the enterprise's side. Gets a certificate for numbers from a CA, with a token of the
//! authority, once or periodically.

mod files;
mod work;

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use log::LevelFilter;
use serde_json::json;
use tn_authority::acme::renewal::{RenewalStop, keep};
use tn_authority::acme::{AcmeError, ChallengeMember, Kind, Pause, Sleep, Stopped};
use tn_authority::app;
use tn_authority::domain::clock::{Time, parse_time, rfc3339};
use tn_authority::domain::numbers::block::parse_numbers;
use tn_authority::domain::{Clock, NumberRange, Spc};
use tn_authority::outgoing::HttpsUrl;
use tn_authority::signer::csr::subject;
use tn_authority::telemetry::{self, LogFormat};

use super::{Exit, Outcome};
use crate::commands::output::say;
use work::{Redeemed, Redemption};

/// Exit code if the authority refuses a token.
const AUTHORITY_REFUSES: u8 = 3;
/// Exit code if the CA refuses.
const CA_REFUSES: u8 = 4;

/// Get a certificate for numbers from a CA by ACME (RFC 8555, RFC 9448), with an authority token.
///
/// Requests a token at the authority that delegated the numbers, answers the CA's challenge with
/// it, and stores the certificate. With `--renew` it keeps running and renews the certificate.
///
/// Exits with 0 if it is done, or was stopped by SIGTERM or SIGINT; 1 on other failures; 2 if the
/// arguments are wrong; 3 if the authority refuses; 4 if the CA refuses.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  tn-authority redeem --directory https://ca.example/directory --account-key account.pem \\
      --token-url https://authority.example/at/account/acme/token --api-key-file acme.apikey \\
      --numbers +12125551001 --out acme.pem --agree-tos")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub struct Args {
    /// The CA's ACME directory.
    #[arg(long, value_name = "URL")]
    directory: HttpsUrl,
    /// The private key of the account at the CA (PEM, EC P-256). Generated if the file does not
    /// exist.
    #[arg(long, value_name = "FILE")]
    account_key: PathBuf,
    /// The token endpoint of the account at the authority, such as
    /// `https://authority.example/at/account/acme/token`.
    #[arg(long, value_name = "URL", required_unless_present = "star_cancel")]
    token_url: Option<HttpsUrl>,
    /// A file with the API key for the token endpoint. Default: the variable
    /// `TN_AUTHORITY_API_KEY`.
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Numbers for the certificate, in this order: `1.212.555.1XXX`, `+12125551001`, or
    /// `+12125551000+1000` (a start and a count).
    #[arg(long, value_parser = parse_numbers, num_args = 1.., required_unless_present_any = ["spc", "star_cancel"])]
    numbers: Vec<NumberRange>,
    /// A service provider code for the certificate, before the numbers; for the carrier itself
    /// (repeatable).
    #[arg(long, value_name = "CODE")]
    spc: Vec<Spc>,
    /// The file for the certificate, followed by those of its issuers (PEM). An existing one is
    /// replaced.
    #[arg(long, value_name = "FILE", required_unless_present = "star_cancel")]
    out: Option<PathBuf>,
    /// The private key of the certificate (PEM, EC P-256). Generated if the file does not exist.
    /// Default: the path of `--out` with the extension `key`.
    #[arg(long, value_name = "FILE")]
    csr_key: Option<PathBuf>,
    /// The subject of the certificate as RFC 4514 writes it. Default: `CN=SHAKEN CODE`, or `CN=`
    /// and the first number.
    #[arg(long, value_name = "NAME", value_parser = subject)]
    subject: Option<String>,
    /// Request a CA certificate, which can issue further certificates.
    #[arg(long)]
    ca: bool,
    /// The lifetime of the token, in seconds. Default: the authority's.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    lifetime: Option<u32>,
    /// Root certificates for TLS with the CA and with the authority (PEM). Default: those of the
    /// system.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// A contact for the CA: an e-mail address, or a URL such as `mailto:numbers@example.com`
    /// (repeatable).
    #[arg(long, value_name = "ADDRESS")]
    contact: Vec<String>,
    /// Agree to the CA's terms of service.
    #[arg(long)]
    agree_tos: bool,
    /// The key identifier of an external account binding (RFC 8555 §7.3.4), for CAs that require
    /// one.
    #[arg(long, value_name = "KID", requires = "eab_key_file")]
    eab_kid: Option<String>,
    /// A file with the MAC key of that binding, in base64url.
    #[arg(long, value_name = "FILE", requires = "eab_kid")]
    eab_key_file: Option<PathBuf>,
    /// The JSON member in which the CA expects the token: `tkauth` (RFC 9447), or `atc` for older
    /// CAs.
    #[arg(long, value_name = "NAME", value_parser = member, default_value = "tkauth")]
    challenge_member: ChallengeMember,
    /// The timeout for one certificate, from the directory to the file, in seconds: 1 to 86400.
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    timeout: u32,
    /// Keep running, and renew the certificate after about two thirds of its lifetime, until
    /// SIGTERM or until the authority refuses. If it refuses because control of the numbers is not
    /// proven, retry until the certificate ends.
    #[arg(long)]
    renew: bool,
    /// Let the CA renew the certificate until this time (STAR, RFC 8739), such as
    /// 2027-01-31T00:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = parse_time, requires = "star_lifetime")]
    star_until: Option<Time>,
    /// The lifetime of each of those certificates, in seconds.
    #[arg(long, value_name = "SECONDS", requires = "star_until", value_parser = clap::value_parser!(u32).range(1..))]
    star_lifetime: Option<u32>,
    /// Only cancel this order, which the CA renews.
    #[arg(long, value_name = "ORDER_URL", conflicts_with_all = ["renew", "star_until", "numbers", "spc"])]
    star_cancel: Option<HttpsUrl>,
    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Outcome {
    let clock = Clock::system();
    let mut work = Redemption::prepare(args, &clock)?;
    if let Some(order) = &args.star_cancel {
        return match work.cancel(order, &Sleep) {
            Ok(()) if args.json => print_line(&json!({ "canceled": order.as_str() })),
            Ok(()) => print_line(&format_args!("canceled {order}")),
            Err(error) => Ok(failed(&error)),
        };
    }
    if args.renew {
        return renew_until_stopped(&mut work, &clock);
    }
    match work.redeem(&Sleep) {
        Ok(redeemed) => print(&redeemed, args.json),
        Err(error) => Ok(failed(&error)),
    }
}

fn renew_until_stopped(work: &mut Redemption, clock: &Clock) -> Outcome {
    telemetry::init(LogFormat::Auto, LevelFilter::Info)?;
    let until_signal = UntilSignal(app::on_termination()?);
    let current = work.current()?;
    let mut renew = || work.renew(&until_signal);
    match keep(
        current,
        clock,
        &until_signal,
        &mut random_fraction,
        &mut renew,
    ) {
        RenewalStop::Stopped => {
            log::info!("stopped");
            Ok(Exit::SUCCESS)
        }
        RenewalStop::Over => {
            log::info!("the automatic renewal is over");
            Ok(Exit::SUCCESS)
        }
        RenewalStop::Refused(error) => {
            let why = error.to_string();
            log::error!(why = why.as_str(); "no more certificates are fetched");
            Ok(failed(&error))
        }
    }
}

/// A pause that SIGTERM or SIGINT ends.
struct UntilSignal(Receiver<()>);

impl Pause for UntilSignal {
    fn pause(&self, time: Duration) -> Result<(), Stopped> {
        match self.0.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Err(Stopped),
        }
    }
}

/// A random number from 0 to 1. If there is no randomness there is no jitter, which is harmless.
fn random_fraction() -> f64 {
    getrandom::u32().map_or(0.5, |n| f64::from(n) / f64::from(u32::MAX))
}

fn failed(error: &AcmeError) -> Exit {
    let failed = super::report(error);
    match error.kind() {
        Kind::AuthorityRefuses | Kind::ControlNotProven => Exit::from(AUTHORITY_REFUSES),
        Kind::CaRefuses => Exit::from(CA_REFUSES),
        Kind::Stopped => Exit::SUCCESS,
        Kind::Other => failed,
    }
}

fn print_line(line: &dyn std::fmt::Display) -> Outcome {
    say!("{line}");
    Ok(Exit::SUCCESS)
}

fn print(redeemed: &Redeemed, as_json: bool) -> Outcome {
    let leaf = redeemed.chain.leaf();
    let star = redeemed.star.as_ref().map(HttpsUrl::as_str);
    if as_json {
        let line = json!({
            "certificate": redeemed.out.display().to_string(),
            "key": redeemed.key.display().to_string(),
            "subject": leaf.subject(),
            "serial": leaf.serial(),
            "not_before": rfc3339(&leaf.not_before()),
            "not_after": rfc3339(&leaf.not_after()),
            "order": redeemed.order.as_str(),
            "star_certificate": star,
        });
        return print_line(&line);
    }
    say!("certificate {}", redeemed.out.display());
    say!("key         {}", redeemed.key.display());
    say!("subject     {}", leaf.subject());
    say!(
        "valid       {} to {}",
        rfc3339(&leaf.not_before()),
        rfc3339(&leaf.not_after())
    );
    say!("order       {}", redeemed.order);
    if let Some(star) = star {
        say!("next ones   {star}");
    }
    Ok(Exit::SUCCESS)
}

fn member(text: &str) -> Result<ChallengeMember, &'static str> {
    [ChallengeMember::Tkauth, ChallengeMember::Atc]
        .into_iter()
        .find(|member| member.as_str() == text)
        .ok_or("expected `tkauth` or `atc`")
}
