//! Webhooks against real HTTPS servers: what is told, to whom, how often, and where nothing goes.

use std::collections::HashMap;
use std::io::Write as _;
use std::net::{IpAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::X509;
use serde_json::{Value, json};
use tempfile::TempDir;
use tn_authority::authority::{NewWebhook, Refused};
use tn_authority::domain::inventory::Reason;
use tn_authority::domain::webhook::{Answer, Delivery, DeliveryState, EventKind, Webhook};
use tn_authority::domain::{Caller, Clock, Role};
use tn_authority::signer::development::DevelopmentCa;
use tn_authority::store::Page;
use tn_authority::webhooks::{Names, Sender, SenderSettings, SystemNames, Worker};
use uuid::Uuid;

use crate::fixtures::{items, member};
use crate::service::{Api, asking};
use crate::support::{Db, Kind, Setup, World, account, wait};

both! {
    a_withdrawal_is_told_with_a_signature,
    what_fails_is_sent_again_under_the_same_id,
    nothing_goes_inside,
    a_name_is_looked_up_once_for_each_attempt,
    a_crash_between_commit_and_delivery_loses_nothing,
    both_secrets_sign_after_a_rotation,
    what_cannot_be_told_is_given_up_and_can_be_replayed,
    a_target_that_is_gone_is_told_no_more,
    everybody_subscribes_for_what_is_theirs,
    a_target_that_never_answers_holds_up_nobody,
    two_replicas_tell_each_thing_once,
    a_malformed_subscription_is_told_what_is_wrong,
}

/// What a target was sent.
#[derive(Debug, Clone)]
struct Received {
    headers: HashMap<String, String>,
    body: String,
}

/// An HTTPS server of somebody's, on loopback, for the name `hooks.example`.
struct Target {
    port: u16,
    received: Arc<Mutex<Vec<Received>>>,
    ca_file: PathBuf,
    _dir: TempDir,
}

/// What a target answers to its n-th request, from 0: status and header lines; `None` is nothing, for a long time.
type Script = fn(usize) -> Option<(u16, String)>;

impl Target {
    fn answering(script: Script) -> Self {
        let (dir, now) = (TempDir::new().expect("a folder"), Clock::system().now());
        let validity = now - TimeDelta::hours(1)..=now + TimeDelta::days(1);
        let ca = DevelopmentCa::new("Hooks CA", validity.clone()).expect("a CA");
        let ca_file = dir.path().join("ca.pem");
        std::fs::write(&ca_file, ca.certificate_pem().expect("a certificate")).expect("a file");
        let issued = ca
            .issue_tls_certificate(&["hooks.example", "127.0.0.1"], &validity)
            .expect("a certificate");
        let mut tls = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).expect("TLS");
        let key = PKey::private_key_from_pem(issued.key_pem.as_bytes()).expect("a key");
        tls.set_private_key(&key).expect("a key");
        let leaf = X509::from_pem(issued.chain_pem.as_bytes()).expect("a certificate");
        tls.set_certificate(&leaf).expect("a certificate");
        let (tls, listener) = (
            tls.build(),
            TcpListener::bind("127.0.0.1:0").expect("a port"),
        );
        let port = listener.local_addr().expect("an address").port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&received);
        let count = Arc::new(AtomicUsize::new(0));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), tls, seen) = (stream, tls.clone(), Arc::clone(&seen)) else {
                    return;
                };
                let count = Arc::clone(&count);
                thread::spawn(move || {
                    let Ok(mut stream) = tls.accept(stream) else {
                        return;
                    };
                    let Some(request) = read(&mut stream) else {
                        return;
                    };
                    let answer = script(count.fetch_add(1, Ordering::SeqCst));
                    seen.lock().expect("a list").push(request);
                    let Some((status, head)) = answer else {
                        return thread::sleep(Duration::from_secs(60));
                    };
                    let text = format!(
                        "HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n{head}\r\n"
                    );
                    let _ = stream.write_all(text.as_bytes());
                });
            }
        });
        Self {
            port,
            received,
            ca_file,
            _dir: dir,
        }
    }

    fn taking() -> Self {
        Self::answering(|_| Some((204, String::new())))
    }

    fn url(&self) -> String {
        format!("https://hooks.example:{}/told?by=us", self.port)
    }

    fn received(&self) -> Vec<Received> {
        self.received.lock().expect("a list").clone()
    }

    /// A sender that believes this target and knows its name, and that may tell loopback.
    fn sender(&self) -> Arc<Sender> {
        self.sender_with(Fixed::of(&["127.0.0.1"]), &["127.0.0.0/8"])
    }

    fn sender_with(&self, names: Fixed, allowed: &[&str]) -> Arc<Sender> {
        let allowed = allowed.iter().map(|text| text.parse().expect("a network"));
        let settings = SenderSettings {
            allow_private: allowed.collect(),
            ca_file: Some(self.ca_file.clone()),
            key: vec![7; 32],
            names: Arc::new(names),
        };
        Arc::new(Sender::new(settings).expect("a sender"))
    }
}

