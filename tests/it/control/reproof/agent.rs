//! The agent of an enterprise over real SIP and TLS: the carrier's gateway, the agent's listener, and the
//! answer to the authority.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use chrono::TimeDelta;
use openssl::pkey::PKey;
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::X509;
use tn_authority::acme::{AccountKey, Sleep};
use tn_authority::agent::{AgentParts, AgentThreads, ControlAgent};
use tn_authority::domain::Clock;
use tn_authority::domain::control::proof::ProofState;
use tn_authority::gateways::{
    ConfiguredGateway, GatewayThreads, Gateways, IN_MESSAGES, SipGateway, SipSettings, Template,
};
use tn_authority::outgoing::{Outgoing, ReplyLimits, Way};
use tn_authority::signer::FileKey;
use tn_authority::signer::development::DevelopmentCa;
use tn_authority::sip::server::SipServer;

use super::{DAY, HOUR, feed, gives, now, proofs, renews, wanted, works};
use crate::control::proven::{not_older_than, set, setup};
use crate::control_sip::carrier::free_udp_port;
use crate::support::service::Api;
use crate::support::{Kind, World};
use crate::webhooks::house::until;

both!(a_certificate_holder_with_an_agent_is_renewed_although_it_was_down);

/// TLS before a server that has none. Closes each connection after one answer.
struct TlsFront {
    address: SocketAddr,
    root: String,
    listener: TcpListener,
    tls: SslAcceptor,
}

impl TlsFront {
    fn new() -> Self {
        let now = Clock::system().now();
        let validity = now - TimeDelta::hours(1)..=now + TimeDelta::days(1);
        let ca = DevelopmentCa::new("Carrier CA", validity.clone()).expect("a CA");
        let issued = ca.issue_tls_certificate(&["127.0.0.1"], &validity);
        let issued = issued.expect("a certificate");
        let mut tls = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).expect("TLS");
        let key = PKey::private_key_from_pem(issued.key_pem.as_bytes()).expect("a key");
        tls.set_private_key(&key).expect("a key");
        let leaf = X509::from_pem(issued.chain_pem.as_bytes()).expect("a certificate");
        tls.set_certificate(&leaf).expect("a certificate");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        Self {
            address: listener.local_addr().expect("an address"),
            root: ca.certificate_pem().expect("a certificate"),
            listener,
            tls: tls.build(),
        }
    }

    fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Passes requests on, as long as the test runs.
    fn serve(self, to: SocketAddr) {
        thread::spawn(move || {
            for stream in self.listener.incoming().flatten() {
                let tls = self.tls.clone();
                thread::spawn(move || {
                    let Ok(mut stream) = tls.accept(stream) else {
                        return;
                    };
                    let Some(request) = whole_request(&mut stream) else {
                        return;
                    };
                    let mut server = TcpStream::connect(to).expect("the service");
                    server.write_all(&request).expect("sent");
                    let mut answer = Vec::new();
                    let _ = server.read_to_end(&mut answer);
                    let _ = stream.write_all(&answer);
                    let _ = stream.shutdown();
                });
            }
        });
    }
}

/// A request with its body, which asks the server to close the connection after the answer.
fn whole_request(stream: &mut impl std::io::Read) -> Option<Vec<u8>> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let taken = stream.read(&mut piece).ok().filter(|taken| *taken > 0)?;
        bytes.extend_from_slice(&piece[..taken]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_length = name.eq_ignore_ascii_case("content-length");
            is_length.then(|| value.trim().parse::<usize>().ok())?
        });
        if body.len() >= length.unwrap_or_default() {
            let head = head.replacen("\r\n", "\r\nconnection: close\r\n", 1);
            return Some(format!("{head}\r\n\r\n{body}").into_bytes());
        }
    }
}

/// The enterprise's agent, on a UDP port. Without it nothing answers there.
struct RunningAgent {
    server: Option<SipServer>,
    agent: Option<Arc<ControlAgent>>,
    threads: Option<AgentThreads>,
}

