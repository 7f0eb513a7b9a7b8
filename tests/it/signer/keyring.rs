//! What a folder of keys and certificates may hold, and what of it is refused with which reason.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use openssl::ec::EcKey;
use openssl::pkey::PKey;
use openssl::symm::Cipher;
use tempfile::TempDir;
use tn_authority::domain::Spc;
use tn_authority::domain::signing::certificate::Certificate;
use tn_authority::signer::development::{Curve, DevelopmentCa, IssuedChain, SpcCertificate};
use tn_authority::signer::{Keyring, ScanMode, ScanResult, SecretSource, Sources};

use super::sources::{certificates, days, issue, now, root, sources, wanted};
use crate::support::Logged as _;
use crate::support::fixtures::{self, items, member};
use crate::support::write_private;

const EXECUTABLE: &str = env!("CARGO_BIN_EXE_tn-authority");

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn has(&self, name: &str, text: &str) -> &Self {
        write_private(&self.path(name), text);
        self
    }

    fn scan(&self) -> ScanResult {
        self.scan_with(sources())
    }

    fn scan_with(&self, sources: Sources) -> ScanResult {
        let dir = Some(self.0.path().to_owned());
        Keyring::new(Sources { dir, ..sources }).scan(now(), ScanMode::Asked)
    }
}

/// The one reason, without the file.
#[track_caller]
fn refusal(found: &ScanResult) -> &str {
    assert!(found.signers.is_empty(), "{found:?}");
    match &found.refused[..] {
        [one] => &one.reason,
        other => panic!("expected one refusal: {other:?}"),
    }
}

fn issued_as(wanted: &SpcCertificate) -> Folder {
    let issued = issue(wanted);
    let folder = Folder::new();
    folder
        .has("a.pem", &issued.chain_pem)
        .has("a.key", &issued.key_pem);
    folder
}

#[test]
fn keys_of_every_form_are_found_by_their_public_key() {
    let issued = issue(&wanted());
    let ec = EcKey::private_key_from_pem(issued.key_pem.as_bytes()).expect("a key");
    let pkcs8 = PKey::from_ec_key(ec.clone()).expect("a key");
    let text = |pem: Result<Vec<u8>, _>| String::from_utf8(pem.expect("PEM")).expect("ASCII");
    let cipher = Cipher::aes_256_cbc();
    let passphrase = SecretSource::Given("open sesame".into());
    for key in [
        text(ec.private_key_to_pem()),
        text(pkcs8.private_key_to_pem_pkcs8()),
        text(ec.private_key_to_pem_passphrase(cipher, b"open sesame")),
        text(pkcs8.private_key_to_pem_pkcs8_passphrase(cipher, b"open sesame")),
    ] {
        let folder = Folder::new();
        folder
            .has("chain.crt", &issued.chain_pem)
            .has("zzz.pem", &key);
        let with = |passphrase: &SecretSource| {
            folder.scan_with(Sources {
                passphrase: Some(passphrase.clone()),
                ..sources()
            })
        };
        let found = with(&passphrase);
        assert_eq!(
            (found.signers.len(), found.refused.len()),
            (1, 0),
            "{found:?}"
        );
        // Certificate and key in one file.
        let both = Folder::new();
        both.has("both.pem", &format!("{key}{}", issued.chain_pem));
        let found = both.scan_with(Sources {
            passphrase: Some(passphrase.clone()),
            ..sources()
        });
        assert_eq!(
            (found.signers.len(), found.refused.len()),
            (1, 0),
            "{found:?}"
        );
        if key.contains("ENCRYPTED") {
            let reasons = |found: ScanResult| {
                found
                    .refused
                    .into_iter()
                    .map(|r| r.reason)
                    .collect::<Vec<_>>()
            };
            let none = reasons(folder.scan());
            assert!(none[0].contains("set `signer.passphrase_file`"), "{none:?}");
            assert!(
                none[1].starts_with("none of the signing keys matches"),
                "{none:?}"
            );
            let wrong = reasons(with(&SecretSource::Given("sesame".into())));
            assert!(
                wrong[0].contains("the configured passphrase does not decrypt it"),
                "{wrong:?}"
            );
            let gone = reasons(with(&SecretSource::File("/nonexistent".into())));
            assert!(
                gone[0].contains("cannot read the passphrase of the signing key"),
                "{gone:?}"
            );
            let file = folder.path("passphrase");
            write_private(&file, "open sesame\n");
            assert_eq!(with(&SecretSource::File(file)).signers.len(), 1);
        }
    }
}

