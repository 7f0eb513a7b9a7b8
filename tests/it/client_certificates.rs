//! Client certificates: real TLS handshakes with certificates that openssl makes, and those that a proxy hands on.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslConnector, SslMethod, SslStream, SslVerifyMode};
use openssl::stack::Stack;
use openssl::x509::extension::{ExtendedKeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Name, X509Req};
use serde_json::json;
use tn_authority::app::{self, Stopper};
use tn_authority::callers::{CertificateCaller, ClientCertificates, Match, Proxies, Trust};
use tn_authority::config::Config;
use tn_authority::domain::proxy::CertificateEncoding;
use tn_authority::domain::{Role, Time};
use tn_authority::signer::development::DevelopmentCa;

use crate::service::{Answer, Api, asking};
use crate::support::{World, account, wait, write_private};

both!(
    a_certificate_of_the_connection_proves_its_caller,
    certificates_that_prove_nobody,
    a_connection_does_not_outlive_its_certificate,
    a_session_is_never_resumed,
    without_a_certificate_a_required_one_ends_the_handshake,
    a_revoked_certificate_proves_nobody,
    a_named_proxy_hands_certificates_on,
    nobody_else_hands_certificates_on,
    nginx_writes_another_encoding,
);

const READ: &str = "/v1/accounts/acme";

/// A client with its certificate.
pub struct Client {
    key: PKey<Private>,
    certificate: X509,
    chain: Vec<X509>,
}

/// What a client's certificate shall say.
struct Wanted {
    common_name: &'static str,
    dns: &'static [&'static str],
    uri: Option<&'static str>,
    client_auth: bool,
    server_auth: bool,
    validity: RangeInclusive<Time>,
}

/// The certificate of a client as it should be, for as long as the world's CA lives.
fn wanted(world: &World) -> Wanted {
    Wanted {
        common_name: "provisioning",
        dns: &["acme.example"],
        uri: None,
        client_auth: true,
        server_auth: false,
        validity: world.in_seconds(-3600)..=world.in_seconds(86_400 * 3650 - 3600),
    }
}

impl Wanted {
    fn of(&self, ca: &DevelopmentCa) -> Client {
        let key = new_key();
        let mut request = X509Req::builder().expect("a request");
        request.set_subject_name(&self.subject()).expect("a name");
        request.set_pubkey(&key).expect("a key");
        let mut extensions = Stack::new().expect("a stack");
        if self.client_auth || self.server_auth {
            let mut usage = ExtendedKeyUsage::new();
            if self.client_auth {
                usage.client_auth();
            }
            if self.server_auth {
                usage.server_auth();
            }
            extensions
                .push(usage.build().expect("usage"))
                .expect("pushed");
        }
        let mut names = SubjectAlternativeName::new();
        for dns in self.dns {
            names.dns(dns);
        }
        if let Some(uri) = self.uri {
            names.uri(uri);
        }
        if !self.dns.is_empty() || self.uri.is_some() {
            let names = names.build(&request.x509v3_context(None)).expect("names");
            extensions.push(names).expect("pushed");
        }
        request.add_extensions(&extensions).expect("extensions");
        request.sign(&key, MessageDigest::sha256()).expect("signed");
        let pem = request.build().to_pem().expect("PEM");
        let pem = String::from_utf8(pem).expect("PEM");
        let chain = ca
            .sign_request(&pem, &self.validity)
            .expect("a certificate");
        let mut chain = X509::stack_from_pem(chain.as_bytes()).expect("a chain");
        Client {
            key,
            certificate: chain.remove(0),
            chain,
        }
    }

    fn self_signed(&self) -> Client {
        let key = new_key();
        let mut builder = X509::builder().expect("a certificate");
        builder.set_version(2).expect("v3");
        builder.set_subject_name(&self.subject()).expect("a name");
        builder.set_issuer_name(&self.subject()).expect("a name");
        let at = |time: &Time| Asn1Time::from_unix(time.timestamp()).expect("a time");
        builder
            .set_not_before(&at(self.validity.start()))
            .expect("a time");
        builder
            .set_not_after(&at(self.validity.end()))
            .expect("a time");
        builder.set_pubkey(&key).expect("a key");
        let usage = ExtendedKeyUsage::new()
            .client_auth()
            .build()
            .expect("usage");
        builder.append_extension(usage).expect("an extension");
        builder.sign(&key, MessageDigest::sha256()).expect("signed");
        Client {
            key,
            certificate: builder.build(),
            chain: Vec::new(),
        }
    }

