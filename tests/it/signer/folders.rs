//! Folders as the tools leave them that renew certificates: cert-manager, certbot, a volume of
//! Kubernetes. What is an issuer's is no alarm, and completes the chain.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use chrono::TimeDelta;
use tempfile::TempDir;
use tn_authority::domain::{Clock, Spc};
use tn_authority::signer::development::{DevelopmentCa, IssuedChain, SpcCertificate};
use tn_authority::signer::{Chain, Keyring, RefusedFile, ScanMode, ScanResult, Sources};

use super::sources::{certificates, days, now, root, sources, wanted};
use crate::support::{Logged as _, write_private};

const EXECUTABLE: &str = env!("CARGO_BIN_EXE_tn-authority");

/// What a CA with an intermediate issues, in the pieces that tools make of it.
struct Pieces {
    issued: IssuedChain,
    leaf: String,
    intermediate: String,
    root: String,
}

impl Pieces {
    fn new() -> Self {
        let root = root();
        let below = root.intermediate("Issuing CA", days(-10, 10));
        let issued = below.expect("a CA").issue_spc_certificate(&wanted());
        let issued = issued.expect("a certificate");
        let pem = |index: usize| {
            let pem = certificates(&issued.chain_pem)[index].to_pem();
            String::from_utf8(pem.expect("PEM")).expect("ASCII")
        };
        Self {
            leaf: pem(0),
            intermediate: pem(1),
            root: root.certificate_pem().expect("PEM"),
            issued,
        }
    }

    /// The name of the chain that is published.
    fn name(&self) -> String {
        let chain = Chain::from_pem(&self.issued.chain_pem).expect("a chain");
        chain.name().to_owned()
    }
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new().expect("a folder");
    for (name, text) in files {
        write_private(&dir.path().join(name), text);
    }
    dir
}

fn keyring(dir: &Path) -> Keyring {
    Keyring::new(Sources {
        dir: Some(dir.to_owned()),
        ..sources()
    })
}

fn scan(dir: &TempDir) -> ScanResult {
    keyring(dir.path()).scan(now(), ScanMode::Asked)
}

#[track_caller]
fn signs_alone(found: &ScanResult, chain: &str) {
    let names: Vec<&str> = found.signers.iter().map(|s| s.chain().name()).collect();
    assert_eq!(names, [chain], "{found:?}");
    assert_eq!(found.refused, [], "an alarm");
}

#[test]
fn a_secret_of_cert_manager_signs_without_an_alarm() {
    let pieces = Pieces::new();
    let both = format!("{}{}", pieces.intermediate, pieces.root);
    for (tls, ca) in [
        (&pieces.issued.chain_pem, &pieces.root),
        (&pieces.issued.chain_pem, &String::new()),
        // Some issuers put nothing but the leaf into `tls.crt`.
        (&pieces.leaf, &pieces.intermediate),
        (&pieces.leaf, &both),
    ] {
        let key = pieces.issued.key_pem.as_str();
        let dir = folder(&[("tls.crt", tls), ("tls.key", key), ("ca.crt", ca)]);
        let found = scan(&dir);
        signs_alone(&found, &pieces.name());
        assert_eq!(found.issuers.len(), usize::from(!ca.is_empty()));
    }
    // The leaf's own issuer is added even if it is a root, since a CA may not know it.
    let below_root = root();
    let issued = below_root
        .issue_spc_certificate(&wanted())
        .expect("a certificate");
    let leaf = &issued.chain_pem[..issued.chain_pem.find("-----END").expect("an end") + 25];
    let dir = folder(&[
        ("tls.crt", leaf),
        ("tls.key", &issued.key_pem),
        ("ca.crt", &below_root.certificate_pem().expect("PEM")),
    ]);
    let found = scan(&dir);
    assert_eq!(found.signers[0].chain().ders().count(), 2);
    // An empty file of another name is one that lost its content.
    let dir = folder(&[("tls.crt", ""), ("tls.key", &pieces.issued.key_pem)]);
    assert_eq!(scan(&dir).refused.len(), 1);
}

