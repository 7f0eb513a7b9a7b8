//! Clients with their certificates, and whom they are taken for.

use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::stack::Stack;
use openssl::x509::extension::{ExtendedKeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Name, X509Req};
use tn_authority::callers::{CertificateCaller, ClientCertificates, CrlSettings, Match, Trust};
use tn_authority::domain::{Role, Time};
use tn_authority::signer::development::DevelopmentCa;

use crate::support::{World, account};

/// A client with its certificate.
pub struct Client {
    pub key: PKey<Private>,
    pub certificate: X509,
    pub chain: Vec<X509>,
}

/// What a client's certificate shall say.
pub struct Wanted {
    pub common_name: &'static str,
    pub dns: &'static [&'static str],
    pub uri: Option<&'static str>,
    pub client_auth: bool,
    pub server_auth: bool,
    pub validity: RangeInclusive<Time>,
}

/// The certificate of a client as it should be, for as long as the world's CA lives.
pub fn wanted(world: &World) -> Wanted {
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
    pub fn of(&self, ca: &DevelopmentCa) -> Client {
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

    pub fn self_signed(&self) -> Client {
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
    pub fn header(&self) -> String {
        format!(
            ":{}:",
            STANDARD.encode(self.certificate.to_der().expect("DER"))
        )
    }
}

pub fn new_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a curve");
    PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key")
}

pub fn caller(name: &str, by: Match, role: Role, accounts: &[&str]) -> CertificateCaller {
    CertificateCaller {
        name: name.to_owned(),
        by,
        role,
        accounts: accounts.iter().map(|id| account(id)).collect(),
    }
}

/// By the DNS name, `acme` mints; by the subject, the carrier's people provision; by the URI, somebody reads.
pub fn trust(world: &World) -> Trust {
    trust_with(world, 0)
}

/// The same, and a CRL counts for so many seconds longer than it says.
pub fn trust_with(world: &World, grace: u32) -> Trust {
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
    let file = world.dir.path().join("clients.crl.pem");
    let crls = file.exists().then_some(CrlSettings { file, grace });
    let certificates = ClientCertificates::new(ca_file, crls, callers, &world.metrics);
    let certificates = certificates.expect("anchors");
    Trust {
        certificates: Some(certificates),
        ..Trust::default()
    }
}

/// A client that the world's own CA vouches for, named by `acme.example`.
pub fn acme(world: &World) -> Client {
    wanted(world).of(&world.ca)
}