    fn subject(&self) -> X509Name {
        let mut name = X509Name::builder().expect("a name");
        name.append_entry_by_nid(Nid::ORGANIZATIONNAME, "Carrier")
            .expect("one");
        name.append_entry_by_nid(Nid::COMMONNAME, self.common_name)
            .expect("one");
        name.build()
    }
}

impl Client {
    /// As RFC 9440 writes it.
    fn header(&self) -> String {
        format!(
            ":{}:",
            STANDARD.encode(self.certificate.to_der().expect("DER"))
        )
    }
}

fn new_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a curve");
    PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key")
}

fn caller(name: &str, by: Match, role: Role, accounts: &[&str]) -> CertificateCaller {
    CertificateCaller {
        name: name.to_owned(),
        by,
        role,
        accounts: accounts.iter().map(|id| account(id)).collect(),
    }
}

/// By the DNS name, `acme` mints; by the subject, the carrier's people provision; by the URI, somebody reads.
pub fn trust(world: &World) -> Trust {
    let callers = vec![
        caller(
            "acme",
            Match::Dns("ACME.example".to_owned()),
            Role::Account,
            &["acme"],
        ),
        caller(
            "people",
            Match::Subject("CN=people,O=Carrier".to_owned()),
            Role::Provisioner,
            &[],
        ),
        caller(
            "reader",
            Match::Uri("spiffe://carrier/reader".to_owned()),
            Role::Auditor,
            &[],
        ),
    ];
    let ca_file = world.dir.path().join("root.pem");
    let crl = world.dir.path().join("clients.crl.pem");
    let crl = crl.exists().then_some(crl);
    let certificates = ClientCertificates::new(ca_file, crl, callers).expect("anchors");
    Trust {
        certificates: Some(certificates),
        ..Trust::default()
    }
}

/// The service as it serves, with TLS.
pub struct Tls {
    pub address: SocketAddr,
    stopper: Stopper,
    thread: Option<JoinHandle<()>>,
    root: X509,
    root_file: PathBuf,
}

