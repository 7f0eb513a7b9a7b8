//! What a signer refuses to start with, and why. Each message tells the operator what is wrong.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use openssl::bn::BigNum;
use openssl::sha::sha256;
use openssl::x509::X509;
use tn_authority::domain::clock::from_unix;
use tn_authority::domain::{Spc, Time, TnAuthList};
use tn_authority::signer::development::{
    Curve, DevelopmentCa, IssuedChain, SpcCertificate, Validity,
};
use tn_authority::signer::{
    Chain, FileKey, Keyring, PublishedChains, ScanMode, Signer, SignerError, Sources,
};

use crate::support::no_hsm;

const URL: &str = "https://authority.example.org";
const DAY: i64 = 86_400;

pub fn now() -> Time {
    from_unix(1_800_000_000)
}

pub fn days(first: i64, last: i64) -> Validity {
    let at = |day: i64| from_unix(now().timestamp() + day * DAY);
    at(first)..=at(last)
}

pub fn root() -> DevelopmentCa {
    DevelopmentCa::new("Development Root", days(-30, 30)).expect("a CA")
}

pub fn wanted() -> SpcCertificate {
    SpcCertificate::new(spc("1234"), days(-1, 7)).expect("a list")
}

fn spc(code: &str) -> Spc {
    code.parse().expect("a code")
}

pub fn issue(wanted: &SpcCertificate) -> IssuedChain {
    root().issue_spc_certificate(wanted).expect("a certificate")
}

fn open(issued: &IssuedChain) -> Result<Signer, SignerError> {
    let key = FileKey::from_pem(issued.key_pem.as_bytes())?;
    let chain = Chain::from_pem(&issued.chain_pem)?;
    Signer::new(
        Arc::new(key),
        chain,
        URL,
        false,
        &[spc("0000"), spc("1234")],
        now(),
    )
}

/// Nothing but who the carrier is.
pub fn sources() -> Sources {
    Sources {
        key_file: None,
        key_uri: None,
        keys: Vec::new(),
        chain_file: None,
        dir: None,
        passphrase: None,
        pkcs11: no_hsm(),
        public_url: URL.to_owned(),
        x5c: false,
        spcs: vec![spc("1234")],
    }
}

pub fn refusal<T: std::fmt::Debug>(result: Result<T, SignerError>) -> String {
    result.expect_err("taken").to_string()
}

pub fn certificates(pem: &str) -> Vec<X509> {
    X509::stack_from_pem(pem.as_bytes()).expect("certificates")
}

fn pem_of(certificates: &[&X509]) -> String {
    let pem = certificates
        .iter()
        .flat_map(|c| c.to_pem().expect("PEM"))
        .collect();
    String::from_utf8(pem).expect("ASCII")
}

#[test]
fn key_and_chain_are_opened_from_files() {
    let issued = issue(&wanted());
    let folder = tempfile::tempdir().expect("a folder");
    let (key_file, chain_file) = (
        folder.path().join("key.pem"),
        folder.path().join("chain.pem"),
    );
    let keyring = Keyring::new(Sources {
        key_file: Some(key_file.clone()),
        chain_file: Some(chain_file.clone()),
        ..sources()
    });
    let look = || keyring.scan(now(), ScanMode::Asked).require_any();
    let message = refusal(look());
    let unreadable = format!("cannot read the file `{}`: ", key_file.display());
    assert!(message.contains(&unreadable), "{message}");
    fs::write(&key_file, &issued.key_pem).expect("written");
    let message = refusal(look());
    let unreadable = format!("cannot read the file `{}`: ", chain_file.display());
    assert!(message.contains(&unreadable), "{message}");
    fs::write(&chain_file, &issued.chain_pem).expect("written");

    let found = look().expect("a signer");
    assert_eq!((found.signers.len(), found.refused.len()), (1, 0));
    let signer = &found.signers[0];
    assert_eq!((signer.issuer(), signer.key_kind()), (URL, "file"));
    assert_eq!(signer.authority_ends(), *days(-1, 7).end());
    assert!(signer.ready(now()).is_ok());
    assert!(signer.ready(*days(0, 7).end()).is_ok());
    let message = refusal(signer.ready(from_unix(now().timestamp() + 7 * DAY + 1)));
    assert!(
        message.contains("the certificate expired: its last second was 2027-01-22T08:00:00Z"),
        "{message}"
    );
}

