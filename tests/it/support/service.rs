//! The API on a real socket, and a client that can also send what no client should.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::dev::{ServerHandle, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::web::Data;
use actix_web::{App, Error, HttpServer, rt};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::bn::BigNum;
use openssl::ecdsa::EcdsaSig;
use openssl::sha::sha256;
use openssl::x509::X509;
use serde_json::Value;
use tn_authority::api::{
    self, ConcurrencyLimit, Door, Facade, Idempotency, Service, UploadShares, Uploads,
};
use tn_authority::authority::import::jobs::Jobs;
use tn_authority::callers::{Callers, NewApiKey, Pepper, Peppers, Trust};
use tn_authority::domain::{Caller, Role, TnAuthList};
use uuid::Uuid;

pub use super::answer::Answer;
use super::{Kind, World, account, fingerprint, wait};

pub const LIMIT: usize = 262_144;
/// Where the facade says that certificates are revoked.
pub const CRL: &str = "http://crl.example/spc.crl";
/// Seconds that an access token of the facade lives.
pub const ACCESS: u32 = 900;
/// The longest table that is taken.
pub const UPLOAD_LIMIT: u64 = 1_048_576;
/// Seconds that answers are kept for, and that a request may be without one.
pub const KEEP: u32 = 86_400;
pub const LEASE: u32 = 10;
/// How many imports may wait.
pub const QUEUE: usize = 3;

/// A carrier that holds 1.212.555.1XXX and lends all but the last hundred of it to `acme`, behind HTTP.
pub struct Api {
    server: Server,
    pub service: Data<Service>,
    pub world: World,
    pub admin: String,
    pub provisioner: String,
    pub auditor: String,
    /// Speaks for `acme`.
    pub acme: String,
}

impl From<Kind> for Api {
    fn from(kind: Kind) -> Self {
        Self::over(kind.into())
    }
}

impl Api {
    pub fn over(world: World) -> Self {
        Self::trusting(world, |_| Trust::default())
    }

    /// One whose clients know it by this URL.
    pub fn published_at(world: World, public_url: &str) -> Self {
        world.carrier_holds("1.212.555.1XXX");
        world.lends("acme", "+12125551000+900");
        let peppers = Self::peppers(7, None);
        Self::serving_at(public_url, world, Trust::default(), None, peppers)
    }

    /// With a facade for clients of STI-PAs.
    pub fn with_facade(world: World) -> Self {
        let facade = Facade::new(CRL.to_owned(), ACCESS);
        Self::of_the_carrier(world, |_| Trust::default(), Some(facade))
    }

    /// One that is told who proves callers, besides API keys.
    pub fn trusting(world: World, trust: impl FnOnce(&World) -> Trust) -> Self {
        Self::of_the_carrier(world, trust, None)
    }

    fn of_the_carrier(
        world: World,
        trust: impl FnOnce(&World) -> Trust,
        facade: Option<Facade>,
    ) -> Self {
        world.carrier_holds("1.212.555.1XXX");
        world.lends("acme", "+12125551000+900");
        world.knows("other");
        world.knows("carrier");
        let trust = trust(&world);
        Self::serving(world, trust, facade, Self::peppers(7, None))
    }

    /// The same over a database in which all of this stands already.
    pub fn beside(world: World) -> Self {
        Self::serving(world, Trust::default(), None, Self::peppers(7, None))
    }

    /// The same, with a facade and other API key secrets. The usual one is 7.
    pub fn beside_with(world: World, secret: u8, previous: Option<u8>) -> Self {
        let facade = Facade::new(CRL.to_owned(), ACCESS);
        let peppers = Self::peppers(secret, previous);
        Self::serving(world, Trust::default(), Some(facade), peppers)
    }

    fn peppers(secret: u8, previous: Option<u8>) -> Peppers {
        let pepper = |byte: u8| Pepper::new(&[byte; 32]).expect("a pepper");
        Peppers::new(pepper(secret), previous.map(pepper)).expect("peppers")
    }

    fn serving(world: World, trust: Trust, facade: Option<Facade>, peppers: Peppers) -> Self {
        Self::serving_at("https://authority.example", world, trust, facade, peppers)
    }

    fn serving_at(
        public_url: &str,
        world: World,
        trust: Trust,
        facade: Option<Facade>,
        peppers: Peppers,
    ) -> Self {
        let seals = peppers.seals().expect("seals");
        let callers = Callers::new(
            world.authority.store().clone(),
            peppers,
            world.clock.clone(),
            world.metrics.clone(),
        );
        let callers = callers.with_trust(trust);
        callers.start().expect("keys");
        let key = |role, accounts: &[&str]| new_key(&callers, role, accounts);
        let (admin, provisioner) = (key(Role::Admin, &[]), key(Role::Provisioner, &[]));
        let (auditor, acme) = (key(Role::Auditor, &[]), key(Role::Account, &["acme"]));
        let service = Data::new(Service {
            authority: world.authority.clone(),
            callers,
            jobs: Jobs::new(world.authority.clone(), QUEUE),
            webhooks: crate::webhooks::sender_to_nowhere(),
            uploads: Uploads {
                dir: world.dir.path().to_owned(),
                max_bytes: UPLOAD_LIMIT,
                min_rate: 65_536,
                shares: UploadShares::of(QUEUE),
                max_ended_ppm: 100_000,
            },
            idempotency: Idempotency::new(seals, KEEP, LEASE),
            under_way: ConcurrencyLimit::at_most(1_000),
            door: Door::with_max_wait(world.max_wait),
            facade,
            public_url: public_url.to_owned(),
            max_body_bytes: LIMIT,
            max_bulk_body_bytes: 16 * LIMIT,
            request_timeout: std::time::Duration::from_secs(2),
        });
        service.jobs.start().expect("a thread");
        let server = Server::start({
            let service = service.clone();
            move || api::app(service.clone())
        });
        Self {
            server,
            service,
            world,
            admin,
            provisioner,
            auditor,
            acme,
        }
    }