impl Tls {
    pub fn of(api: &Api, require: bool) -> Self {
        let world = &api.world;
        let validity = world.in_seconds(-3600)..=world.in_seconds(86_400 * 3650 - 3600);
        let issued = world
            .ca
            .issue_tls_certificate(&["localhost", "127.0.0.1"], &validity);
        let issued = issued.expect("a certificate");
        let (key, chain) = (
            world.dir.path().join("tls.key"),
            world.dir.path().join("tls.pem"),
        );
        write_private(&key, &issued.key_pem);
        std::fs::write(&chain, &issued.chain_pem).expect("a file");
        let mut config = Config::default();
        config.server.listen = "127.0.0.1:0".parse().expect("an address");
        config.operations.listen = config.server.listen;
        config.server.tls_certificate = Some(chain);
        config.server.tls_key = Some(key);
        config.server.workers = Some(1);
        config.server.shutdown_timeout = 1;
        config.client_certificates.require = require;
        let service = api.service.clone().into_inner();
        let (started, running) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            app::block_on(async move {
                let running = app::start(service, &config).expect("a listener");
                started
                    .send((running.address, running.stopper()))
                    .expect("a test");
                running.wait().await.expect("a server");
            });
        });
        let (address, stopper) = running.recv().expect("a server");
        let root = world.ca.certificate_pem().expect("a root");
        Self {
            address,
            stopper,
            thread: Some(thread),
            root: X509::from_pem(root.as_bytes()).expect("a root"),
            root_file: world.dir.path().join("root.pem"),
        }
    }

    /// A connection, if the handshake gets that far. A server's refusal may come only when something is read.
    fn connect(&self, client: Option<&Client>) -> Option<SslStream<TcpStream>> {
        let mut connector = SslConnector::builder(SslMethod::tls_client()).expect("TLS");
        connector
            .cert_store_mut()
            .add_cert(self.root.clone())
            .expect("a root");
        connector.set_verify(SslVerifyMode::PEER);
        if let Some(client) = client {
            connector
                .set_certificate(&client.certificate)
                .expect("a certificate");
            connector.set_private_key(&client.key).expect("a key");
            for one in &client.chain {
                connector
                    .add_extra_chain_cert(one.clone())
                    .expect("a chain");
            }
        }
        let stream = TcpStream::connect(self.address).expect("a connection");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a timeout");
        connector.build().connect("localhost", stream).ok()
    }

    /// The answer to one request of a connection, which stays open. None if there is no answer.
    fn ask(stream: &mut SslStream<TcpStream>, head: &str, body: &str) -> Option<Answer> {
        let length = body.len();
        let request = format!("{head}host: localhost\r\ncontent-length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).ok()?;
        let mut bytes = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let n = stream.read(&mut piece).ok().filter(|n| *n > 0)?;
            bytes.extend_from_slice(&piece[..n]);
            let text = String::from_utf8_lossy(&bytes);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let mut lengths = head
                    .lines()
                    .filter_map(|line| line.strip_prefix("content-length: "));
                let length: usize = lengths.next_back()?.parse().ok()?;
                if body.len() >= length {
                    return Some(Answer::read(&bytes));
                }
            }
        }
    }

    /// One request of a client, with these header lines.
    pub fn get(&self, client: Option<&Client>, path: &str, head: &str) -> Option<Answer> {
        let mut stream = self.connect(client)?;
        Self::ask(&mut stream, &format!("GET {path} HTTP/1.1\r\n{head}"), "")
    }

    pub fn post(
        &self,
        client: Option<&Client>,
        path: &str,
        head: &str,
        body: &str,
    ) -> Option<Answer> {
        let mut stream = self.connect(client)?;
        let head = format!("POST {path} HTTP/1.1\r\ncontent-type: application/json\r\n{head}");
        Self::ask(&mut stream, &head, body)
    }

    #[track_caller]
    fn refused(&self, client: &Client, head: &str, api: &Api, reason: &str) {
        refused(api, reason, || {
            self.get(Some(client), READ, head).expect("an answer")
        });
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        wait(self.stopper.stop());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[track_caller]
fn refused(api: &Api, reason: &str, ask: impl FnOnce() -> Answer) {
    let all = |reason: &str| {
        let count = |proof| format!("unproven_total{{proof=\"{proof}\",reason=\"{reason}\"}}");
        api.world.count(&count("certificate")) + api.world.count(&count("authorization"))
    };
    let before = all(reason);
    ask().problem(403, "forbidden");
    let text = api.world.metrics.render().expect("metrics");
    assert_eq!(all(reason), before + 1, "not {reason}:\n{text}");
}

/// A client that the world's own CA vouches for, named by `acme.example`.
pub fn acme(world: &World) -> Client {
    wanted(world).of(&world.ca)
}

fn trusting_certificates(world: World) -> Api {
    Api::trusting(world, trust)
}

fn a_certificate_of_the_connection_proves_its_caller(world: World) {
    let api = trusting_certificates(world);
    let tls = Tls::of(&api, false);
    let client = acme(&api.world);
    let asked = asking(&["one:12125551001"]).to_string();
    let mint = |client: Option<&Client>, account: &str, head: &str| {
        let path = format!("/at/account/{account}/token");
        tls.post(client, &path, head, &asked).expect("an answer")
    };
    mint(Some(&client), "acme", "").with(200);
    let trail = api.world.trail("acme");
    assert!(trail.iter().any(|event| event.caller == "certificate:acme"));
    mint(Some(&client), "other", "").problem(403, "forbidden");
    // Without one, nothing has changed.
    let nobody = mint(None, "acme", "");
    nobody.problem(401, "unauthorized");
    assert!(nobody.header("www-authenticate").is_some());
    let bearer = format!("authorization: Bearer {}\r\n", api.acme);
    mint(None, "acme", &bearer).with(200);
    // Two proofs prove nothing, be they of one caller; a certificate that names nobody is none.
    refused(&api, "two-proofs", || mint(Some(&client), "acme", &bearer));
    let stranger = Wanted {
        dns: &[],
        common_name: "stranger",
        ..wanted(&api.world)
    }
    .of(&api.world.ca);
    mint(Some(&stranger), "acme", &bearer).with(200);
    tls.refused(&stranger, "", &api, "unmapped");

    let people = Wanted {
        dns: &[],
        common_name: "people",
        ..wanted(&api.world)
    }
    .of(&api.world.ca);
    tls.get(Some(&people), READ, "")
        .expect("an answer")
        .with(200);
    let reader = Wanted {
        dns: &[],
        uri: Some("spiffe://carrier/reader"),
        ..wanted(&api.world)
    };
    let reader = reader.of(&api.world.ca);
    tls.get(Some(&reader), READ, "")
        .expect("an answer")
        .with(200);
    // Through a CA below the one that is trusted, which the client sends along.
    let validity = wanted(&api.world).validity;
    let below = api
        .world
        .ca
        .intermediate("Clients", validity)
        .expect("a CA");
    let lower = wanted(&api.world).of(&below);
    assert_eq!(lower.chain.len(), 1);
    mint(Some(&lower), "acme", "").with(200);
}

fn certificates_that_prove_nobody(world: World) {
    let api = trusting_certificates(world);
    let tls = Tls::of(&api, false);
    let good = wanted(&api.world);
    let other = DevelopmentCa::new("Development CA", good.validity.clone()).expect("a CA");
    let day = |n: i64| api.world.in_seconds(86_400 * n);
    // OpenSSL ends these handshakes, by its own clock.
    for (what, client) in [
        ("of another CA of the same name", good.of(&other)),
        ("self-signed", good.self_signed()),
        (
            "expired",
            Wanted {
                validity: day(-20)..=day(-10),
                ..wanted(&api.world)
            }
            .of(&api.world.ca),
        ),
        (
            "of the future",
            Wanted {
                validity: day(3_000)..=day(3_100),
                ..wanted(&api.world)
            }
            .of(&api.world.ca),
        ),
        (
            "of a server",
            Wanted {
                client_auth: false,
                server_auth: true,
                ..wanted(&api.world)
            }
            .of(&api.world.ca),
        ),
    ] {
        let answer = tls.get(Some(&client), READ, "");
        assert!(answer.is_none(), "{what}: {answer:?}");
        let answer = tls.get(Some(&client), "/healthz", "");
        assert!(answer.is_none(), "{what}: {answer:?}");
    }
    // These get through the handshake.
    let world = &api.world;
    for (reason, client) in [
        (
            "usage",
            Wanted {
                client_auth: false,
                ..wanted(world)
            }
            .of(&world.ca),
        ),
        (
            "unmapped",
            Wanted {
                dns: &["acme.example.org"],
                ..wanted(world)
            }
            .of(&world.ca),
        ),
        (
            "unmapped",
            Wanted {
                dns: &["*.example"],
                ..wanted(world)
            }
            .of(&world.ca),
        ),
        (
            "unmapped",
            Wanted {
                dns: &[],
                common_name: "acme.example",
                ..wanted(world)
            }
            .of(&world.ca),
        ),
        (
            "unmapped",
            Wanted {
                dns: &[],
                common_name: "people,O=Carrier",
                ..wanted(world)
            }
            .of(&world.ca),
        ),
        (
            "unmapped",
            Wanted {
                dns: &[],
                uri: Some("spiffe://carrier/reader/"),
                ..wanted(world)
            }
            .of(&world.ca),
        ),
        (
            "ambiguous",
            Wanted {
                common_name: "people",
                ..wanted(world)
            }
            .of(&world.ca),
        ),
    ] {
        tls.refused(&client, "", &api, reason);
    }
}

fn a_connection_does_not_outlive_its_certificate(world: World) {
    let api = trusting_certificates(world);
    let tls = Tls::of(&api, false);
    let client = acme(&api.world);
    let mut stream = tls.connect(Some(&client)).expect("a connection");
    let get = format!("GET {READ} HTTP/1.1\r\n");
    let mut ask = || Tls::ask(&mut stream, &get, "").expect("an answer");
    // May not read, so the one answer that tells a proven caller from others is the metric.
    let path = || {
        api.world
            .count("unproven_total{proof=\"certificate\",reason=\"path\"}")
    };
    let other = |answer: Answer| assert_ne!(answer.status, 401);
    other(ask());
    assert_eq!(path(), 0);
    // To OpenSSL a certificate's last second is the first one too late.
    let last = 86_400 * 3650 - 3601;
    api.world.seconds_pass(last);
    other(ask());
    assert_eq!(path(), 0);
    api.world.seconds_pass(1);
    refused(&api, "path", &mut ask);
    api.world.seconds_pass(-last - 3602);
    refused(&api, "path", &mut ask);
    api.world.seconds_pass(1);
    other(ask());
    assert_eq!(path(), 2);
}

fn a_session_is_never_resumed(world: World) {
    let api = trusting_certificates(world);
    let tls = Tls::of(&api, false);
    let client = acme(&api.world);
    let dir = api.world.dir.path();
    let pem = client.certificate.to_pem().expect("PEM");
    std::fs::write(dir.join("client.pem"), pem).expect("a file");
    let key = client.key.private_key_to_pem_pkcs8().expect("PEM");
    write_private(
        &dir.join("client.key"),
        &String::from_utf8(key).expect("PEM"),
    );
    let s_client = |more: &[&str]| {
        let mut openssl = Command::new("openssl");
        let started = openssl
            .args([
                "s_client",
                "-connect",
                &tls.address.to_string(),
                "-servername",
                "localhost",
            ])
            .args(["-cert", "client.pem", "-key", "client.key", "-CAfile"])
            .arg(&tls.root_file)
            .args(["-ign_eof"])
            .args(more)
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut running = started.expect("openssl");
        let request =
            format!("GET {READ} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let mut input = running.stdin.take().expect("input");
        let _ = input.write_all(request.as_bytes());
        drop(input);
        let output = running.wait_with_output().expect("openssl").stdout;
        String::from_utf8_lossy(&output).into_owned()
    };
    for version in ["-tls1_2", "-tls1_3"] {
        let first = s_client(&[version, "-sess_out", "session.pem"]);
        assert!(first.contains("New, TLSv1."), "{first}");
        assert!(first.contains("HTTP/1.1 "), "{first}");
        let mut again = vec![version];
        // There may be nothing to come back with, which is right too.
        if dir.join("session.pem").exists() {
            again.extend(["-sess_in", "session.pem"]);
        }
        let second = s_client(&again);
        assert!(
            second.contains("New, TLSv1.") && !second.contains("Reused"),
            "{second}"
        );
        assert!(second.contains("HTTP/1.1 "), "{second}");
        let _ = std::fs::remove_file(dir.join("session.pem"));
    }
    assert_eq!(
        api.world
            .count("unproven_total{proof=\"none\",reason=\"missing\"}"),
        0
    );
}

fn without_a_certificate_a_required_one_ends_the_handshake(world: World) {
    let api = trusting_certificates(world);
    let tls = Tls::of(&api, true);
    assert!(tls.get(None, "/healthz", "").is_none());
    let client = acme(&api.world);
    let answer = tls.get(Some(&client), "/healthz", "").expect("an answer");
    assert_eq!(answer.status, 200);
}

/// With the openssl command line, which keeps a CA's books.
fn a_revoked_certificate_proves_nobody(world: World) {
    let dir = world.dir.path().to_owned();
    let openssl = |args: &[&str]| {
        let run = Command::new("openssl")
            .args(args)
            .current_dir(&dir)
            .output();
        let run = run.expect("openssl");
        assert!(
            run.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&run.stderr)
        );
    };
    let config = "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ndefault_md=sha256\ncrlnumber=crlnumber\n\
                  new_certs_dir=.\nserial=serial\npolicy=p\ndefault_days=1\n[p]\ncommonName=supplied\n\
                  [req]\ndistinguished_name=n\nprompt=no\n[n]\nCN=Clients\n[v3]\nbasicConstraints=critical,CA:TRUE\n\
                  keyUsage=critical,keyCertSign,cRLSign\n[client]\nextendedKeyUsage=clientAuth\n\
                  subjectAltName=DNS:acme.example\n";
    std::fs::write(dir.join("ca.cnf"), config).expect("a file");
    for (name, text) in [("index.txt", ""), ("crlnumber", "01\n"), ("serial", "01\n")] {
        std::fs::write(dir.join(name), text).expect("a file");
    }
    let ec = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-config",
        "ca.cnf",
    ];
    let req = |more: &[&str]| openssl(&[&["req"][..], &ec, more].concat());
    req(&[
        "-x509",
        "-extensions",
        "v3",
        "-keyout",
        "ca.key",
        "-out",
        "root.pem",
        "-days",
        "3650",
    ]);
    let ca = [
        "-config", "ca.cnf", "-cert", "root.pem", "-keyfile", "ca.key",
    ];
    let run_ca = |more: &[&str]| openssl(&[&["ca"][..], &ca, more].concat());
    let client = |name: &str| {
        let file = |end: &str| format!("{name}.{end}");
        req(&[
            "-subj",
            "/CN=client",
            "-keyout",
            &file("key"),
            "-out",
            &file("csr"),
        ]);
        let dates = [
            "-startdate",
            "20250101000000Z",
            "-enddate",
            "20350101000000Z",
        ];
        let (csr, pem) = (file("csr"), file("pem"));
        let signed = [
            "-batch",
            "-notext",
            "-extensions",
            "client",
            "-in",
            &csr,
            "-out",
            &pem,
        ];
        run_ca(&[&signed[..], &dates].concat());
        let read = |end: &str| std::fs::read(dir.join(file(end))).expect("a file");
        Client {
            key: PKey::private_key_from_pem(&read("key")).expect("a key"),
            certificate: X509::from_pem(&read("pem")).expect("a certificate"),
            chain: Vec::new(),
        }
    };
    std::fs::write(
        dir.join("ca.cnf"),
        format!("unique_subject=no\n{config}").replace("[d]\n", "[d]\nunique_subject=no\n"),
    )
    .expect("a file");
    let (good, bad) = (client("good"), client("bad"));
    // The world stands in January 2026, and the CRL is of whenever the test runs.
    run_ca(&["-gencrl", "-crldays", "3650", "-out", "clients.crl.pem"]);
    let crl = std::fs::read(dir.join("clients.crl.pem")).expect("a CRL");
    let crl = openssl::x509::X509Crl::from_pem(&crl).expect("a CRL");
    let epoch = Asn1Time::from_unix(0).expect("a time");
    let made = epoch.diff(crl.last_update()).expect("a time");
    let made = i64::from(made.days) * 86_400 + i64::from(made.secs);
    world.seconds_pass(made - world.now().timestamp() + 60);

    let proxies = named_proxies();
    let api = Api::trusting(world, |world| Trust {
        proxies,
        ..trust(world)
    });
    let ask = |client: &Client| {
        let head = format!("client-cert: {}\r\n", client.header());
        api.send("GET", READ, &head, b"")
    };
    let path = || {
        api.world
            .count("unproven_total{proof=\"certificate\",reason=\"path\"}")
    };
    ask(&good);
    ask(&bad);
    assert_eq!(path(), 0);
    run_ca(&["-revoke", "bad.pem"]);
    run_ca(&["-gencrl", "-crldays", "3650", "-out", "clients.crl.pem"]);
    // Within the same second the file may look the same, so it is made to look another one.
    let file = std::fs::File::options()
        .append(true)
        .open(dir.join("clients.crl.pem"));
    file.and_then(|mut file| file.write_all(b"\n"))
        .expect("a file");
    api.world.seconds_pass(60);
    refused(&api, "path", || ask(&bad));
    ask(&good);
    assert_eq!(path(), 1);
    // Without a CRL that holds nobody can know.
    std::fs::remove_file(dir.join("clients.crl.pem")).expect("removed");
    refused(&api, "path", || ask(&good));
}