#[test]
fn a_chain_is_published_under_the_hash_of_its_bytes() {
    let issued = issue(&wanted());
    let noisy = format!(
        "Bag Attributes\n{}trailing\n",
        issued
            .chain_pem
            .replace("-----BEGIN", "subject=x\n-----BEGIN")
    );
    let chain = Chain::from_pem(&noisy).expect("a chain");
    assert_eq!(
        *chain.pem(),
        *issued.chain_pem.as_bytes(),
        "what stands between certificates is not published"
    );
    let hash = BigNum::from_slice(&sha256(&chain.pem())).expect("a number");
    let hash = format!("{:0>64}", hash.to_hex_str().expect("hex").to_lowercase());
    assert_eq!(chain.name(), hash);
    assert_eq!(chain.x5u(URL), format!("{URL}/certs/{hash}.pem"));

    let published: PublishedChains = std::iter::once(&chain).collect();
    assert_eq!(published.names().collect::<Vec<_>>(), [hash.as_str()]);
    let known = published.get(&hash).expect("published");
    assert_eq!(known.pem, chain.pem());
    assert_eq!(*known.leaf_der, *chain.leaf().as_der());
    assert_eq!(published.get("0"), None);
    // What another replica has recorded is published only if it is what its name says.
    let mut published = PublishedChains::default();
    let pem = String::from_utf8(chain.pem().to_vec()).expect("ASCII");
    published.add_recorded(&hash, &pem).expect("the same");
    let other = issue(&wanted()).chain_pem;
    assert!(published.add_recorded(&hash, &other).is_err());
}

#[test]
fn a_chain_with_an_intermediate_leaves_the_root_out() {
    let root = root();
    let below = root
        .intermediate("Development Issuing CA", days(-10, 3))
        .expect("a CA");
    let issued = below
        .issue_spc_certificate(&wanted())
        .expect("a certificate");
    assert_eq!(certificates(&issued.chain_pem).len(), 2);
    let signer = open(&issued).expect("a signer");
    assert_eq!(
        signer.authority_ends(),
        *days(0, 3).end(),
        "the issuer's end is the chain's end"
    );
    let message = refusal(signer.ready(from_unix(now().timestamp() + 4 * DAY)));
    assert!(
        message.starts_with("certificate 2 of the chain (`"),
        "{message}"
    );
    assert!(
        message.ends_with("is valid only from 2027-01-05T08:00:00Z to 2027-01-18T08:00:00Z"),
        "{message}"
    );
    let trusted = root.certificate_pem().expect("PEM");
    let full = Chain::from_pem(&format!("{}{trusted}", issued.chain_pem)).expect("with the root");
    assert_eq!(full.not_after(), *days(0, 3).end());
    assert!(
        open(&IssuedChain {
            chain_pem: pem_of(&[&certificates(&issued.chain_pem)[0]]),
            ..issued
        })
        .is_ok(),
        "the leaf alone"
    );
}

#[test]
fn a_broken_chain_is_refused() {
    let issued = root()
        .intermediate("Issuing CA", days(-10, 10))
        .expect("a CA");
    let issued = issued
        .issue_spc_certificate(&wanted())
        .expect("a certificate");
    let ours = certificates(&issued.chain_pem);
    let theirs = certificates(&issue(&wanted()).chain_pem);

    let swapped = refusal(Chain::from_pem(&pem_of(&[&ours[1], &ours[0]])));
    assert!(swapped.starts_with("certificate 1 of the chain (`CN=Issuing CA,O=Issuing CA,C=US`) was not issued by certificate 2 (`CN=SHAKEN 1234,"), "{swapped}");
    assert!(
        swapped.contains("the file must contain the signing certificate first"),
        "{swapped}"
    );
    let foreign = refusal(Chain::from_pem(&pem_of(&[&ours[0], &theirs[1]])));
    assert!(foreign.contains("issuer mismatch"), "{foreign}");
    let twice = refusal(Chain::from_pem(&pem_of(&[&ours[0], &ours[0], &ours[1]])));
    assert!(twice.contains("was not issued by certificate 2"), "{twice}");
    // A CA of the same name with another key.
    let impostor = certificates(&issue(&wanted()).chain_pem);
    let impostor = refusal(Chain::from_pem(&pem_of(&[&theirs[0], &impostor[1]])));
    assert!(
        impostor.contains("authority and subject key identifier mismatch"),
        "{impostor}"
    );

    assert_eq!(
        refusal(Chain::from_pem(&issued.key_pem)),
        "the certificate chain cannot be read: no certificate found: there is no line `-----BEGIN CERTIFICATE-----`"
    );
    let cut = issued.chain_pem.replace("-----END CERTIFICATE-----", "");
    assert!(
        refusal(Chain::from_pem(&cut))
            .starts_with("the certificate chain cannot be read: certificate 1 cannot be read: ")
    );
}