    pub fn get(&self, key: &str, path: &str) -> Answer {
        self.call("GET", key, path, None)
    }

    pub fn post(&self, key: &str, path: &str, body: &Value) -> Answer {
        self.call("POST", key, path, Some(&body.to_string()))
    }

    pub fn put(&self, key: &str, path: &str, body: &Value) -> Answer {
        self.call("PUT", key, path, Some(&body.to_string()))
    }

    /// Asks for a token, as `acme`.
    pub fn ask(&self, body: &Value) -> Answer {
        self.post(&self.acme, "/at/account/acme/token", body)
    }

    /// Another key, for a role and its accounts.
    pub fn key(&self, role: Role, accounts: &[&str]) -> String {
        new_key(&self.service.callers, role, accounts)
    }

    /// A request as it should be; without `Authorization` when the key is empty.
    pub fn call(&self, method: &str, key: &str, path: &str, body: Option<&str>) -> Answer {
        let proof = if key.is_empty() {
            String::new()
        } else {
            format!("authorization: Bearer {key}\r\n")
        };
        let media_type = body.map_or("", |_| "content-type: application/json\r\n");
        self.send(
            method,
            path,
            &format!("{proof}{media_type}"),
            body.unwrap_or_default().as_bytes(),
        )
    }

    /// A request with these header lines, each with its end.
    pub fn send(&self, method: &str, path: &str, head: &str, body: &[u8]) -> Answer {
        self.server.send(method, path, head, body)
    }

    /// A request that may come again, with this field `Idempotency-Key`.
    pub fn once(&self, idempotency_key: &str, key: &str, path: &str, body: &Value) -> Answer {
        let proof = if key.is_empty() {
            String::new()
        } else {
            format!("authorization: Bearer {key}\r\n")
        };
        let head = format!(
            "{proof}content-type: application/json\r\nidempotency-key: {idempotency_key}\r\n"
        );
        self.send("POST", path, &head, body.to_string().as_bytes())
    }

    /// Any bytes.
    pub fn send_raw(&self, bytes: &[u8]) -> Answer {
        self.server.send_raw(bytes)
    }

    /// Where it listens, without TLS.
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// The other listener.
    pub fn operations(&self) -> Server {
        let service = self.service.clone();
        Server::start(move || api::operations(service.clone()))
    }
}

fn new_key(callers: &Callers, role: Role, accounts: &[&str]) -> String {
    let by = Caller::at_the_command_line(Uuid::nil());
    let new = NewApiKey::new(role, accounts.iter().map(|id| account(id)).collect());
    let made = wait(callers.api_keys().create(&by, new));
    made.expect("a key").key
}

/// A body for the token endpoint, for a list of entries such as `one:12125551001`.
pub fn asking(entries: &[&str]) -> Value {
    let entries = entries
        .iter()
        .map(|text| text.parse().expect("an entry"))
        .collect();
    asking_tkvalue(
        &TnAuthList::from_entries(entries)
            .expect("a list")
            .to_tkvalue(),
    )
}

pub fn asking_tkvalue(tkvalue: &str) -> Value {
    serde_json::json!({ "tktype": "TNAuthList", "tkvalue": tkvalue, "ca": false, "fingerprint": fingerprint() })
}

/// Whether the signature of a token is that of the certificate's key, checked with openssl alone.
pub fn openssl_accepts(token: &str, leaf: &X509) -> bool {
    let (signed, signature) = token.rsplit_once('.').expect("a signature");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    let number = |bytes| BigNum::from_slice(bytes).expect("a number");
    let (r, s) = signature.split_at(32);
    let signature = EcdsaSig::from_private_components(number(r), number(s)).expect("a signature");
    let key = leaf.public_key().and_then(|key| key.ec_key());
    signature
        .verify(&sha256(signed.as_bytes()), &key.expect("a key"))
        .expect("verified")
}

/// A listener on a free port.
pub struct Server {
    address: SocketAddr,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start<F, S>(app: F) -> Self
    where
        F: Fn() -> App<S> + Clone + Send + 'static,
        S: ServiceFactory<
                ServiceRequest,
                Config = (),
                Response = ServiceResponse<BoxBody>,
                Error = Error,
                InitError = (),
            > + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let (started, handle) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            rt::System::new().block_on(async move {
                let server = HttpServer::new(app).workers(1).disable_signals();
                let server = server.listen(listener).expect("a listener").run();
                started.send(server.handle()).expect("a test");
                server.await.expect("a server");
            });
        });
        Self {
            address,
            handle: handle.recv().expect("a server"),
            thread: Some(thread),
        }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "", b"")
    }

    fn send(&self, method: &str, path: &str, head: &str, body: &[u8]) -> Answer {
        let length = body.len();
        let start =
            format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n");
        let head = format!("{start}connection: close\r\n{head}\r\n");
        self.send_raw(&[head.as_bytes(), body].concat())
    }

    fn send_raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).expect("a connection");
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .expect("a timeout");
        // A server that has seen enough may close before all is sent.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        Answer::read(&answer)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        wait(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
