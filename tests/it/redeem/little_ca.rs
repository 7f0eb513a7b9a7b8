//! An ACME server of the tests: real TLS and HTTP, signatures and nonces that are checked, STAR (RFC 8739), and every
//! fault that a test asks for.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::sha::sha256;
use openssl::sign::Signer;
use openssl::ssl::{SslAcceptor, SslFiletype, SslMethod, SslStream};
use serde_json::{Value, json};
use tempfile::TempDir;
use tn_authority::domain::{Clock, TnAuthList};
use tn_authority::signer::FileKey;
use tn_authority::signer::development::DevelopmentCa;
use tn_authority::signer::request::request_der;

/// The MAC key of the external account binding that the server asks for.
pub const EAB_KEY: [u8; 32] = [0xea; 32];

/// What the server does wrong. The paths are `directory`, `nonce`, `account`, `order`, `orders/1`, `authz`, `challenge`,
/// `finalize`, `certificate` and `star`.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fault of its own")]
pub struct Faults {
    /// This answer comes so late.
    pub late: Option<(&'static str, Duration)>,
    /// This answer in place of the right one, so many times.
    pub instead: Option<(&'static str, usize, Reply)>,
    /// How many nonces are refused.
    pub refused_nonces: usize,
    /// All answers carry one and the same nonce.
    pub one_nonce: bool,
    /// A member of an answer is replaced.
    pub replaced: Option<(&'static str, &'static str, Value)>,
    /// The certificate is for another key.
    pub other_key: bool,
    /// The certificate is for this list.
    pub other_list: Option<TnAuthList>,
    /// The certificate has this validity, in seconds from now.
    pub validity: Option<(i64, i64)>,
    /// The authorization stays pending.
    pub undecided: bool,
    /// The token is refused.
    pub refuses: bool,
    /// New accounts need a binding.
    pub binding: bool,
    /// Whether STAR is offered: its shortest lifetime and its longest duration.
    pub star: Option<(u64, u64)>,
}

/// An answer.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Reply {
    pub fn status(status: u16) -> Self {
        let headers = Vec::new();
        Self {
            status,
            headers,
            body: Vec::new(),
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn body(mut self, body: &str) -> Self {
        self.body = body.as_bytes().to_vec();
        self
    }

    pub fn json(status: u16, body: &Value) -> Self {
        Self::status(status)
            .header("Content-Type", "application/json")
            .body(&body.to_string())
    }

    pub fn problem(status: u16, kind: &str, detail: &str) -> Self {
        let kind = format!("urn:ietf:params:acme:error:{kind}");
        Self::json(status, &json!({ "type": kind, "detail": detail }))
    }
}

/// The server, until it is dropped.
pub struct LittleCa {
    pub dir: TempDir,
    pub address: SocketAddr,
    shared: Arc<Shared>,
    stop: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    base: String,
    issuing: DevelopmentCa,
    faults: Mutex<Faults>,
    state: Mutex<State>,
    always: Option<Reply>,
}

#[derive(Default)]
struct State {
    nonces: HashSet<String>,
    given: usize,
    jwk: Value,
    list: String,
    renewal: Option<Value>,
    proved: bool,
    csr: Option<Vec<u8>>,
    canceled: bool,
    /// What was asked, by the name of its path.
    asked: Vec<String>,
    /// The tokens that came, each with the member that held it.
    tokens: Vec<(String, String)>,
}

impl LittleCa {
    pub fn with(faults: Faults) -> Self {
        Self::start(faults, None)
    }

    /// Answers everything with one and the same.
    pub fn answering(reply: Reply) -> Self {
        Self::start(Faults::default(), Some(reply))
    }

    fn start(faults: Faults, always: Option<Reply>) -> Self {
        let dir = TempDir::new().expect("a folder");
        let now = Clock::system().now();
        let validity = now - TimeDelta::hours(1)..=now + TimeDelta::days(1);
        let issuing = DevelopmentCa::new("Little CA", validity.clone()).expect("a CA");
        let tls = issuing
            .issue_tls_certificate(&["127.0.0.1"], &validity)
            .expect("a certificate");
        for (name, text) in [
            (
                "root.pem",
                issuing.certificate_pem().expect("a certificate"),
            ),
            ("tls.pem", tls.chain_pem),
            ("tls.key", tls.key_pem),
        ] {
            fs::write(dir.path().join(name), text).expect("a file");
        }
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).expect("TLS");
        acceptor
            .set_certificate_chain_file(dir.path().join("tls.pem"))
            .expect("a chain");
        let key = dir.path().join("tls.key");
        acceptor
            .set_private_key_file(key, SslFiletype::PEM)
            .expect("a key");
        let acceptor = Arc::new(acceptor.build());
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            base: format!("https://{address}"),
            issuing,
            faults: Mutex::new(faults),
            state: Mutex::default(),
            always,
        });
        let stop = Arc::new(AtomicBool::new(false));
        let (serving, stopped) = (Arc::clone(&shared), Arc::clone(&stop));
        let accepting = thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (serving, acceptor) = (Arc::clone(&serving), Arc::clone(&acceptor));
                let Ok(stream) = stream else { continue };
                thread::spawn(move || {
                    if let Ok(stream) = acceptor.accept(stream) {
                        serving.serve(stream);
                    }
                });
            }
        });
        Self {
            dir,
            address,
            shared,
            stop,
            accepting: Some(accepting),
        }
    }

    pub fn directory(&self) -> String {
        format!("https://{}/directory", self.address)
    }

    pub fn root_file(&self) -> PathBuf {
        self.dir.path().join("root.pem")
    }

    pub fn root(&self) -> String {
        fs::read_to_string(self.root_file()).expect("a file")
    }

    /// From now on it does this wrong.
    pub fn becomes(&self, faults: Faults) {
        *lock(&self.shared.faults) = faults;
    }

    /// How often this was asked.
    pub fn asked(&self, name: &str) -> usize {
        lock(&self.shared.state)
            .asked
            .iter()
            .filter(|asked| *asked == name)
            .count()
    }

    pub fn tokens(&self) -> Vec<(String, String)> {
        lock(&self.shared.state).tokens.clone()
    }

    pub fn is_canceled(&self) -> bool {
        lock(&self.shared.state).canceled
    }

    /// A text in the form of a token, which names a chain.
    pub fn token_naming(x5u: &str) -> String {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = part(json!({ "alg": "ES256", "typ": "JWT", "x5u": x5u }));
        format!(
            "{header}.{}.{}",
            part(json!({})),
            URL_SAFE_NO_PAD.encode([7; 64])
        )
    }
}