#[test]
fn a_renewed_certificate_of_the_same_key_needs_no_other_file() {
    let ca = root();
    let issued = ca.issue_spc_certificate(&wanted()).expect("a certificate");
    let folder = Folder::new();
    folder
        .has("1.pem", &issued.chain_pem)
        .has("key.pem", &issued.key_pem);
    let renewed = renew(&ca, &issued);
    folder.has("2.pem", &renewed).has("copy-of-2.pem", &renewed);
    let found = folder.scan();
    assert_eq!(
        (found.signers.len(), found.refused.len()),
        (2, 0),
        "{found:?}"
    );
}

/// The same key and subject, another serial number and other dates.
fn renew(ca: &DevelopmentCa, issued: &IssuedChain) -> String {
    let dir = TempDir::new().expect("a folder");
    let (key, csr) = (dir.path().join("key.pem"), dir.path().join("csr.pem"));
    write_private(&key, &issued.key_pem);
    let asked = Command::new(EXECUTABLE)
        .args(["certificate", "request", "--spc", "1234", "--key"])
        .arg(&key)
        .logged_output();
    assert!(
        asked.status.success(),
        "{}",
        String::from_utf8_lossy(&asked.stderr)
    );
    fs::write(&csr, &asked.stdout).expect("a file");
    ca.sign_request(&String::from_utf8(asked.stdout).expect("PEM"), &days(-1, 9))
        .expect("a certificate")
}

#[test]
fn each_fault_has_its_own_reason() {
    let fault = |certificate: SpcCertificate| {
        let folder = issued_as(&certificate);
        let found = folder.scan();
        // A key of another curve is refused as a key too.
        let last = found.refused.last().expect("a refusal");
        assert!(found.signers.is_empty() && last.chain.is_some());
        last.reason.clone()
    };
    let usual = wanted;
    let code = |code: &str| code.parse::<Spc>().expect("a code");
    for (certificate, reason) in [
        (
            SpcCertificate {
                curve: Curve::P384,
                ..usual()
            },
            "the key is EC P-384, but ES256 needs EC P-256",
        ),
        (
            SpcCertificate {
                validity: days(-9, -1),
                ..usual()
            },
            "the certificate expired: its last second was 2027-01-14T08:00:00Z",
        ),
        (
            SpcCertificate {
                validity: days(1, 9),
                ..usual()
            },
            "the certificate is not valid before 2027-01-16T08:00:00Z",
        ),
        (
            SpcCertificate {
                tn_auth_list: None,
                ..usual()
            },
            "the certificate has no TNAuthList extension",
        ),
        (
            SpcCertificate {
                digital_signature: false,
                ..usual()
            },
            "key usage does not name `digitalSignature`",
        ),
        (
            SpcCertificate::new(code("5678"), days(-1, 7)).expect("a list"),
            "is for the service provider codes `5678`, none of which is one of the carrier's: `1234`",
        ),
    ] {
        let told = fault(certificate);
        assert!(told.contains(reason), "{told}");
    }
    let lower = issued_as(&SpcCertificate::new(code("12ab"), days(-1, 7)).expect("a list"));
    let found = lower.scan_with(Sources {
        spcs: vec![code("12AB")],
        ..sources()
    });
    assert!(
        refusal(&found).ends_with("`12ab` differs only in case, but codes are case-sensitive"),
        "{found:?}"
    );

    let (ours, theirs) = (issue(&wanted()), issue(&wanted()));
    let mismatch = Folder::new();
    mismatch
        .has("a.pem", &ours.chain_pem)
        .has("a.key", &theirs.key_pem);
    assert!(
        refusal(&mismatch.scan())
            .starts_with("none of the signing keys matches the certificate `CN=SHAKEN 1234")
    );
    let pair = Keyring::new(Sources {
        key_file: Some(mismatch.path("a.key")),
        chain_file: Some(mismatch.path("a.pem")),
        ..sources()
    });
    let found = pair.scan(now(), ScanMode::Asked);
    assert!(refusal(&found).starts_with("the signing key does not match the certificate"));

    let swapped = Folder::new();
    let parts = certificates(&ours.chain_pem);
    let pem = |index: usize| String::from_utf8(parts[index].to_pem().expect("PEM")).expect("ASCII");
    swapped
        .has("a.pem", &format!("{}{}", pem(1), pem(0)))
        .has("a.key", &ours.key_pem);
    assert!(
        refusal(&swapped.scan()).contains("the file must contain the signing certificate first")
    );
    // A missing link is none of ours to judge, and is told.
    let alone = Folder::new();
    alone.has("a.pem", &pem(0)).has("a.key", &ours.key_pem);
    let found = alone.scan();
    assert_eq!(found.signers.len(), 1, "{found:?}");
    let warnings = found.signers[0].chain().warnings();
    assert!(
        warnings[0].contains("its issuer `CN=Development Root,"),
        "{warnings:?}"
    );
    assert_eq!(
        Folder::new()
            .scan_with(Sources {
                dir: None,
                ..sources()
            })
            .signers
            .len(),
        0
    );
    let nowhere = Keyring::new(Sources {
        dir: Some("/nonexistent".into()),
        ..sources()
    });
    assert!(
        refusal(&nowhere.scan(now(), ScanMode::Asked))
            .contains("cannot read the folder of signing keys")
    );
}

