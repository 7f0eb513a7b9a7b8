//! A carrier whose numbers leave, and what its worker and its receivers do.

use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use tn_authority::authority::{ChangeError, NewWebhook};
use tn_authority::domain::Caller;
use tn_authority::domain::inventory::Reason;
use tn_authority::domain::webhook::{Delivery, EventKind, Webhook};
use tn_authority::store::Page;
use tn_authority::webhooks::Sender;
use uuid::Uuid;

use super::target::Received;
use crate::support::{Kind, World, wait};

/// The name of what the secrets are derived from.
pub const DERIVED_BY: &str = "0123456789abcdef";

pub fn subscribes(world: &World, caller: &Caller, url: &str) -> Result<Webhook, ChangeError> {
    let new = NewWebhook {
        account: None,
        url: url.parse().expect("a URL"),
        kinds: vec![EventKind::GrantsWithdrawn],
        derived_by: DERIVED_BY.to_owned(),
    };
    wait(world.authority.subscribe(caller, new))
}

/// A carrier that lends numbers to acme.
pub fn carrier(kind: Kind) -> World {
    let world = World::from(kind);
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.10XX");
    world
}

/// A token for a number, and the number is ported out.
pub fn ports(world: &World, number: &str) -> String {
    let issued = world
        .mints("acme", &[&format!("one:{}", &number[1..])])
        .expect("a token");
    world.excludes(number, Reason::PortedOut, None);
    issued.jti.to_string()
}

pub const PROCESS: Uuid = Uuid::from_u128(1);
pub const OTHER_PROCESS: Uuid = Uuid::from_u128(2);

/// One round of a worker, without its threads: takes what is due, sends it, and records what came back.
pub fn round(world: &World, sender: &Sender) -> Vec<Delivery> {
    let taken = wait(world.authority.take_deliveries(PROCESS, 10)).expect("deliveries");
    let service = Caller::the_service(Uuid::from_u128(9));
    let one = |assignment| {
        let answer = sender.send(&assignment, world.now()).expect("a signature");
        let recorded = world
            .authority
            .attempted(&service, PROCESS, assignment, (answer, 0));
        wait(recorded).expect("a record").expect("its own delivery")
    };
    taken.into_iter().map(one).collect()
}

pub fn log(world: &World, webhook: &Webhook) -> Vec<Delivery> {
    let page = Page::new(100, None);
    world
        .authority
        .deliveries(&world.provisioner(), webhook.id, &page)
        .expect("a log")
        .items
}

/// Checks a signature as a receiver does, with the secret that it was shown.
pub fn is_signed(received: &Received, secret: &str) -> bool {
    let header = |name: &str| received.headers.get(name).expect(name).as_str();
    let secret = STANDARD
        .decode(secret.strip_prefix("whsec_").expect("a secret"))
        .expect("base64");
    let message = format!(
        "{}.{}.{}",
        header("webhook-id"),
        header("webhook-timestamp"),
        received.body
    );
    let key = PKey::hmac(&secret).expect("a key");
    let mut signer = Signer::new(MessageDigest::sha256(), &key).expect("a signer");
    let made = signer
        .sign_oneshot_to_vec(message.as_bytes())
        .expect("a signature");
    let wanted = format!("v1,{}", STANDARD.encode(made));
    header("webhook-signature")
        .split(' ')
        .any(|signature| signature == wanted)
}

/// Waits until something holds, which it must within a while.
pub fn until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}