fn named_proxies() -> Proxies {
    Proxies {
        addresses: vec!["127.0.0.0/8".parse().expect("a network")],
        certificate_header: Some("client-cert".to_owned()),
        ..Proxies::default()
    }
}

fn a_named_proxy_hands_certificates_on(world: World) {
    let api = Api::trusting(world, |world| Trust {
        proxies: named_proxies(),
        ..trust(world)
    });
    let world = &api.world;
    let asked = asking(&["one:12125551001"]).to_string();
    let mint = |head: &str| {
        let head = format!("content-type: application/json\r\n{head}");
        api.send("POST", "/at/account/acme/token", &head, asked.as_bytes())
    };
    let client = acme(world);
    let header = format!("Client-Cert: {}\r\n", client.header());
    for _ in 0..2 {
        mint(&header).with(200);
    }
    let bearer = format!("authorization: Bearer {}\r\n", api.acme);
    refused(&api, "two-proofs", || mint(&format!("{header}{bearer}")));
    mint(&bearer).with(200);
    mint("client-cert: \r\n").problem(401, "unauthorized");
    refused(&api, "header-twice", || mint(&format!("{header}{header}")));
    let der = client.certificate.to_der().expect("DER");
    let base64 = STANDARD.encode(&der);
    for wrong in [
        base64.clone(),
        format!(":{base64}"),
        "::".to_owned(),
        ":!:".to_owned(),
        format!(":{base64}:, :{base64}:"),
        format!(":{base64}:;x=1"),
        "none".to_owned(),
        "\u{e9}".to_owned(),
        format!(":{}:", "A".repeat(40_000)),
    ] {
        refused(&api, "header-malformed", || {
            mint(&format!("client-cert: {wrong}\r\n"))
        });
    }
    for wrong in [&der[..der.len() - 1], &[&der[..], b"\0"].concat(), b"\0"] {
        let head = format!("client-cert: :{}:\r\n", STANDARD.encode(wrong));
        refused(&api, "unreadable", || mint(&head));
    }
    // A proxy is believed that it saw the certificate, and not that it is any good.
    let good = wanted(world);
    let other = DevelopmentCa::new("Development CA", good.validity.clone()).expect("a CA");
    let day = |n: i64| world.in_seconds(86_400 * n);
    for (reason, client) in [
        ("path", good.of(&other)),
        ("path", good.self_signed()),
        (
            "path",
            Wanted {
                validity: day(-20)..=day(-10),
                ..wanted(world)
            }
            .of(&world.ca),
        ),
        (
            "path",
            Wanted {
                validity: day(1)..=day(10),
                ..wanted(world)
            }
            .of(&world.ca),
        ),
        (
            "path",
            Wanted {
                client_auth: false,
                server_auth: true,
                ..wanted(world)
            }
            .of(&world.ca),
        ),
        (
            "usage",
            Wanted {
                client_auth: false,
                ..wanted(world)
            }
            .of(&world.ca),
        ),
        (
            "unmapped",
            Wanted {
                dns: &[],
                ..wanted(world)
            }
            .of(&world.ca),
        ),
    ] {
        let head = format!("client-cert: {}\r\n", client.header());
        refused(&api, reason, || mint(&head));
        // A wrong one is not forgiven for an Authorization field beside it.
        if reason != "unmapped" {
            refused(&api, reason, || mint(&format!("{head}{bearer}")));
        }
    }
}

