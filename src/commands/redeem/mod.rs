//! `redeem`: the enterprise's side. Gets a certificate for numbers from a CA, with a token of the authority, once or again
//! and again.

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

/// The authority refuses: there is no right to a certificate, or none any more.
const AUTHORITY_REFUSES: u8 = 3;
/// The CA refuses.
const CA_REFUSES: u8 = 4;

/// Get a certificate for numbers from a CA, over ACME (RFC 8555, RFC 9448), with a token of the authority that lent them.
///
/// Exit 0 done, or stopped by SIGTERM or SIGINT; 1 it could not be done; 2 the arguments are wrong; 3 the authority refuses; 4 the CA
/// refuses.
#[derive(Debug, clap::Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub struct Args {
    /// The CA's ACME directory.
    #[arg(long, value_name = "URL")]
    directory: HttpsUrl,
    /// The key of the account with the CA (PEM, EC P-256); made if the file is not there.
    #[arg(long, value_name = "FILE")]
    account_key: PathBuf,
    /// The authority's token endpoint, such as `https://authority.example/at/account/acme/token`.
    #[arg(long, value_name = "URL", required_unless_present = "star_cancel")]
    token_url: Option<HttpsUrl>,
    /// Holds the API key for the token endpoint. Without it, the variable `TN_AUTHORITY_API_KEY` does.
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// `1.212.555.1XXX`, `+12125551001`, or `+12125551000+1000` (a start and a count). In the certificate they stand in
    /// this order.
    #[arg(long, value_parser = parse_numbers, num_args = 1.., required_unless_present_any = ["spc", "star_cancel"])]
    numbers: Vec<NumberRange>,
    /// A service provider code, for the carrier itself; it stands before the numbers.
    #[arg(long, value_name = "CODE")]
    spc: Vec<Spc>,
    /// Where the certificate goes, followed by those of its issuers (PEM).
    #[arg(long, value_name = "FILE", required_unless_present = "star_cancel")]
    out: Option<PathBuf>,
    /// The key of the certificate (PEM, EC P-256); made if the file is not there. Default: `--out` with the ending `key`.
    #[arg(long, value_name = "FILE")]
    csr_key: Option<PathBuf>,
    /// The subject of the certificate, in the form of RFC 4514. Default: `CN=SHAKEN CODE`, or `CN=` and the first number.
    #[arg(long, value_name = "NAME", value_parser = subject)]
    subject: Option<String>,
    /// Ask for a certificate that may issue others.
    #[arg(long)]
    ca: bool,
    /// Seconds that the token shall live.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    lifetime: Option<u32>,
    /// Roots for the TLS of the CA's directory and of the token endpoint (PEM). Default: the system's.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Where the CA may reach whoever is responsible: an address of e-mail, or a URL such as `mailto:numbers@example.com`.
    #[arg(long, value_name = "ADDRESS")]
    contact: Vec<String>,
    /// Agree to the CA's terms of service.
    #[arg(long)]
    agree_tos: bool,
    /// The identifier of an external account binding, for CAs that ask for one.
    #[arg(long, value_name = "KID", requires = "eab_key_file")]
    eab_kid: Option<String>,
    /// Holds the MAC key of that binding, in base64url.
    #[arg(long, value_name = "FILE", requires = "eab_kid")]
    eab_key_file: Option<PathBuf>,
    /// The member that the CA takes the token under: `tkauth` (RFC 9447), or `atc` for older ones.
    #[arg(long, value_name = "NAME", value_parser = member, default_value = "tkauth")]
    challenge_member: ChallengeMember,
    /// Seconds that one certificate may take, from the directory to the file.
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    timeout: u32,
    /// Go on: fetch the next certificate after about two thirds of this one's life, until SIGTERM, or until the authority
    /// refuses.
    #[arg(long)]
    renew: bool,
    /// Let the CA renew until then (STAR, RFC 8739).
    #[arg(long, value_name = "T", value_parser = parse_time, requires = "star_lifetime")]
    star_until: Option<Time>,
    /// Seconds that each of those certificates is valid.
    #[arg(long, value_name = "SECONDS", requires = "star_until", value_parser = clap::value_parser!(u32).range(1..))]
    star_lifetime: Option<u32>,
    /// Do nothing but end an order that the CA renews.
    #[arg(long, value_name = "ORDER_URL", conflicts_with_all = ["renew", "star_until", "numbers", "spc"])]
    star_cancel: Option<HttpsUrl>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Outcome {
    let clock = Clock::system();
    let mut work = Redemption::prepare(args, &clock)?;
    if let Some(order) = &args.star_cancel {
        return match work.cancel(order, &Sleep) {
            Ok(()) if args.json => said(&json!({ "canceled": order.as_str() })),
            Ok(()) => said(&format_args!("canceled {order}")),
            Err(error) => Ok(failed(&error)),
        };
    }
    if args.renew {
        return run_on(&mut work, &clock);
    }
    match work.redeem(&Sleep) {
        Ok(redeemed) => print(&redeemed, args.json),
        Err(error) => Ok(failed(&error)),
    }
}

fn run_on(work: &mut Redemption, clock: &Clock) -> Outcome {
    telemetry::init(LogFormat::Auto, LevelFilter::Info)?;
    let until_told = UntilTold(app::on_termination()?);
    let held = work.held()?;
    let mut renew = || work.renew(&until_told);
    match keep(held, clock, &until_told, &mut chance, &mut renew) {
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

/// A pause that a signal ends.
struct UntilTold(Receiver<()>);

impl Pause for UntilTold {
    fn pause(&self, time: Duration) -> Result<(), Stopped> {
        match self.0.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Err(Stopped),
        }
    }
}

/// 0 to 1, the same for each. Without chance there is no jitter, which harms nobody.
fn chance() -> f64 {
    getrandom::u32().map_or(0.5, |n| f64::from(n) / f64::from(u32::MAX))
}

fn failed(error: &AcmeError) -> Exit {
    let failed = super::report(error);
    match error.kind() {
        Kind::AuthorityRefuses => Exit::from(AUTHORITY_REFUSES),
        Kind::CaRefuses => Exit::from(CA_REFUSES),
        Kind::Stopped => Exit::SUCCESS,
        Kind::Other => failed,
    }
}

fn said(line: &dyn std::fmt::Display) -> Outcome {
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
        return said(&line);
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
