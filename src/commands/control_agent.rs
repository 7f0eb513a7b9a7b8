//! `control-agent`: the enterprise's side of control by SIP.

use std::error::Error;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use log::LevelFilter;
use parking_lot::{Condvar, Mutex};
use tn_authority::acme::{AccountKey, Pause, Stopped};
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
/// Prints the address that it listens on, and runs until SIGTERM or SIGINT.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  tn-authority control-agent --listen udp:192.0.2.10:5060 --account-key account.pem \\
      --authority https://authority.example --proxy 192.0.2.1 --numbers 1.212.555.1XXX")]
pub struct Args {
    /// Where messages arrive: `udp:ADDRESS:PORT` or `tcp:ADDRESS:PORT` (repeatable).
    #[arg(long, value_name = "ADDRESS", required = true)]
    listen: Vec<SipTarget>,
    /// The private key of the account at the CA (PEM, EC P-256), as for `redeem`.
    #[arg(long, value_name = "FILE")]
    account_key: PathBuf,
    /// The authority, the only one that nonces are returned to.
    #[arg(long, value_name = "URL")]
    authority: HttpsUrl,
    /// The addresses that messages come from; others are ignored. Default: all (repeatable).
    #[arg(long, value_name = "IP")]
    proxy: Vec<IpAddr>,
    /// The numbers that are answered for. Default: all.
    #[arg(long, value_parser = parse_numbers, num_args = 1..)]
    numbers: Vec<NumberRange>,
    /// Root certificates for TLS with the authority (PEM). Default: those of the system.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// Waits, unless the agent is stopped.
#[derive(Debug, Default)]
struct UntilStopped {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl UntilStopped {
    fn stop(&self) {
        *self.stopped.lock() = true;
        self.changed.notify_all();
    }
}

impl Pause for UntilStopped {
    fn pause(&self, time: Duration) -> Result<(), Stopped> {
        let mut stopped = self.stopped.lock();
        let running = |stopped: &mut bool| !*stopped;
        let waited = self.changed.wait_while_for(&mut stopped, running, time);
        if waited.timed_out() {
            Ok(())
        } else {
            Err(Stopped)
        }
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
    let pause = Arc::new(UntilStopped::default());
    let (agent, threads) = ControlAgent::start(AgentParts {
        http: Outgoing::new(roots.as_deref(), limits, Way::Environment)?,
        authority: args.authority.clone(),
        numbers: args.numbers.clone(),
        pause: Arc::clone(&pause) as _,
        key,
    })?;
    let sources: Vec<IpAddr> = args.proxy.iter().map(IpAddr::to_canonical).collect();
    let mut servers = Vec::new();
    for listen in &args.listen {
        let server = SipServer::start(listen, sources.clone(), agent.handler());
        let server = server.map_err(|e| -> Box<dyn Error> {
            format!("cannot listen on `{listen}`: {e}; choose another `--listen`").into()
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
    pause.stop();
    drop((servers, agent));
    threads.join();
    outcome
}
