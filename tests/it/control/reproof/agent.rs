//! The agent of an enterprise over real SIP and TLS: the carrier's gateway, the agent's listener, and the
//! answer to the authority.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use tn_authority::domain::control::proof::ProofState;
use tn_authority::gateways::{
    ConfiguredGateway, GatewayThreads, Gateways, IN_MESSAGES, SipGateway, SipSettings, Template,
};

use super::{DAY, HOUR, feed, gives, now, proofs, renews, wanted, works};
use crate::control::proven::{not_older_than, set, setup};
use crate::control_sip::agent::{RunningAgent, account_key, new_key_pem};
use crate::control_sip::carrier::free_udp_port;
use crate::support::service::Api;
use crate::support::tls::{TlsServer, whole_request};
use crate::support::{Kind, World};
use crate::webhooks::house::until;

both!(a_certificate_holder_with_an_agent_is_renewed_although_it_was_down);

/// Passes requests on to a service that has no TLS, and closes each connection after one answer.
fn passes_on(front: TlsServer, to: SocketAddr) {
    front.serve(move |stream| {
        let Some(request) = whole_request(stream) else {
            return;
        };
        let request = request.replacen("\r\n", "\r\nconnection: close\r\n", 1);
        let mut server = TcpStream::connect(to).expect("the service");
        server.write_all(request.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        let _ = server.read_to_end(&mut answer);
        let _ = stream.write_all(&answer);
    });
}

fn a_certificate_holder_with_an_agent_is_renewed_although_it_was_down(kind: Kind) {
    let front = TlsServer::new();
    let (url, root) = (front.url(), front.root.clone());
    let setup = setup(set(&not_older_than(86_400)), 0);
    let api = Api::published_at(World::new(kind, setup), &url);
    passes_on(front, api.address());
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

    let pem = new_key_pem();
    let proxy = vec![Ipv4Addr::LOCALHOST.into()];
    let start_agent = || RunningAgent::start(&listen, &pem, (&url, &root), proxy.clone());
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