impl Drop for LittleCa {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn serve(&self, mut stream: SslStream<TcpStream>) {
        let Some((path, body)) = read(&mut stream) else {
            return;
        };
        let reply = match &self.always {
            Some(reply) => reply.clone(),
            None => self.answer(path.trim_start_matches('/'), &body),
        };
        let fields = reply.headers.iter();
        let fields: String = fields
            .map(|(name, value)| [name, ": ", value, "\r\n"].concat())
            .collect();
        let (status, length) = (reply.status, reply.body.len());
        let head = format!(
            "HTTP/1.1 {status} Status\r\nConnection: close\r\n{fields}Content-Length: {length}\r\n\r\n"
        );
        let _ = stream.write_all(&[head.as_bytes(), &reply.body].concat());
        let _ = stream.shutdown();
    }

    fn answer(&self, name: &str, body: &[u8]) -> Reply {
        let mut faults = lock(&self.faults);
        lock(&self.state).asked.push(name.to_owned());
        if let Some((_, time)) = faults.late.filter(|(path, _)| *path == name) {
            drop(faults);
            thread::sleep(time);
            return Reply::status(503);
        }
        if let Some((path, times, reply)) = &mut faults.instead
            && *path == name
            && *times > 0
        {
            *times -= 1;
            return reply.clone();
        }
        let mut reply = self.right(name, body, &mut faults);
        if let Some((_, member, value)) = faults.replaced.clone().filter(|(path, ..)| *path == name)
        {
            let mut json: Value = serde_json::from_slice(&reply.body).expect("JSON");
            json[member] = value;
            reply.body = json.to_string().into_bytes();
        }
        let mut state = lock(&self.state);
        state.given += 1;
        let nonce = if faults.one_nonce {
            "one".to_owned()
        } else {
            format!("nonce-{}", state.given)
        };
        state.nonces.insert(nonce.clone());
        reply.header("Replay-Nonce", &nonce)
    }