fn nobody_else_hands_certificates_on(world: World) {
    let mut proxies = named_proxies();
    proxies.addresses = vec!["192.0.2.0/24".parse().expect("a network")];
    let api = Api::trusting(world, |world| Trust {
        proxies,
        ..trust(world)
    });
    let header = format!("client-cert: {}\r\n", acme(&api.world).header());
    let ask = |head: &str| api.send("GET", READ, head, b"");
    refused(&api, "unnamed-peer", || ask(&header));
    let bearer = format!("authorization: Bearer {}\r\n", api.admin);
    refused(&api, "unnamed-peer", || ask(&format!("{header}{bearer}")));
    let claimed = "x-forwarded-for: 192.0.2.1\r\nforwarded: for=192.0.2.1\r\n";
    refused(&api, "unnamed-peer", || ask(&format!("{claimed}{header}")));
    ask(&bearer).with(200);
}

fn nginx_writes_another_encoding(world: World) {
    let proxies = Proxies {
        certificate_header: Some("x-ssl-client-cert".to_owned()),
        certificate_encoding: CertificateEncoding::EscapedPem,
        ..named_proxies()
    };
    let api = Api::trusting(world, |world| Trust {
        proxies,
        ..trust(world)
    });
    let client = acme(&api.world);
    let pem = client.certificate.to_pem().expect("PEM");
    let escaped: String = pem
        .iter()
        .map(|b| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' => char::from(*b).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect();
    let mint = |value: &str| {
        let asked = json!(asking(&["one:12125551001"])).to_string();
        let head = format!("content-type: application/json\r\nx-ssl-client-cert: {value}\r\n");
        api.send("POST", "/at/account/acme/token", &head, asked.as_bytes())
    };
    mint(&escaped).with(200);
    for wrong in [
        client.header(),
        format!("{escaped}{escaped}"),
        format!("{escaped}%"),
        "%00".to_owned(),
    ] {
        refused(&api, "header-malformed", || mint(&wrong));
    }
}