/// Whatever is put into the folder: nothing waits for a writer, and nothing fills the memory.
#[test]
fn what_is_no_file_is_refused_at_once() {
    let pieces = Pieces::new();
    let chain = pieces.issued.chain_pem.as_str();
    let dir = folder(&[("tls.crt", chain), ("tls.key", &pieces.issued.key_pem)]);
    let path = |name: &str| dir.path().join(name);
    let pipe = Command::new("mkfifo").arg(path("pipe.pem")).logged_output();
    assert!(pipe.status.success(), "{pipe:?}");
    symlink("pipe.pem", path("to-pipe.key")).expect("a link");
    symlink("/dev/zero", path("device.pem")).expect("a link");
    symlink("loop.pem", path("loop.pem")).expect("a link");
    fs::create_dir(path("folder.pem")).expect("a folder");
    let huge = fs::File::create(path("huge.pem")).expect("a file");
    huge.set_len(8 << 30).expect("a sparse file");
    fs::write(path("junk.pem"), [0xff; 100]).expect("a file");

    let (scanned, result) = mpsc::channel();
    let at = dir.path().to_owned();
    thread::spawn(move || {
        let keyring = keyring(&at);
        // A poll reads what has not changed since the one before.
        let polls = [0; 2].map(|_| keyring.scan(now(), ScanMode::Polled));
        let _ = scanned.send(polls);
    });
    let polls = result.recv_timeout(Duration::from_secs(60));
    let [_, found] = polls.expect("a poll that does not wait");
    let names: Vec<&str> = found.signers.iter().map(|s| s.chain().name()).collect();
    assert_eq!(names, [pieces.name()]);
    for (name, reason) in [
        ("pipe.pem", "not a regular file"),
        ("to-pipe.key", "not a regular file"),
        ("device.pem", "not a regular file"),
        ("folder.pem", "not a regular file"),
        ("loop.pem", "symbolic links"),
        ("huge.pem", "longer than 4194304 bytes"),
        ("junk.pem", "neither"),
    ] {
        let is_it = |one: &&RefusedFile| one.file.ends_with(&format!("/{name}"));
        let refused = found.refused.iter().find(is_it);
        let refused = refused.unwrap_or_else(|| panic!("{name}: {:?}", found.refused));
        assert!(refused.reason.contains(reason), "{refused:?}");
    }
}

#[test]
fn a_folder_of_certbot_is_one_chain() {
    let pieces = Pieces::new();
    let live = folder(&[]);
    let archive = folder(&[
        ("privkey1.pem", &pieces.issued.key_pem),
        ("cert1.pem", &pieces.leaf),
        ("chain1.pem", &pieces.intermediate),
        ("fullchain1.pem", &pieces.issued.chain_pem),
    ]);
    for name in ["privkey", "cert", "chain", "fullchain"] {
        let target = archive.path().join(format!("{name}1.pem"));
        symlink(target, live.path().join(format!("{name}.pem"))).expect("a link");
    }
    signs_alone(&scan(&live), &pieces.name());
    // Even if the issuer is in none of them.
    fs::remove_file(live.path().join("chain.pem")).expect("removed");
    signs_alone(&scan(&live), &pieces.name());
}

#[test]
fn a_volume_whose_links_turn_is_read_as_a_whole() {
    let (old, new) = (Pieces::new(), Pieces::new());
    let dir = folder(&[]);
    let write = |state: &str, pieces: &Pieces| {
        let state = dir.path().join(state);
        fs::create_dir(&state).expect("a folder");
        write_private(&state.join("tls.crt"), &pieces.leaf);
        write_private(&state.join("tls.key"), &pieces.issued.key_pem);
        write_private(&state.join("ca.crt"), &pieces.intermediate);
    };
    let turn = |state: &str| {
        symlink(state, dir.path().join("..data_tmp")).expect("a link");
        fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).expect("turned");
    };
    write("..2027_01_01", &old);
    turn("..2027_01_01");
    for name in ["tls.crt", "tls.key", "ca.crt"] {
        let target = Path::new("..data").join(name);
        symlink(target, dir.path().join(name)).expect("a link");
    }
    let keyring = keyring(dir.path());
    let poll = || keyring.scan(now(), ScanMode::Polled);
    assert_eq!(poll().signers.len(), 0, "not settled yet");
    signs_alone(&poll(), &old.name());
    write("..2027_02_01", &new);
    turn("..2027_02_01");
    fs::remove_dir_all(dir.path().join("..2027_01_01")).expect("removed");
    assert_eq!(poll().refused, [], "an alarm while it settles");
    signs_alone(&poll(), &new.name());
}

