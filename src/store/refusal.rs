//! Why PostgreSQL refuses a connection, by its SQLSTATE. libpq hides that of a failed connection,
//! and its texts are in the language of the server. So the first messages of the protocol are
//! exchanged here (PostgreSQL, "Message Flow", "SCRAM-SHA-256 Authentication").
//!
//! It is for one question: whether a start that fails is worth repeating. Where that cannot be
//! told apart, the answer is that it is. Only servers that may see the exchange unencrypted are
//! asked (`plain_server.rs`): no diagnosis is better than a leak.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::hash::MessageDigest;
use openssl::pkcs5::pbkdf2_hmac;
use openssl::pkey::PKey;
use openssl::sha::sha256;
use openssl::sign::Signer;

use super::Store;
use super::database_url::DatabaseUrl;
use super::error::OpenError;
use super::plain_server::PlainServer;

/// For each step of the exchange.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The longest message that is read.
const MAX_MESSAGE: usize = 65_536;
/// The iterations of a hash that a server can ask for. With fewer, the proof would tell one who
/// sees it more of the password (RFC 7677 §4); more would cost too much.
const ITERATIONS: std::ops::RangeInclusive<usize> = 4_096..=1_000_000;
const PROTOCOL: i32 = 3 << 16;
/// The length and the code of an `SSLRequest`.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
const SCRAM: &[u8] = b"SCRAM-SHA-256";

impl Store {
    /// Why the server refuses the service, if only a change of the URL or of the server's
    /// configuration helps. `None` if it does not, or cannot be asked.
    #[must_use]
    pub fn refusal(url: &DatabaseUrl) -> Option<&'static str> {
        let DatabaseUrl::Postgres(url) = url else {
            return None;
        };
        let variables = std::env::vars_os().map(|(name, _)| name);
        let endpoint = PlainServer::of(url, variables)?;
        let sqlstate = ServerDialog::with(&endpoint)?.sqlstate(&endpoint)?;
        match sqlstate.as_str() {
            "28P01" => Some("the password is wrong, or there is no such user"),
            "3D000" => Some("there is no such database"),
            // It starts, stops, or is full. `pg_hba.conf` (28000) may refuse this connection only
            // because it has no TLS, or the server may still be a standby with another one.
            _ => None,
        }
    }
}

impl OpenError {
    /// The same, or that the server refuses the service, if that is why it cannot be reached.
    pub(super) fn explained(self, url: &DatabaseUrl) -> Self {
        match self {
            Self::Connect(_) => Store::refusal(url).map_or(self, Self::Refused),
            other => other,
        }
    }
}

struct ServerDialog(TcpStream);

impl ServerDialog {
    fn with(endpoint: &PlainServer) -> Option<Self> {
        let mut addresses = (endpoint.host.as_str(), endpoint.port)
            .to_socket_addrs()
            .ok()?;
        let mut stream = TcpStream::connect_timeout(&addresses.next()?, TIMEOUT).ok()?;
        stream.set_read_timeout(Some(TIMEOUT)).ok()?;
        stream.set_write_timeout(Some(TIMEOUT)).ok()?;
        if !endpoint.disables_tls {
            // libpq would use TLS if it is offered, and be treated differently with it.
            let mut answer = [0];
            stream.write_all(&SSL_REQUEST).ok()?;
            stream.read_exact(&mut answer).ok()?;
            if answer != *b"N" {
                return None;
            }
        }
        Some(Self(stream))
    }

    /// The SQLSTATE that ends the exchange; `None` if the server lets us in, or it is not known.
    fn sqlstate(mut self, endpoint: &PlainServer) -> Option<String> {
        let mut start = PROTOCOL.to_be_bytes().to_vec();
        for text in ["user", &endpoint.user, "database", &endpoint.database] {
            start.extend_from_slice(text.as_bytes());
            start.push(0);
        }
        start.push(0);
        self.send(None, &start)?;
        let mut scram = Scram::new()?;
        loop {
            let (kind, body) = self.receive()?;
            if kind == b'E' {
                return sqlstate_of(&body);
            }
            if kind != b'R' {
                return None;
            }
            let (code, data) = body.split_first_chunk::<4>()?;
            match i32::from_be_bytes(*code) {
                // AuthenticationOk, or the last message of SCRAM: the password is right, and an
                // unknown database is refused next.
                0 | 12 => {}
                // AuthenticationSASL, with the names of mechanisms.
                10 if data.split(|byte| *byte == 0).any(|name| name == SCRAM) => {
                    let first = scram.first();
                    let length = i32::try_from(first.len()).ok()?.to_be_bytes();
                    let body = [SCRAM, b"\0", &length, first.as_bytes()].concat();
                    self.send(Some(b'p'), &body)?;
                }
                11 => {
                    let password = endpoint.password.as_deref()?;
                    let last = scram.last(password, std::str::from_utf8(data).ok()?)?;
                    self.send(Some(b'p'), last.as_bytes())?;
                }
                // Another method.
                _ => return None,
            }
        }
    }

