//! The enterprise's agent, within the test.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::PKey;
use tn_authority::acme::AccountKey;
use tn_authority::agent::{AgentParts, AgentThreads, ControlAgent};
use tn_authority::outgoing::{Outgoing, ReplyLimits, Way};
use tn_authority::signer::FileKey;
use tn_authority::sip::server::SipServer;

/// An agent that listens. When it is dropped, nothing answers there.
pub struct RunningAgent {
    server: Option<SipServer>,
    agent: Option<Arc<ControlAgent>>,
    threads: Option<AgentThreads>,
}

impl RunningAgent {
    /// Answers to an authority, with its URL and root, what comes from the sources.
    pub fn start(listen: &str, pem: &str, (url, root): (&str, &str), sources: Vec<IpAddr>) -> Self {
        let limits = ReplyLimits {
            body: 65_536,
            time: Duration::from_secs(20),
        };
        let (agent, threads) = ControlAgent::start(AgentParts {
            key: account_key(pem),
            http: Outgoing::new(Some(root), limits, Way::Direct).expect("a client"),
            authority: url.parse().expect("a URL"),
            numbers: Vec::new(),
        })
        .expect("an agent");
        let target = listen.parse().expect("a target");
        let server = SipServer::start(&target, sources, agent.handler()).expect("a listener");
        Self {
            server: Some(server),
            agent: Some(agent),
            threads: Some(threads),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.server.as_ref().expect("a server").local()
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

pub fn new_key_pem() -> String {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("P-256");
    let key = PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key");
    let pem = key.private_key_to_pem_pkcs8().expect("PEM");
    String::from_utf8(pem).expect("PEM")
}

pub fn account_key(pem: &str) -> AccountKey {
    let key = FileKey::from_pem(pem.as_bytes()).expect("a key");
    AccountKey::new(key).expect("an account key")
}