impl RunningAgent {
    fn start(listen: &str, pem: &str, authority: &str, root: &str) -> Self {
        let limits = ReplyLimits {
            body: 65_536,
            time: Duration::from_secs(20),
        };
        let (agent, threads) = ControlAgent::start(AgentParts {
            key: account_key(pem),
            http: Outgoing::new(Some(root), limits, Way::Direct).expect("a client"),
            authority: authority.parse().expect("a URL"),
            numbers: Vec::new(),
            pause: Arc::new(Sleep),
        })
        .expect("an agent");
        let target = listen.parse().expect("a target");
        let server = SipServer::start(&target, Vec::new(), agent.handler()).expect("a listener");
        Self {
            server: Some(server),
            agent: Some(agent),
            threads: Some(threads),
        }
    }
}

impl Drop for RunningAgent {
    fn drop(&mut self) {
        drop((self.server.take(), self.agent.take()));
        if let Some(threads) = self.threads.take() {
            threads.join();
        }
    }
}

fn account_key(pem: &str) -> AccountKey {
    let key = FileKey::from_pem(pem.as_bytes()).expect("a key");
    AccountKey::new(key).expect("an account key")
}

fn a_certificate_holder_with_an_agent_is_renewed_although_it_was_down(kind: Kind) {
    let front = TlsFront::new();
    let (url, root) = (front.url(), front.root.clone());
    let setup = setup(set(&not_older_than(86_400)), 0);
    let api = Api::published_at(World::new(kind, setup), &url);
    front.serve(api.address());
    let world = &api.world;
    let port = free_udp_port();
    let listen = format!("udp:127.0.0.1:{port}");
    let gateway = SipGateway::new(SipSettings {
        target: listen.parse().expect("a target"),
        from: "sip:control@carrier.example".to_owned(),
        timeout: Duration::from_secs(1),
    });
    let gateways = Gateways {
        all: vec![ConfiguredGateway {
            name: "sip-gateway".to_owned(),
            gateway: Box::new(gateway.expect("a gateway")),
            concurrency: 2,
            timeout: Duration::from_secs(1),
        }],
        message: Template::parse("{code}", IN_MESSAGES).expect("a template"),
    };
    let threads = GatewayThreads::start(&world.authority, &Arc::new(gateways)).expect("threads");

    let key = openssl::ec::EcGroup::from_curve_name(openssl::nid::Nid::X9_62_PRIME256V1)
        .and_then(|group| openssl::ec::EcKey::generate(&group))
        .and_then(PKey::from_ec_key)
        .and_then(|key| key.private_key_to_pem_pkcs8())
        .expect("a key");
    let pem = String::from_utf8(key).expect("PEM");
    let start_agent = || RunningAgent::start(&listen, &pem, &url, &root);
    let loan = world.lends("acme", "+12125551950");
    let mut new = wanted(&loan, &["one:12125551950"], DAY);
    new.fingerprint = account_key(&pem).fingerprint();
    let right = gives(world, new).expect("a right");
    let is_confirmed = |n: usize| {
        let all = proofs(world);
        let confirmed = all
            .iter()
            .filter(|proof| proof.state(world.now()) == ProofState::Confirmed);
        confirmed.count() >= n
    };

    let is_pending = || {
        let all = proofs(world);
        all.iter()
            .any(|proof| proof.state(world.now()) == ProofState::Pending)
    };

    let agent = start_agent();
    assert_eq!(works(world), 1);
    until("the agent answers", || is_confirmed(1));
    renews(world, &right).expect("the first token");
    drop(agent);
    // The agent is down when the next proof is due: from now on nobody answers.
    for _ in 0..40 {
        world.seconds_pass(HOUR / 2);
        works(world);
        renews(world, &right).expect("the last proof is less than a day old");
        if feed(world).len() > 1 {
            break;
        }
    }
    assert!(feed(world).len() > 1, "the account is told");
    // It comes back, and answers the next one.
    let agent = start_agent();
    for _ in 0..12 {
        world.seconds_pass(900);
        works(world);
        until("the code is answered or expires", || {
            // The gateway waits for its next attempt.
            world.seconds_pass(1);
            is_confirmed(2) || !is_pending()
        });
        renews(world, &right).expect("there is no gap");
        if is_confirmed(2) {
            break;
        }
    }
    assert!(is_confirmed(2));
    world.seconds_pass(HOUR);
    works(world);
    let due = now(world, &right)
        .control
        .and_then(|control| control.due_at);
    assert!(due.expect("a time") > world.in_seconds(10 * HOUR));
    drop((agent, threads));
}
