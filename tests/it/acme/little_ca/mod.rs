//! An ACME server of the tests: real TLS and HTTP, signatures and nonces that are checked, STAR (RFC 8739), and every
//! fault that a test asks for.

mod answers;
mod wire;

use std::collections::HashSet;
use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use openssl::ssl::{SslAcceptor, SslFiletype, SslMethod, SslStream};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;
use tn_authority::domain::{Clock, TnAuthList};
use tn_authority::signer::development::DevelopmentCa;

use wire::read;

/// The MAC key of the external account binding that the server asks for.
pub const EAB_KEY: [u8; 32] = [0xea; 32];

/// What the server does wrong. The paths are `directory`, `nonce`, `account`, `order`, `orders/1`, `authz`, `challenge`,
/// `finalize`, `certificate` and `star`; for `passed_on`, `cancel` is the cancellation of an order.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fault of its own")]
pub struct Faults {
    /// This answer comes so late.
    pub late: Option<(&'static str, Duration)>,
    /// This answer in place of the right one, so many times.
    pub instead: Option<(&'static str, usize, Reply)>,
    /// The request is processed, but answered with this, so many times: by a gateway that did not wait.
    pub passed_on: Option<(&'static str, usize, Reply)>,
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
    /// So many times the authorization is still pending, and its challenge `processing`.
    pub checking: usize,
    /// So many times an order that has a CSR is still `processing`.
    pub processing: usize,
    /// The CSR is taken, and the order becomes `invalid`.
    pub unwilling: bool,
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

    /// The connection ends without an answer.
    pub fn lost() -> Self {
        Self::status(0)
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
    processing: usize,
    unwilling: bool,
    /// What was asked although the state forbids it (RFC 8555 §7.1.6).
    forbidden: Vec<String>,
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
        *self.shared.faults.lock() = faults;
    }

    /// How often this was asked.
    pub fn asked(&self, name: &str) -> usize {
        self.shared
            .state
            .lock()
            .asked
            .iter()
            .filter(|asked| *asked == name)
            .count()
    }

    pub fn tokens(&self) -> Vec<(String, String)> {
        self.shared.state.lock().tokens.clone()
    }

    /// What was asked although the state forbids it.
    pub fn forbidden(&self) -> Vec<String> {
        self.shared.state.lock().forbidden.clone()
    }

    pub fn is_canceled(&self) -> bool {
        self.shared.state.lock().canceled
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

impl Shared {
    fn serve(&self, mut stream: SslStream<TcpStream>) {
        let Some((path, body)) = read(&mut stream) else {
            return;
        };
        let reply = match &self.always {
            Some(reply) => reply.clone(),
            None => self.answer(path.trim_start_matches('/'), &body),
        };
        if reply.status == 0 {
            let _ = stream.shutdown();
            return;
        }
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
        let mut faults = self.faults.lock();
        self.state.lock().asked.push(name.to_owned());
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
        let was_canceled = self.state.lock().canceled;
        let mut reply = self.right(name, body, &mut faults);
        let is_cancel = !was_canceled && self.state.lock().canceled;
        if let Some((path, times, instead)) = &mut faults.passed_on
            && *path == if is_cancel { "cancel" } else { name }
            && *times > 0
        {
            *times -= 1;
            return instead.clone();
        }
        if let Some((_, member, value)) = faults.replaced.clone().filter(|(path, ..)| *path == name)
        {
            let mut json: Value = serde_json::from_slice(&reply.body).expect("JSON");
            json[member] = value;
            reply.body = json.to_string().into_bytes();
        }
        let mut state = self.state.lock();
        state.given += 1;
        let nonce = if faults.one_nonce {
            "one".to_owned()
        } else {
            format!("nonce-{}", state.given)
        };
        state.nonces.insert(nonce.clone());
        reply.header("Replay-Nonce", &nonce)
    }
}