#[test]
fn a_certificate_that_may_not_sign_is_refused() {
    let malformed = |text: &str| Some(hex::decode(text).expect("hex"));
    let number = TnAuthList::from_tkvalue("MA-iDRYLMTIxMjU1NTE4MjQ").expect("a list");
    let (good, absent) = (
        wanted(),
        SpcCertificate {
            tn_auth_list: None,
            ..wanted()
        },
    );
    let cases = [
        (
            SpcCertificate {
                validity: days(-9, -1),
                ..good.clone()
            },
            "the certificate expired: its last second was 2027-01-14T08:00:00Z",
        ),
        (
            SpcCertificate {
                validity: days(1, 9),
                ..good.clone()
            },
            "the certificate is not valid before 2027-01-16T08:00:00Z",
        ),
        (
            SpcCertificate {
                digital_signature: false,
                ..good.clone()
            },
            "the certificate's key usage does not name `digitalSignature`",
        ),
        (
            absent,
            "the certificate has no TNAuthList extension (1.3.6.1.5.5.7.1.26)",
        ),
        (
            SpcCertificate {
                tn_auth_list: Some(number.as_der().to_vec()),
                ..good.clone()
            },
            "the certificate's TNAuthList names no service provider code",
        ),
        (
            SpcCertificate {
                tn_auth_list: malformed("300613043132333400"),
                ..good.clone()
            },
            "the certificate's TNAuthList is malformed: trailing bytes after the list",
        ),
        (
            SpcCertificate {
                tn_auth_list: malformed("30061304313233ff"),
                ..good
            },
            "the certificate's TNAuthList is malformed: entry 1: expected an EXPLICIT tag [0] spc, [1] range or [2] one, found PrintableString",
        ),
    ];
    for (certificate, reason) in cases {
        let subject = "CN=SHAKEN 1234,O=tn-authority development,C=US";
        assert_eq!(
            refusal(open(&issue(&certificate))),
            format!("the certificate `{subject}` cannot be used for signing: {reason}")
        );
    }
}

#[test]
fn all_faults_are_named_at_once() {
    let wrong = SpcCertificate {
        curve: Curve::P384,
        tn_auth_list: None,
        validity: days(-9, -1),
        ..wanted()
    };
    let chain = Chain::from_pem(&issue(&wrong).chain_pem).expect("a chain");
    let message = refusal(chain.usable_at(now()));
    assert!(message.contains("ES256 needs"), "{message}");
    assert!(message.ends_with("; the certificate expired: its last second was 2027-01-14T08:00:00Z; the certificate has no TNAuthList extension (1.3.6.1.5.5.7.1.26)"), "{message}");
}

#[test]
fn a_certificate_of_somebody_else_is_refused() {
    let other_key = IssuedChain {
        key_pem: issue(&wanted()).key_pem,
        ..issue(&wanted())
    };
    assert_eq!(
        refusal(open(&other_key)),
        "the signing key does not match the certificate `CN=SHAKEN 1234,O=tn-authority development,C=US`: their public keys differ; the first certificate of the chain must be that of the key"
    );
    let other_spc = SpcCertificate::new(spc("583j"), days(-1, 7)).expect("a list");
    let chain = Chain::from_pem(&issue(&other_spc).chain_pem).expect("a chain");
    assert_eq!(
        refusal(chain.names_one_of(&[spc("583J"), spc("1234")])),
        "the certificate `CN=SHAKEN 583j,O=tn-authority development,C=US` is for the service provider codes `583j`, none of which is one of the carrier's: `583J`, `1234`; `583j` differs only in case, but codes are case-sensitive"
    );
    assert_eq!(
        refusal(chain.names_one_of(&[])),
        "no service provider code is configured; set `carrier.spcs`"
    );
}

/// Certificates of real carriers whose TNAuthList breaks RFC 8226, at a time when they were in force.
#[test]
fn real_certificates_with_a_malformed_list_are_refused() {
    const IMPLICIT: &str =
        "entry 1: expected an EXPLICIT tag [0] spc, [1] range or [2] one, found PrintableString";
    const CUT: &str = "a length runs past the end of the value";
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/certs/bad_tnauthlist");
    for (file, reason) in [
        ("CMSInter_net_LLC_08f4adc952c9.pem", IMPLICIT),
        ("COMMTRUNKS_LLC_622K_5b034b208d3c.pem", IMPLICIT),
        ("Come_2_LLC_d5961ea754d8.pem", IMPLICIT),
        ("Edify_224a236b3649.pem", CUT),
        ("Edify_d092ee80d10e.pem", CUT),
    ] {
        let pem = fs::read_to_string(folder.join(file)).expect("a fixture");
        let chain = Chain::from_pem(&pem_of(&[&certificates(&pem)[0]])).expect("a chain");
        let (subject, at) = (chain.leaf().subject(), chain.leaf().not_before());
        let key = FileKey::from_pem(issue(&wanted()).key_pem.as_bytes()).expect("a key");
        assert_eq!(
            refusal(Signer::new(
                Arc::new(key),
                chain,
                URL,
                false,
                &[spc("1234")],
                at
            )),
            format!(
                "the certificate `{subject}` cannot be used for signing: the certificate's TNAuthList is malformed: {reason}"
            ),
            "{file}"
        );
    }
}