    fn send(&mut self, kind: Option<u8>, body: &[u8]) -> Option<()> {
        let length = i32::try_from(body.len() + 4).ok()?.to_be_bytes();
        let message = [kind.as_slice(), &length, body].concat();
        self.0.write_all(&message).ok()
    }

    fn receive(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        self.0.read_exact(&mut head).ok()?;
        let [kind, length @ ..] = head;
        let length = usize::try_from(i32::from_be_bytes(length))
            .ok()?
            .checked_sub(4)?;
        if length > MAX_MESSAGE {
            return None;
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).ok()?;
        Some((kind, body))
    }
}

/// The field `C` of an `ErrorResponse`.
fn sqlstate_of(body: &[u8]) -> Option<String> {
    let mut fields = body.split(|byte| *byte == 0);
    let field = fields.find_map(|field| field.strip_prefix(b"C"))?;
    String::from_utf8(field.to_vec()).ok()
}

/// The client's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel binding.
struct Scram {
    nonce: String,
}

impl Scram {
    fn new() -> Option<Self> {
        let mut bits = [0; 18];
        getrandom::fill(&mut bits).ok()?;
        Some(Self {
            nonce: STANDARD.encode(bits),
        })
    }

    fn first(&mut self) -> String {
        format!("n,,n=,r={}", self.nonce)
    }

    /// The proof that answers the first message of the server.
    fn last(&self, password: &str, server_first: &str) -> Option<String> {
        let member = |name: &str| {
            let mut members = server_first.split(',');
            members.find_map(|one| one.strip_prefix(name))
        };
        let (nonce, salt) = (member("r=")?, STANDARD.decode(member("s=")?).ok()?);
        let iterations: usize = member("i=")?.parse().ok()?;
        // Other passwords would have to be normalized (RFC 4013).
        let is_plain = password.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if !nonce.starts_with(&self.nonce) || !ITERATIONS.contains(&iterations) || !is_plain {
            return None;
        }
        let mut salted = [0; 32];
        let digest = MessageDigest::sha256();
        pbkdf2_hmac(password.as_bytes(), &salt, iterations, digest, &mut salted).ok()?;
        let client_key = hmac(&salted, b"Client Key")?;
        let without_proof = format!("c=biws,r={nonce}");
        let signed = format!("n=,r={},{server_first},{without_proof}", self.nonce);
        let signature = hmac(&sha256(&client_key), signed.as_bytes())?;
        let pairs = client_key.iter().zip(signature);
        let proof: Vec<u8> = pairs.map(|(key, mask)| key ^ mask).collect();
        Some(format!("{without_proof},p={}", STANDARD.encode(proof)))
    }
}

fn hmac(key: &[u8], data: &[u8]) -> Option<Vec<u8>> {
    let key = PKey::hmac(key).ok()?;
    let mut signer = Signer::new(MessageDigest::sha256(), &key).ok()?;
    signer.sign_oneshot_to_vec(data).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677 §3, without its user name, which PostgreSQL leaves empty.
    #[test]
    fn the_proof_depends_on_the_password() {
        let scram = Scram {
            nonce: "rOprNGfwEbeRWgbNEkqO".to_owned(),
        };
        let server = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let right = scram.last("pencil", server).expect("a proof");
        assert!(
            right.starts_with("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=")
        );
        assert_ne!(scram.last("pencils", server), Some(right));
        // Not the answer to this exchange, too much or too little work, and a password that has
        // other bytes.
        assert_eq!(scram.last("pencil", "r=other,s=W22Z,i=4096"), None);
        let costly = server.replace("4096", "4096000");
        assert_eq!(scram.last("pencil", &costly), None);
        let cheap = server.replace("4096", "4095");
        assert_eq!(scram.last("pencil", &cheap), None);
        assert_eq!(scram.last("Bleistift für zwei", server), None);
    }

    #[test]
    fn the_sqlstate_is_read_whatever_the_language() {
        let german = b"SFATAL\0VFATAL\0C3D000\0MDatenbank existiert nicht\0\0";
        assert_eq!(sqlstate_of(german).as_deref(), Some("3D000"));
        assert_eq!(sqlstate_of(b"SFATAL\0\0"), None);
    }
}