    /// What a good CA answers.
    fn right(&self, name: &str, body: &[u8], faults: &mut Faults) -> Reply {
        match name {
            "directory" => return Reply::json(200, &self.directory(faults)),
            "nonce" => return Reply::status(200),
            _ => {}
        }
        let payload = match self.signed(name, body, faults) {
            Ok(payload) => payload,
            Err(reply) => return *reply,
        };
        let mut state = lock(&self.state);
        let at = |path: &str| format!("{}/{path}", self.base);
        match name {
            "account" => {
                if faults.binding && !is_bound(&payload, &state.jwk, &at("account")) {
                    return Reply::problem(403, "externalAccountRequired", "no binding");
                }
                Reply::json(201, &json!({ "status": "valid" }))
                    .header("Location", &at("accounts/1"))
            }
            "order" => {
                let list = payload["identifiers"][0]["value"].as_str().expect("a list");
                *state = State {
                    nonces: std::mem::take(&mut state.nonces),
                    jwk: state.jwk.take(),
                    given: state.given,
                    list: list.to_owned(),
                    renewal: payload.get("auto-renewal").cloned(),
                    asked: std::mem::take(&mut state.asked),
                    tokens: std::mem::take(&mut state.tokens),
                    ..State::default()
                };
                assert!(payload.get("notAfter").is_none(), "RFC 8739 §3.1.1");
                Reply::json(201, &self.order(&state)).header("Location", &at("orders/1"))
            }
            "orders/1" => {
                if payload["status"] == "canceled" {
                    state.canceled = true;
                }
                Reply::json(200, &self.order(&state))
            }
            "authz" => {
                let status = match (state.proved, faults.refuses) {
                    (false, _) => "pending",
                    (true, true) => "invalid",
                    (true, false) if faults.undecided => "pending",
                    (true, false) => "valid",
                };
                let mut challenge = json!({ "type": "tkauth-01", "tkauth-type": "atc", "url": at("challenge"),
                    "token": "x", "token-authority": "https://127.0.0.1:1/", "status": status });
                if status == "invalid" {
                    challenge["error"] = json!({ "type": "urn:ietf:params:acme:error:unauthorized",
                        "detail": "no \u{1b}[31mtrust" });
                }
                let identifier = json!({ "type": "TNAuthList", "value": state.list });
                let other = json!({ "type": "dns-01", "url": at("nowhere"), "status": "pending" });
                Reply::json(
                    200,
                    &json!({ "identifier": identifier, "status": status,
                    "challenges": [other, challenge] }),
                )
                .header("Retry-After", "0")
            }
            "challenge" => {
                let (member, token) = payload
                    .as_object()
                    .and_then(|o| o.iter().next())
                    .expect("one");
                state
                    .tokens
                    .push((member.clone(), token.as_str().expect("a text").to_owned()));
                state.proved = true;
                Reply::json(
                    200,
                    &json!({ "type": "tkauth-01", "url": at("challenge"), "status": "processing" }),
                )
            }
            "finalize" => {
                let csr = payload["csr"].as_str().expect("a CSR");
                state.csr = Some(URL_SAFE_NO_PAD.decode(csr).expect("base64url"));
                Reply::json(200, &self.order(&state))
            }
            "certificate" | "star" if state.canceled => {
                Reply::problem(403, "autoRenewalCanceled", "canceled")
            }
            "certificate" | "star" => {
                let csr = state.csr.clone().expect("a CSR");
                Reply::status(200).body(&self.issue(&csr, &state, faults))
            }
            other => Reply::problem(404, "malformed", other),
        }
    }

    fn directory(&self, faults: &Faults) -> Value {
        let at = |path: &str| format!("{}/{path}", self.base);
        let mut meta = json!({ "externalAccountRequired": faults.binding });
        if let Some((min, max)) = faults.star {
            meta["auto-renewal"] = json!({ "min-lifetime": min, "max-duration": max });
        }
        json!({ "newNonce": at("nonce"), "newAccount": at("account"), "newOrder": at("order"), "meta": meta,
            "newHouse": "unknown members are passed over" })
    }

    fn order(&self, state: &State) -> Value {
        let at = |path: &str| format!("{}/{path}", self.base);
        let status = match (&state.csr, state.proved) {
            _ if state.canceled => "canceled",
            (Some(_), _) => "valid",
            (None, true) => "ready",
            (None, false) => "pending",
        };
        let mut order = json!({ "status": status, "authorizations": [at("authz")], "finalize": at("finalize"),
            "identifiers": [{ "type": "TNAuthList", "value": state.list }] });
        if let Some(renewal) = &state.renewal {
            order["auto-renewal"] = renewal.clone();
        }
        if status == "valid" {
            let name = if state.renewal.is_some() {
                "star-certificate"
            } else {
                "certificate"
            };
            order[name] = json!(at(if state.renewal.is_some() {
                "star"
            } else {
                "certificate"
            }));
        }
        order
    }