fn read(stream: &mut impl std::io::Read) -> Option<Received> {
    let (mut text, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let taken = stream.read(&mut piece).ok().filter(|taken| *taken > 0)?;
        text.extend_from_slice(&piece[..taken]);
        let all = String::from_utf8_lossy(&text).into_owned();
        let Some((head, body)) = all.split_once("\r\n\r\n") else {
            continue;
        };
        let mut lines = head.lines();
        assert_eq!(lines.next(), Some("POST /told?by=us HTTP/1.1"));
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers: HashMap<_, _> = headers
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length: usize = headers.get("content-length")?.parse().ok()?;
        if body.len() >= length {
            return Some(Received {
                headers,
                body: body.to_owned(),
            });
        }
    }
}

/// Names as a DNS of somebody's answers them: each answer in its turn, the last one for ever.
#[derive(Debug)]
struct Fixed {
    answers: Vec<Vec<IpAddr>>,
    asked: Arc<AtomicUsize>,
}

impl Fixed {
    fn of(addresses: &[&str]) -> Self {
        Self::in_turn(&[addresses])
    }

    fn in_turn(answers: &[&[&str]]) -> Self {
        let parse = |answer: &&[&str]| {
            answer
                .iter()
                .map(|a| a.parse().expect("an address"))
                .collect()
        };
        Self {
            answers: answers.iter().map(parse).collect(),
            asked: Arc::default(),
        }
    }
}

impl Names for Fixed {
    fn addresses(&self, name: &str) -> std::io::Result<Vec<IpAddr>> {
        assert_eq!(name, "hooks.example");
        let turn = self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(self.answers[turn.min(self.answers.len() - 1)].clone())
    }
}

/// What services of other scenarios have, which tell nobody.
pub fn sender_to_nowhere() -> Arc<Sender> {
    let settings = SenderSettings {
        allow_private: Vec::new(),
        ca_file: None,
        key: vec![7; 32],
        names: Arc::new(SystemNames),
    };
    Arc::new(Sender::new(settings).expect("a sender"))
}

fn subscribes(world: &World, caller: &Caller, url: &str) -> Result<Webhook, Refused> {
    let new = NewWebhook {
        account: None,
        url: url.parse().expect("a URL"),
        kinds: vec![EventKind::GrantsWithdrawn],
    };
    wait(world.authority.subscribe(caller, new))
}

/// A carrier that lends numbers to acme.
fn carrier(kind: Kind) -> World {
    let world = World::from(kind);
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.10XX");
    world
}

/// A token for a number, and the number is ported out.
fn ports(world: &World, number: &str) -> String {
    let issued = world
        .mints("acme", &[&format!("one:{}", &number[1..])])
        .expect("a token");
    world.excludes(number, Reason::PortedOut, None);
    issued.jti.to_string()
}

