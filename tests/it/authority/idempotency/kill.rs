//! Whatever crashes: one key is one grant, and its token is answered in the end. `serve` is killed under load, again and
//! again, while clients repeat each request until it is answered.

use std::collections::BTreeMap;
use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use openssl::x509::X509;
use serde_json::{Value, json};
use tn_authority::domain::TnAuthList;

use super::count;
use crate::crash::kill::{Carrier, free_port, read_answer};
use crate::support::fixtures::{items, member};
use crate::support::service::openssl_accepts;
use crate::support::{Db, fingerprint};

const KILLS: usize = 20;
const CLIENTS: usize = 6;
const BULK: usize = 10;

both!(one_key_is_one_grant_whoever_is_killed);

fn one_key_is_one_grant_whoever_is_killed(db: Db) {
    let carrier = Carrier::over(&db);
    let address = free_port();
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let tokens = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|n| {
                let client = Client {
                    address,
                    api_key: &carrier.api_key,
                    stop: &stop,
                    answered: &answered,
                };
                scope.spawn(move || client.ask(n))
            })
            .collect();
        for kill in 0..KILLS {
            let mut service = carrier.serve(address);
            let before = answered.load(Ordering::SeqCst);
            let patience = Instant::now() + Duration::from_secs(60);
            while answered.load(Ordering::SeqCst) < before + 1 + kill * 7 % 20 {
                assert!(Instant::now() < patience, "nobody is answered any more");
                thread::sleep(Duration::from_micros(500));
            }
            service.kill().expect("SIGKILL");
            service.wait().expect("the end of the service");
        }
        // What was begun is brought to its end.
        stop.store(true, Ordering::SeqCst);
        let mut service = carrier.serve(address);
        let tokens: Vec<Token> = clients
            .into_iter()
            .flat_map(|client| client.join().expect("a client"))
            .collect();
        service.kill().expect("SIGKILL");
        service.wait().expect("the end of the service");
        tokens
    });

    let mut jtis: Vec<&str> = tokens.iter().map(|token| token.jti.as_str()).collect();
    jtis.sort_unstable();
    jtis.dedup();
    assert_eq!(jtis.len(), tokens.len(), "each answer has its own token");
    let grants = usize::try_from(count(&db, "grants")).expect("a count");
    assert_eq!(
        grants,
        tokens.len(),
        "one grant for each token, and no more"
    );
    let unanswered = count(&db, "idempotency_keys WHERE answer IS NULL AND jti IS NULL");
    assert_eq!(unanswered, 0);
    let taken_up = count(&db, "audit_events WHERE detail LIKE '%\"again\":true%'");
    assert!(taken_up > 0, "no kill has come between record and answer");

    let pem = std::fs::read(carrier.dir.path().join("chain.pem")).expect("a chain");
    let leaf = &X509::stack_from_pem(&pem).expect("PEM")[0];
    for token in &tokens {
        assert!(openssl_accepts(&token.token, leaf), "{}", token.jti);
    }
}

struct Token {
    jti: String,
    token: String,
}

struct Client<'a> {
    address: SocketAddr,
    api_key: &'a str,
    stop: &'a AtomicBool,
    answered: &'a AtomicUsize,
}

impl Client<'_> {
    /// Asks for one token after the other, or for a bulk of them; each request with its own key, until it is answered.
    fn ask(&self, client: usize) -> Vec<Token> {
        let mut tokens = BTreeMap::new();
        for n in 0.. {
            if self.stop.load(Ordering::SeqCst) {
                break;
            }
            let bulk = client == 0;
            let name = format!("client-{client}-{n}");
            let answer = self.until_it_is_answered(&name, bulk);
            self.answered.fetch_add(1, Ordering::SeqCst);
            let answers = if bulk {
                items(&answer["items"]).to_vec()
            } else {
                vec![answer]
            };
            assert_eq!(answers.len(), if bulk { BULK } else { 1 });
            for one in answers {
                let token = Token {
                    jti: member(&one, "jti").to_owned(),
                    token: member(&one, "token").to_owned(),
                };
                assert!(tokens.insert(token.jti.clone(), token).is_none());
            }
        }
        tokens.into_values().collect()
    }

    fn until_it_is_answered(&self, name: &str, bulk: bool) -> Value {
        let patience = Instant::now() + Duration::from_secs(60);
        loop {
            assert!(Instant::now() < patience, "{name} is not answered");
            match self.try_once(name, bulk) {
                Some(answer) if answer["token"].is_string() || answer["items"].is_array() => {
                    return answer;
                }
                Some(answer) => {
                    let code = member(&answer, "code");
                    let passing = ["idempotency-key-in-flight", "unavailable"].contains(&code);
                    assert!(passing, "{name}: {answer}");
                    thread::sleep(Duration::from_millis(100));
                }
                None => thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    fn try_once(&self, name: &str, bulk: bool) -> Option<Value> {
        let entry = "one:12125551001".parse().expect("an entry");
        let list = TnAuthList::from_entries(vec![entry]).expect("a list");
        let mut one = json!({
            "tktype": "TNAuthList", "tkvalue": list.to_tkvalue(), "fingerprint": fingerprint(),
        });
        let (path, body) = if bulk {
            one["account"] = json!("acme");
            ("/v1/tokens", json!({ "requests": vec![one; BULK] }))
        } else {
            ("/at/account/acme/token", one)
        };
        let body = body.to_string();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nIdempotency-Key: {name}\r\nContent-Length: {}\r\n\r\n{body}",
            self.api_key,
            body.len()
        );
        let mut connection = TcpStream::connect(self.address).ok()?;
        connection
            .set_read_timeout(Some(Duration::from_secs(30)))
            .ok()?;
        connection.write_all(head.as_bytes()).ok()?;
        read_answer(&mut BufReader::new(connection))
    }
}