    fn issue(&self, csr: &[u8], state: &State, faults: &Faults) -> String {
        let now = Clock::system().now();
        let lifetime = state
            .renewal
            .as_ref()
            .and_then(|r| r["lifetime"].as_i64())
            .unwrap_or(3600);
        let (from, until) = faults.validity.unwrap_or((-1, lifetime));
        let own = FileKey::generate().expect("a key").0;
        let list = TnAuthList::from_tkvalue(&state.list).expect("a list");
        let csr = match (&faults.other_list, faults.other_key) {
            (None, false) => csr.to_vec(),
            // Neither is the key of the client, and only the last fault is looked for.
            (other, _) => request_der(&own, other.as_ref().unwrap_or(&list), false, "CN=other")
                .expect("a CSR"),
        };
        let pem = format!(
            "-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n",
            STANDARD
                .encode(csr)
                .as_bytes()
                .chunks(64)
                .map(|line| String::from_utf8_lossy(line).into_owned())
                .collect::<Vec<_>>()
                .join("\n")
        );
        let validity = now + TimeDelta::seconds(from)..=now + TimeDelta::seconds(until);
        self.issuing
            .sign_request(&pem, &validity)
            .expect("a certificate")
    }

    /// The payload of a request whose nonce, URL and signature are right (RFC 8555 §6).
    fn signed(&self, name: &str, body: &[u8], faults: &mut Faults) -> Result<Value, Box<Reply>> {
        let jws: Value = serde_json::from_slice(body).expect("JSON");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let decoded = |value: &Value| URL_SAFE_NO_PAD.decode(text(value)).expect("base64url");
        let header: Value = serde_json::from_slice(&decoded(&jws["protected"])).expect("JSON");
        assert_eq!(header["alg"], "ES256");
        assert_eq!(header["url"], format!("{}/{name}", self.base));
        let mut state = lock(&self.state);
        let known = state.nonces.remove(&text(&header["nonce"]));
        if !known || faults.refused_nonces > 0 {
            faults.refused_nonces = faults.refused_nonces.saturating_sub(1);
            return Err(Box::new(Reply::problem(400, "badNonce", "used")));
        }
        if name == "account" {
            assert!(header.get("kid").is_none());
            state.jwk = header["jwk"].clone();
        } else {
            assert!(header.get("jwk").is_none());
            assert_eq!(header["kid"], format!("{}/accounts/1", self.base));
        }
        let coordinate =
            |name: &str| BigNum::from_slice(&decoded(&state.jwk[name])).expect("a number");
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a curve");
        let key =
            EcKey::from_public_key_affine_coordinates(&group, &coordinate("x"), &coordinate("y"));
        let message = format!("{}.{}", text(&jws["protected"]), text(&jws["payload"]));
        let signature = decoded(&jws["signature"]);
        let half = |bytes: &[u8]| BigNum::from_slice(bytes).expect("a number");
        let signature =
            EcdsaSig::from_private_components(half(&signature[..32]), half(&signature[32..]));
        let right = signature
            .expect("a signature")
            .verify(&sha256(message.as_bytes()), &key.expect("a key"));
        assert!(
            right.expect("openssl"),
            "the request is not signed by the account"
        );
        let payload = decoded(&jws["payload"]);
        Ok(if payload.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&payload).expect("JSON")
        })
    }
}

/// RFC 8555 §7.3.4.
fn is_bound(payload: &Value, jwk: &Value, url: &str) -> bool {
    let Some(binding) = payload.get("externalAccountBinding") else {
        return false;
    };
    let text = |name: &str| binding[name].as_str().expect("a text").to_owned();
    let header = URL_SAFE_NO_PAD
        .decode(text("protected"))
        .expect("base64url");
    let header: Value = serde_json::from_slice(&header).expect("JSON");
    let bound = URL_SAFE_NO_PAD.decode(text("payload")).expect("base64url");
    let bound: Value = serde_json::from_slice(&bound).expect("JSON");
    let key = PKey::hmac(&EAB_KEY).expect("a key");
    let mut mac = Signer::new(MessageDigest::sha256(), &key).expect("a MAC");
    mac.update(format!("{}.{}", text("protected"), text("payload")).as_bytes())
        .expect("a MAC");
    let mac = URL_SAFE_NO_PAD.encode(mac.sign_to_vec().expect("a MAC"));
    header == json!({ "alg": "HS256", "kid": "kid-1", "url": url })
        && bound == *jwk
        && mac == text("signature")
}

/// The path and the body of a request.
fn read(stream: &mut SslStream<TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().ok()?
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path, body))
}