#[test]
fn a_certificate_of_a_ca_that_should_sign_is_still_missed() {
    let pieces = Pieces::new();
    let dir = folder(&[("a.pem", &pieces.root)]);
    let named = Keyring::new(Sources {
        chain_file: Some(dir.path().join("a.pem")),
        ..sources()
    });
    let found = named.scan(now(), ScanMode::Asked);
    assert_eq!(
        (found.issuers.len(), found.refused.len()),
        (0, 1),
        "{found:?}"
    );
    // Where nothing else is, it is said why nothing signs.
    let found = scan(&dir);
    assert_eq!(
        (found.issuers.len(), found.refused.len()),
        (1, 0),
        "{found:?}"
    );
    let reason = super::sources::refusal(found.require_any());
    assert!(
        reason.contains("a.pem` has only certificates of CAs"),
        "{reason}"
    );
}

/// Editors and shells of Windows put a mark in front, exports put attributes around.
#[test]
fn marks_and_text_around_a_key_are_no_obstacle() {
    let pieces = Pieces::new();
    let (key, chain) = (&pieces.issued.key_pem, &pieces.issued.chain_pem);
    let windows = |text: &str| format!("\u{feff}{}", text.replace('\n', "\r\n"));
    let noisy = |text: &str| format!("Bag Attributes\n    friendlyName: tls\n{text}\n# end\n");
    for change in [windows, noisy] {
        let dir = folder(&[("tls.crt", &change(chain)), ("tls.key", &change(key))]);
        signs_alone(&scan(&dir), &pieces.name());
    }
    let dir = folder(&[("tls.crt", chain)]);
    let wide: Vec<u8> = format!("\u{feff}{key}")
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    fs::write(dir.path().join("tls.key"), wide).expect("a file");
    signs_alone(&scan(&dir), &pieces.name());
}

#[test]
fn check_passes_beside_certificates_of_issuers() {
    let now = Clock::system().now();
    let validity = now - TimeDelta::days(1)..=now + TimeDelta::days(7);
    let ca = DevelopmentCa::new("Development CA", validity.clone()).expect("a CA");
    let code: Spc = "1234".parse().expect("a code");
    let wanted = SpcCertificate::new(code, validity).expect("a list");
    let issued = ca.issue_spc_certificate(&wanted).expect("a certificate");
    for ca_pem in [ca.certificate_pem().expect("PEM"), String::new()] {
        let dir = folder(&[
            ("tls.crt", &issued.chain_pem),
            ("tls.key", &issued.key_pem),
            ("ca.crt", &ca_pem),
        ]);
        let data = TempDir::new().expect("a folder");
        let url = format!("sqlite:{}/db", data.path().display());
        let run = |command: &str| {
            Command::new(EXECUTABLE)
                .arg(command)
                .env("TN_AUTHORITY__CARRIER__SPCS", "1234")
                .env("TN_AUTHORITY__SIGNER__DIR", dir.path())
                .env("TN_AUTHORITY__DATABASE__URL", &url)
                .logged_output()
        };
        assert!(run("migrate").status.success());
        let ran = run("check");
        let out = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success(), "{out}");
        assert_eq!(
            out.contains("ok      issuers: `"),
            !ca_pem.is_empty(),
            "{out}"
        );
    }
}