/// Files that are named and the folder are looked at as one: a chain of one finds its key in the other.
#[test]
fn named_files_are_used_beside_the_folder() {
    let (ours, theirs) = (issue(&wanted()), issue(&wanted()));
    let (folder, named) = (Folder::new(), Folder::new());
    folder
        .has("a.pem", &ours.chain_pem)
        .has("b.key", &theirs.key_pem);
    named
        .has("a.key", &ours.key_pem)
        .has("b.pem", &theirs.chain_pem);
    let found = folder.scan_with(Sources {
        key_file: Some(named.path("a.key")),
        chain_file: Some(named.path("b.pem")),
        ..sources()
    });
    assert_eq!(
        (found.signers.len(), found.refused.len()),
        (2, 0),
        "{found:?}"
    );
}

#[test]
fn real_certificates_are_refused_for_what_is_wrong_with_them() {
    let manifest = fixtures::json("certs/manifest.json");
    let key = issue(&wanted()).key_pem;
    for entry in items(&manifest) {
        let file = member(entry, "file");
        let folder = Folder::new();
        let pem = fixtures::text(&format!("certs/{file}"));
        folder.has("a.pem", &pem).has("a.key", &key);
        let found = folder.scan();
        let certificate = Certificate::first_from_pem(&pem).expect("a certificate");
        if certificate.is_ca() && certificate.tn_auth_list_der().is_none() {
            // An issuer's certificate beside a key is no alarm, but signs nothing.
            let signs = found.refused.len() + found.signers.len();
            assert_eq!((found.issuers.len(), signs), (1, 0), "{file}: {found:?}");
            continue;
        }
        let reason = refusal(&found);
        let expected = match file.split('/').next() {
            Some("bad_tnauthlist") if member(entry, "why") == "trunc body" => {
                "a length runs past the end"
            }
            Some("bad_tnauthlist") => "expected an EXPLICIT tag [0] spc",
            // Of version 1, which cannot say that it is a CA's.
            Some("ca") => "an old version of X.509",
            // All of them are long over, or of other carriers.
            _ => "",
        };
        assert!(reason.contains(expected), "{file}: {reason}");
    }
}

#[test]
fn check_names_each_certificate_and_warns_of_open_keys() {
    let now = tn_authority::domain::Clock::system().now();
    let validity = now - chrono::TimeDelta::days(1)..=now + chrono::TimeDelta::days(7);
    let ca = DevelopmentCa::new("Development CA", validity.clone()).expect("a CA");
    let certificate = SpcCertificate::new("1234".parse().expect("a code"), validity);
    let issued = ca
        .issue_spc_certificate(&certificate.expect("a list"))
        .expect("a certificate");
    let folder = Folder::new();
    folder
        .has("a.pem", &issued.chain_pem)
        .has("nothing.pem", "hello");
    fs::write(folder.path("a.key"), &issued.key_pem).expect("a file");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(folder.path("a.key"), open).expect("a mode");
    let database = TempDir::new().expect("a folder");
    let ran = Command::new(EXECUTABLE)
        .arg("check")
        .env("TN_AUTHORITY__CARRIER__SPCS", "1234")
        .env("TN_AUTHORITY__SIGNER__DIR", folder.0.path())
        .env(
            "TN_AUTHORITY__DATABASE__URL",
            format!("sqlite:{}/db", database.path().display()),
        )
        .logged_output();
    let (out, err) = (
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr),
    );
    assert!(
        out.contains("ok      signing key and chain: `CN=SHAKEN 1234"),
        "{out}"
    );
    assert!(out.contains("FAILED  signing key and chain: `"), "{out}");
    assert!(
        out.contains("nothing.pem` is neither a certificate nor a key"),
        "{out}"
    );
    assert!(
        err.contains("other users have access to the file of the signing key"),
        "{err}"
    );
    assert_eq!(ran.status.code(), Some(1));
}