const PROCESS: Uuid = Uuid::from_u128(1);
const OTHER_PROCESS: Uuid = Uuid::from_u128(2);

/// One round of a worker, without its threads: takes what is due, sends it, and records what came back.
fn round(world: &World, sender: &Sender) -> Vec<Delivery> {
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

fn log(world: &World, webhook: &Webhook) -> Vec<Delivery> {
    let page = Page::new(100, None);
    world
        .authority
        .deliveries(&world.provisioner(), webhook.id, &page)
        .expect("a log")
        .items
}

/// Checks a signature as a receiver does, with the secret that it was shown.
fn is_signed(received: &Received, secret: &str) -> bool {
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

fn a_withdrawal_is_told_with_a_signature(kind: Kind) {
    let (world, target) = (carrier(kind), Target::taking());
    let sender = target.sender();
    let before = ports(&world, "+12125551000");
    let webhook = subscribes(&world, &world.provisioner(), &target.url()).expect("a webhook");
    let secret = sender.secrets().shown(webhook.id, 1).expect("a secret");
    assert_eq!(round(&world, &sender).len(), 0);
    let jti = ports(&world, "+12125551001");
    let other = world
        .mints("acme", &["range:12125551010+2"])
        .expect("a token");
    let (port, at) = ("+12125551011", world.in_seconds(600));
    world.excludes(port, Reason::PortedOut, Some(at));

    let done = round(&world, &sender);
    assert_eq!(
        (done.len(), done[0].state, done[0].items),
        (1, DeliveryState::Delivered, 2)
    );
    let received = target.received();
    assert_eq!(received.len(), 1);
    assert!(is_signed(&received[0], &secret));
    assert!(!is_signed(
        &received[0],
        &sender.secrets().shown(webhook.id, 2).expect("a secret")
    ));
    let header = |name: &str| received[0].headers[name].clone();
    assert_eq!(header("webhook-id"), done[0].id.to_string());
    assert_eq!(
        header("webhook-timestamp"),
        world.now().timestamp().to_string()
    );
    assert_eq!(header("content-type"), "application/json");
    let event: Value = serde_json::from_str(&received[0].body).expect("JSON");
    assert_eq!(event["type"], "grants.withdrawn");
    let told = items(&event["data"]["items"]);
    assert_eq!(
        (told[0]["jti"].as_str(), &told[0]["reason"]),
        (Some(jti.as_str()), &json!("ported-out"))
    );
    assert_eq!(
        told[0]["numbers"],
        json!([{ "start": "+12125551001", "count": 1 }])
    );
    assert_eq!(
        (&told[1]["jti"], &told[1]["at"]),
        (&json!(other.jti), &json!("2026-01-01T00:10:00Z"))
    );
    assert_eq!(event["data"]["next_after"], told[1]["sequence"]);
    assert!(!received[0].body.contains(&before) && !received[0].body.contains("cause"));
    assert_eq!(round(&world, &sender).len(), 0);
    assert_eq!(log(&world, &webhook), done);
}

fn what_fails_is_sent_again_under_the_same_id(kind: Kind) {
    let world = carrier(kind);
    let elsewhere = Target::taking();
    let target = Target::answering(|n| match n {
        0 => Some((500, String::new())),
        // Nobody follows it, wherever it leads.
        1 => Some((307, "location: https://hooks.example:1/x\r\n".to_owned())),
        2 => Some((
            302,
            "location: http://169.254.169.254/latest\r\n".to_owned(),
        )),
        _ => Some((200, String::new())),
    });
    let sender = target.sender();
    let webhook = subscribes(&world, &world.provisioner(), &target.url()).expect("a webhook");
    ports(&world, "+12125551001");
    let mut failures = Vec::new();
    for wait in [10, 20, 40] {
        let done = round(&world, &sender).pop().expect("a delivery");
        assert_eq!(done.state, DeliveryState::Pending);
        failures.push((done.last_status, done.last_failure));
        world.seconds_pass(wait - 1);
        assert_eq!(round(&world, &sender).len(), 0);
        world.seconds_pass(1);
    }
    let redirect = |status| (Some(status), Some("redirect".to_owned()));
    assert_eq!(
        failures,
        [
            (Some(500), Some("status".to_owned())),
            redirect(307),
            redirect(302)
        ]
    );
    let done = round(&world, &sender).pop().expect("a delivery");
    assert_eq!(
        (done.state, done.attempts, done.last_failure),
        (DeliveryState::Delivered, 4, None)
    );
    let received = target.received();
    let all = |name: &str| {
        received
            .iter()
            .map(|r| r.headers[name].clone())
            .collect::<Vec<_>>()
    };
    assert!(
        all("webhook-id")
            .iter()
            .all(|id| *id == done.id.to_string()),
        "{:?}",
        all("webhook-id")
    );
    let mut times = all("webhook-timestamp");
    times.dedup();
    assert_eq!(times.len(), 4);
    assert!(received.iter().all(|r| r.body == received[0].body));
    let secret = sender.secrets().shown(webhook.id, 1).expect("a secret");
    assert!(received.iter().all(|r| is_signed(r, &secret)));
    assert!(elsewhere.received().is_empty());
}

fn nothing_goes_inside(kind: Kind) {
    let (world, target) = (carrier(kind), Target::taking());
    let webhook = subscribes(&world, &world.provisioner(), &target.url()).expect("a webhook");
    ports(&world, "+12125551001");
    for inside in [
        &["127.0.0.1"][..],
        &["::1"],
        &["169.254.169.254"],
        &["10.0.0.1"],
        &["100.64.0.1"],
        &["0.0.0.0"],
        &["::ffff:127.0.0.1"],
        &["64:ff9b::7f00:1"],
        &["2002:7f00:1::1"],
        &["fd00::1"],
        // One that may be told does not make up for one that may not.
        &["8.8.8.8", "127.0.0.1"],
    ] {
        let sender = target.sender_with(Fixed::of(inside), &[]);
        let done = round(&world, &sender).pop().expect("a delivery");
        assert_eq!(
            done.last_failure.as_deref(),
            Some("refused-address"),
            "{inside:?}"
        );
        world.seconds_pass(4 * 3_600);
    }
    wait(
        world
            .authority
            .end_webhook(&world.provisioner(), webhook.id),
    )
    .expect("a webhook");
    // A literal address is looked at too when it comes from elsewhere than a subscription over HTTP.
    let literal = format!("https://127.0.0.1:{}/told?by=us", target.port);
    subscribes(&world, &world.provisioner(), &literal).expect("a webhook");
    ports(&world, "+12125551002");
    let refused = target.sender_with(Fixed::of(&["8.8.8.8"]), &["10.0.0.0/8"]);
    let done = round(&world, &refused).pop().expect("a delivery");
    assert_eq!(done.last_failure.as_deref(), Some("refused-address"));
    assert!(target.received().is_empty());
    // Unless the carrier says so.
    world.seconds_pass(60);
    let allowed = target.sender_with(Fixed::of(&["8.8.8.8"]), &["127.0.0.1/32"]);
    assert_eq!(round(&world, &allowed)[0].state, DeliveryState::Delivered);
    assert_eq!(target.received().len(), 1);
}

fn a_name_is_looked_up_once_for_each_attempt(kind: Kind) {
    let (world, target) = (carrier(kind), Target::taking());
    let names = Fixed::in_turn(&[&["127.0.0.1"], &["169.254.169.254"], &[]]);
    let asked = Arc::clone(&names.asked);
    let sender = target.sender_with(names, &["127.0.0.0/8"]);
    subscribes(&world, &world.provisioner(), &target.url()).expect("a webhook");
    for (number, failure) in [
        ("+12125551001", None),
        ("+12125551002", Some("refused-address")),
    ] {
        ports(&world, number);
        let done = round(&world, &sender).pop().expect("a delivery");
        assert_eq!(done.last_failure.as_deref(), failure);
    }
    world.seconds_pass(60);
    let done = round(&world, &sender).pop().expect("a delivery");
    assert_eq!(done.last_failure.as_deref(), Some("no-address"));
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    assert_eq!(target.received().len(), 1);
}

fn a_crash_between_commit_and_delivery_loses_nothing(kind: Kind) {
    let (world, target) = (carrier(kind), Target::taking());
    let sender = target.sender();
    subscribes(&world, &world.provisioner(), &target.url()).expect("a webhook");
    ports(&world, "+12125551001");
    let take = |process| wait(world.authority.take_deliveries(process, 10)).expect("deliveries");
    // This one takes it, and is never heard of again; or is, when another one has taken its place.
    let lost = take(OTHER_PROCESS).pop().expect("a delivery");
    assert!(take(PROCESS).is_empty());
    world.seconds_pass(59);
    assert!(take(PROCESS).is_empty());
    world.seconds_pass(1);
    let again = take(PROCESS).pop().expect("a delivery");
    assert_eq!(
        (again.delivery.id, &again.items),
        (lost.delivery.id, &lost.items)
    );
    let service = Caller::the_service(Uuid::from_u128(9));
    let late = world
        .authority
        .attempted(&service, OTHER_PROCESS, lost, (Answer::Status(500), 0));
    assert_eq!(wait(late).expect("no record"), None);
    let answer = sender.send(&again, world.now()).expect("a signature");
    let done = world
        .authority
        .attempted(&service, PROCESS, again, (answer, 0));
    let done = wait(done).expect("a record").expect("its own delivery");
    assert_eq!((done.state, done.attempts), (DeliveryState::Delivered, 1));
}

fn both_secrets_sign_after_a_rotation(kind: Kind) {
    let (world, target) = (carrier(kind), Target::taking());
    let sender = target.sender();
    let webhook = subscribes(&world, &world.provisioner(), &target.url()).expect("a webhook");
    let rotated = wait(
        world
            .authority
            .rotate_webhook(&world.provisioner(), webhook.id),
    );
    assert_eq!(rotated.expect("a webhook").generation, 2);
    let secrets = [1, 2].map(|generation| {
        sender
            .secrets()
            .shown(webhook.id, generation)
            .expect("a secret")
    });
    for (number, later, signed) in [
        ("+12125551001", 0, [true, true]),
        ("+12125551002", 86_399, [true, true]),
        ("+12125551003", 1, [false, true]),
    ] {
        world.seconds_pass(later);
        ports(&world, number);
        assert_eq!(round(&world, &sender).len(), 1);
        let last = target.received().pop().expect("a message");
        assert_eq!(
            [0, 1].map(|n| is_signed(&last, &secrets[n])),
            signed,
            "{number}"
        );
    }
}

fn what_cannot_be_told_is_given_up_and_can_be_replayed(kind: Kind) {
    let world = carrier(kind);
    let target = Target::answering(|n| Some((if n < 15 { 503 } else { 200 }, String::new())));
    let sender = target.sender();
    let webhook = subscribes(&world, &world.provisioner(), &target.url()).expect("a webhook");
    ports(&world, "+12125551001");
    let dead = loop {
        let done = round(&world, &sender).pop().expect("a delivery");
        if done.state == DeliveryState::Dead {
            break done;
        }
        world.seconds_pass(4 * 3_600);
    };
    assert_eq!(
        world
            .trail(&webhook.id.to_string())
            .last()
            .expect("an event")
            .action,
        "give-up-delivery"
    );
    // The next one is not held up by it, though the target has answered nothing but 503 so far.
    let mut left = 15 - dead.attempts;
    ports(&world, "+12125551002");
    let next = loop {
        let done = round(&world, &sender).pop().expect("a delivery");
        if done.state == DeliveryState::Delivered {
            break done;
        }
        left -= 1;
        assert!(left >= 0);
        world.seconds_pass(600);
    };
    assert_ne!(next.id, dead.id);
    let caller = world.provisioner();
    wait(
        world
            .authority
            .replay_delivery(&caller, webhook.id, dead.id),
    )
    .expect("a delivery");
    let replayed = round(&world, &sender).pop().expect("a delivery");
    assert_eq!(
        (replayed.replay_of, replayed.first, replayed.state),
        (Some(dead.id), dead.first, DeliveryState::Delivered)
    );
    let received = target.received();
    let [.., second_last, last] = received.as_slice() else {
        panic!("{received:?}")
    };
    assert_eq!(
        last.body.split("\"data\"").nth(1),
        received[0].body.split("\"data\"").nth(1)
    );
    assert_ne!(second_last.body, last.body);
    // From a place of the feed on.
    let replay = |after| {
        wait(
            world
                .authority
                .replay_from(&world.provisioner(), webhook.id, after),
        )
    };
    assert_eq!(replay(next.last + 1), Err(Refused::NotSentYet));
    replay(0).expect("a webhook");
    let all = round(&world, &sender).pop().expect("a delivery");
    assert_eq!((all.items, all.first, all.last), (2, dead.first, next.last));
    assert_eq!(log(&world, &webhook).len(), 4);
}

fn a_target_that_is_gone_is_told_no_more(kind: Kind) {
    let (world, target) = (
        carrier(kind),
        Target::answering(|_| Some((410, String::new()))),
    );
    let sender = target.sender();
    let webhook = subscribes(&world, &world.provisioner(), &target.url()).expect("a webhook");
    ports(&world, "+12125551001");
    assert_eq!(round(&world, &sender)[0].state, DeliveryState::Dead);
    ports(&world, "+12125551002");
    world.seconds_pass(86_400);
    assert_eq!(round(&world, &sender).len(), 0);
    let known = world
        .authority
        .webhook(&world.provisioner(), webhook.id)
        .expect("a webhook");
    assert!(known.ended_at.is_some());
    let rotated = wait(
        world
            .authority
            .rotate_webhook(&world.provisioner(), webhook.id),
    );
    assert_eq!(rotated, Err(Refused::WebhookEnded));
}

fn everybody_subscribes_for_what_is_theirs(kind: Kind) {
    let (world, target) = (carrier(kind), Target::taking());
    world.lends("umbrella", "1.212.555.11XX");
    let sender = target.sender();
    let (acme, umbrella) = (
        world.caller(Role::Account, &["acme"]),
        world.caller(Role::Account, &["umbrella"]),
    );
    let of_acme = subscribes(&world, &acme, &target.url()).expect("a webhook");
    let of_umbrella = subscribes(&world, &umbrella, &target.url()).expect("a webhook");
    assert_eq!(of_acme.account, Some(account("acme")));
    ports(&world, "+12125551001");
    let done = round(&world, &sender);
    assert_eq!(
        done.iter().map(|d| d.webhook).collect::<Vec<_>>(),
        [of_acme.id]
    );
    assert_eq!(log(&world, &of_umbrella), []);
    // What is somebody else's is not there.
    let not_found = Err(Refused::NotFound("webhook"));
    assert_eq!(world.authority.webhook(&umbrella, of_acme.id), not_found);
    assert_eq!(
        wait(world.authority.end_webhook(&umbrella, of_acme.id)),
        not_found
    );
    assert_eq!(
        wait(world.authority.rotate_webhook(&umbrella, of_acme.id)),
        not_found
    );
    let replayed = wait(
        world
            .authority
            .replay_delivery(&umbrella, of_umbrella.id, done[0].id),
    );
    assert_eq!(replayed, Err(Refused::NotFound("delivery")));
    let page = Page::new(10, None);
    let listed = world
        .authority
        .webhooks(&umbrella, &page)
        .expect("webhooks")
        .items;
    assert_eq!(listed.len(), 1);
    let new = |whose: &str| NewWebhook {
        account: Some(account(whose)),
        url: target.url().parse().expect("a URL"),
        kinds: vec![EventKind::GrantsWithdrawn],
    };
    let others = wait(world.authority.subscribe(&acme, new("umbrella")));
    assert_eq!(others, Err(Refused::UnknownAccount(account("umbrella"))));
    let portal = world.caller(Role::Portal, &["acme", "umbrella"]);
    assert_eq!(
        subscribes(&world, &portal, &target.url()),
        Err(Refused::NameTheAccount)
    );
    wait(world.authority.subscribe(&portal, new("umbrella"))).expect("a webhook");
    let auditor = world.caller(Role::Auditor, &[]);
    assert_eq!(
        subscribes(&world, &auditor, &target.url()),
        Err(Refused::Forbidden)
    );
    // Nobody fills the database with them.
    for _ in 0..19 {
        subscribes(&world, &acme, &target.url()).expect("a webhook");
    }
    assert_eq!(
        subscribes(&world, &acme, &target.url()),
        Err(Refused::TooManyWebhooks)
    );
    wait(world.authority.end_webhook(&acme, of_acme.id)).expect("a webhook");
    subscribes(&world, &acme, &target.url()).expect("a webhook");
}

/// Waits until something holds, which it must within a while.
fn until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn a_target_that_never_answers_holds_up_nobody(kind: Kind) {
    let world = carrier(kind);
    let (silent, target) = (Target::answering(|_| None), Target::taking());
    let both = [&silent.ca_file, &target.ca_file]
        .map(|file| std::fs::read_to_string(file).expect("a file"));
    std::fs::write(&target.ca_file, both.concat()).expect("a file");
    let sender = target.sender();
    for url in [silent.url(), target.url()] {
        subscribes(&world, &world.provisioner(), &url).expect("a webhook");
    }
    let worker = Worker::start(&world.authority, &sender).expect("a worker");
    let mut slowest = Duration::ZERO;
    for n in 1..=3 {
        ports(&world, &format!("+1212555100{n}"));
        let start = Instant::now();
        until("the target is told", || target.received().len() >= n);
        slowest = slowest.max(start.elapsed());
    }
    assert!(slowest < Duration::from_secs(12), "{slowest:?}");
    assert_eq!(silent.received().len(), 1);
    drop(worker);
    assert_eq!(
        world.count("webhook_attempts_total{outcome=\"delivered\"}"),
        3
    );
    assert_eq!(world.count("webhook_attempts_total{outcome=\"failed\"}"), 1);
}

fn two_replicas_tell_each_thing_once(kind: Kind) {
    let (db, target) = (Arc::new(Db::from(kind)), Target::taking());
    let worlds = [(); 2].map(|()| World::over(Arc::clone(&db), Setup::default()));
    worlds[0].carrier_holds("1.212.555.1XXX");
    worlds[0].lends("acme", "1.212.555.10XX");
    let sender = target.sender();
    let webhook =
        subscribes(&worlds[0], &worlds[0].provisioner(), &target.url()).expect("a webhook");
    let workers = [0, 1].map(|n| Worker::start(&worlds[n].authority, &sender).expect("a worker"));
    let mut told: Vec<String> = (0..20)
        .map(|n| ports(&worlds[n % 2], &format!("+121255510{n:02}")))
        .collect();
    let heard = || {
        let received = target.received().into_iter();
        let events = received.map(|r| serde_json::from_str::<Value>(&r.body).expect("JSON"));
        let jtis = |event: Value| {
            items(&event["data"]["items"])
                .iter()
                .map(|i| member(i, "jti").to_owned())
                .collect::<Vec<_>>()
        };
        events.flat_map(jtis).collect::<Vec<_>>()
    };
    until("all is told", || heard().len() >= told.len());
    drop(workers);
    // In the order of the feed, and each of them once.
    assert_eq!(heard(), told);
    told.sort_unstable();
    let log = log(&worlds[0], &webhook);
    assert!(
        log.iter()
            .all(|d| (d.state, d.attempts) == (DeliveryState::Delivered, 1)),
        "{log:?}"
    );
}

fn a_malformed_subscription_is_told_what_is_wrong(api: Api) {
    let key = &api.acme;
    for url in [
        "https://127.0.0.1/x",
        "https://[::1]/x",
        "https://[::ffff:127.0.0.1]/x",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/x",
        "https://2130706433/x",
        "https://0x7f000001/x",
        "https://017700000001/x",
        "https://127.1/x",
        "https://localhost/x",
        "http://hooks.example/x",
        "https://user:word@hooks.example/x",
        "https://hooks.example:25/x",
        "file:///etc/passwd",
        "",
    ] {
        let problem = api
            .post(key, "/v1/webhooks", &json!({ "url": url }))
            .problem(400, "malformed-member");
        assert!(member(&problem, "detail").starts_with("`url`"), "{problem}");
    }
    let url = "https://hooks.example.com/x";
    for (body, code) in [
        (json!({}), "missing-member"),
        (json!({ "url": 1 }), "malformed-member"),
        (json!({ "url": url, "kinds": [] }), "malformed-member"),
        (
            json!({ "url": url, "kinds": ["everything"] }),
            "malformed-member",
        ),
        (json!({ "url": url, "secret": "mine" }), "unknown-member"),
    ] {
        api.post(key, "/v1/webhooks", &body).problem(400, code);
    }
    api.post("", "/v1/webhooks", &json!({ "url": url }))
        .problem(401, "unauthorized");
    api.post(&api.auditor, "/v1/webhooks", &json!({ "url": url }))
        .problem(403, "forbidden");

    let answer = api.post(key, "/v1/webhooks", &json!({ "url": url }));
    let made = answer.with(201);
    let secret = member(&made, "secret").to_owned();
    assert!(secret.starts_with("whsec_"));
    assert_eq!(made["account"], "acme");
    let place = answer.header("location").expect("a location").to_owned();
    let shown = api.get(key, &place).with(200);
    assert_eq!(shown.get("secret"), None);
    assert_eq!(
        api.get(key, "/v1/webhooks").with(200)["items"],
        json!([shown])
    );
    let other = api.key(Role::Account, &["other"]);
    for path in [place.clone(), format!("{place}/deliveries")] {
        api.get(&other, &path).problem(404, "not-found");
    }
    let rotated = api
        .post(key, &format!("{place}/rotate"), &json!({}))
        .with(200);
    assert_ne!(rotated["secret"], json!(secret));
    assert_eq!(rotated["previous_secret_until"], "2026-01-02T00:00:00Z");
    api.post(key, &format!("{place}/replay"), &json!({ "after": -1 }))
        .problem(400, "malformed-member");
    api.post(
        key,
        &format!("{place}/replay"),
        &json!({ "after": 9_007_199_254_740_991_i64 }),
    )
    .problem(409, "not-sent-yet");
    api.post(
        key,
        &format!("{place}/deliveries/{}/replay", Uuid::nil()),
        &json!({}),
    )
    .problem(404, "not-found");
    api.post(key, &format!("{place}/deliveries/x/replay"), &json!({}))
        .problem(404, "not-found");
    assert_eq!(
        items(&api.get(key, &format!("{place}/deliveries")).with(200)["items"]).len(),
        0
    );
    let ended = api.post(key, &format!("{place}/end"), &json!({})).with(200);
    assert_eq!(ended["ended_at"], "2026-01-01T00:00:00Z");
    api.post(key, &format!("{place}/end"), &json!({})).with(200);
    assert_eq!(api.get(key, "/v1/webhooks").with(200)["items"], json!([]));
    assert_eq!(api.ask(&asking(&["one:12125551001"])).status, 200);
}
