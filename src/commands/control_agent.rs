//! `control-agent`: the enterprise's side of control by SIP.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use log::LevelFilter;
use tn_authority::acme::AccountKey;
use tn_authority::agent::{AgentParts, ControlAgent};
use tn_authority::app;
use tn_authority::domain::NumberRange;
use tn_authority::domain::numbers::block::parse_numbers;
use tn_authority::outgoing::{HttpsUrl, Outgoing, ReplyLimits, Way};
use tn_authority::sip::server::SipServer;
use tn_authority::sip::target::SipTarget;
use tn_authority::telemetry::{self, LogFormat};

use super::{Exit, Outcome, file};
use crate::commands::output::say;

/// The largest answer of the authority that is read.
const MAX_ANSWER_BYTES: u64 = 65_536;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// How often it looks whether all of its threads are running.
const LOOK: Duration = Duration::from_secs(1);

/// Answer the authority's SIP messages to your numbers, so that control of them is proven without
/// a person.
///
/// The authority sends a nonce to a number by SIP `MESSAGE` (RFC 3428), through the carrier's
/// proxy. The PBX routes it to this agent, which returns the nonce to the authority over HTTPS,
/// signed with the ACME account key. It needs no API key.
///
/// Prints the fingerprint of the key, whose proofs it can answer, and the address that it listens
/// on. Runs until SIGTERM or SIGINT.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  tn-authority control-agent --listen udp:192.0.2.10:5060 --account-key account.pem \\
      --authority https://authority.example --proxy 192.0.2.1 --numbers 1.212.555.1XXX")]
pub struct Args {
    /// Where messages arrive: `udp:ADDRESS:PORT` or `tcp:ADDRESS:PORT` (repeatable).
    #[arg(long, value_name = "ADDRESS", required = true, value_parser = listen_address)]
    listen: Vec<SipTarget>,
    /// The private key of the account at the CA (PEM, EC P-256), as for `redeem`.
    #[arg(long, value_name = "FILE")]
    account_key: PathBuf,
    /// The authority, the only one that nonces are returned to: an `https://` URL.
    #[arg(long, value_name = "URL", value_parser = authority_url)]
    authority: HttpsUrl,
    /// The addresses of the carrier's proxies, from which messages arrive (repeatable). What comes
    /// from other addresses is dropped unread: anyone who can reach the port could otherwise keep
    /// the agent busy.
    #[arg(long, value_name = "IP", required = true)]
    proxy: Vec<IpAddr>,
    /// The numbers that are answered for. Default: all.
    #[arg(long, value_parser = parse_numbers, num_args = 1..)]
    numbers: Vec<NumberRange>,
    /// Root certificates for TLS with the authority (PEM). Default: those of the system.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

fn listen_address(text: &str) -> Result<SipTarget, &'static str> {
    text.parse().map_err(|_| {
        "an address to listen on is `udp:ADDRESS:PORT` or `tcp:ADDRESS:PORT`, such as `udp:0.0.0.0:5060`"
    })
}

fn authority_url(text: &str) -> Result<HttpsUrl, String> {
    if text.starts_with("http://") {
        return Err(
            "`http://` is not encrypted, so nonces could be read and changed on the way; use the `https://` URL of \
             the authority"
                .to_owned(),
        );
    }
    if text.trim_end_matches('/').ends_with("/v1") {
        return Err(
            "name the authority without `/v1`, which is part of the paths of its API".to_owned(),
        );
    }
    text.parse().map_err(|error| format!("{error}"))
}

/// What helps if an address cannot be listened on.
fn listen_help(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::AddrInUse => {
            "another program has this port; stop it, or choose another port and let the PBX route there"
        }
        ErrorKind::AddrNotAvailable => {
            "this machine does not have this address; name one of its own, or `0.0.0.0` for all of them"
        }
        ErrorKind::PermissionDenied => "ports below 1024 need privileges; choose a higher one",
        _ => "name an address and a port of this machine, such as `udp:0.0.0.0:5060`",
    }
}

pub fn run(args: &Args) -> Outcome {
    telemetry::init(LogFormat::Auto, LevelFilter::Info)?;
    let key = AccountKey::new(file::own_key(&args.account_key)?)?;
    let roots = args.ca_file.as_deref().map(file::text).transpose()?;
    let limits = ReplyLimits {
        body: MAX_ANSWER_BYTES,
        time: ANSWER_TIMEOUT,
    };
    let stop = app::on_termination()?;
    let fingerprint = key.fingerprint();
    let (agent, threads) = ControlAgent::start(AgentParts {
        http: Outgoing::new(roots.as_deref(), limits, Way::Environment)?,
        authority: args.authority.clone(),
        numbers: args.numbers.clone(),
        key,
    })?;
    say!("answering with the ACME account key {fingerprint}");
    let sources: Vec<IpAddr> = args.proxy.iter().map(IpAddr::to_canonical).collect();
    let mut servers = Vec::new();
    for listen in &args.listen {
        let server = SipServer::start(listen, sources.clone(), agent.handler());
        let server = server.map_err(|e| -> Box<dyn Error> {
            format!("cannot listen on `{listen}`: {e}; {}", listen_help(&e)).into()
        })?;
        let transport = listen.transport().as_str().to_ascii_lowercase();
        say!("listening on {transport}:{}", server.local());
        servers.push(server);
    }
    let is_running = || threads.are_running() && servers.iter().all(SipServer::is_running);
    let outcome = loop {
        match stop.recv_timeout(LOOK) {
            Err(RecvTimeoutError::Timeout) if is_running() => {}
            // One that does not listen, or returns nothing, must not look as if it did.
            Err(RecvTimeoutError::Timeout) => {
                break Err(
                    "a thread has ended unexpectedly; see the log, and start it again".into(),
                );
            }
            Ok(()) | Err(RecvTimeoutError::Disconnected) => break Ok(Exit::SUCCESS),
        }
    };
    log::info!("stopping");
    drop((servers, agent));
    threads.join();
    outcome
}
