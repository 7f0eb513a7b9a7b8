//! The loop with the CA of others: acme2certifier, which has our plug-in check its tokens.

use std::cell::RefCell;
use std::fs;
use std::process::{Command, Output};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use tn_authority::acme::{
    AccountKey, AcmeError, AcmeSession, CertificateRequest, ChallengeMember, SessionSettings,
    Sleep, TokenWanted, redeem,
};
use tn_authority::domain::{Clock, TnAuthList};
use tn_authority::outgoing::{Outgoing, Way};
use tn_authority::signer::FileKey;
use tn_authority::signer::csr::request_der;

use super::acme2certifier::{self, Ca};
use super::carrier::{Carrier, EXECUTABLE, LIMITS, PATIENCE, list, run};
use crate::support::{Db, Kind, Logged as _};

both!(
    a_certificate_for_a_number_is_redeemed,
    another_accounts_token_is_refused,
    an_expired_token_is_refused,
    another_numbers_token_is_refused,
    the_token_of_a_block_is_refused_for_one_of_its_numbers,
    another_signers_token_is_refused,
    a_csr_that_does_not_fit_the_token_is_refused,
    a_token_of_single_use_is_refused_the_second_time,
);

fn a_certificate_for_a_number_is_redeemed(kind: Kind) {
    let bench = Bench::shared(kind, false);
    let (carrier, ca) = (&bench.carrier, &bench.ca);
    let (certificate, key) = (ca.file("cert.pem"), ca.file("cert.key"));
    for member in ["tkauth", "atc"] {
        let output = redeems(carrier, ca, &["--challenge-member", member]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}{}", ca.log());
    }
    let openssl = |args: &[&str]| run(Command::new("openssl").args(args));
    let path = certificate.to_str().expect("UTF-8");
    let issuer = ca.file("issuing.pem");
    let verified = openssl(&["verify", "-CAfile", issuer.to_str().expect("UTF-8"), path]);
    assert!(verified.ends_with("OK"), "{verified}");
    // The TNAuthList of RFC 8226 for 12125551001, as it stands in the certificate.
    let parsed = openssl(&["asn1parse", "-in", path]);
    assert!(
        parsed.contains("[HEX DUMP]:300FA20D160B3132313235353531303031"),
        "{parsed}"
    );
    assert_eq!(parsed.matches("300FA20D160B").count(), 1, "{parsed}");
    let of_certificate = openssl(&["x509", "-in", path, "-noout", "-pubkey"]);
    let of_key = openssl(&["pkey", "-in", key.to_str().expect("UTF-8"), "-pubout"]);
    assert_eq!(of_certificate, of_key, "the certificate is for our key");
    // No certificate outlives its token, which lives for an hour.
    let still_in_two_hours = Command::new("openssl")
        .args(["x509", "-in", path, "-noout", "-checkend", "7200"])
        .output()
        .expect("openssl");
    assert!(
        !still_in_two_hours.status.success(),
        "the certificate outlives its token"
    );
    let mode = |path: &std::path::Path| {
        use std::os::unix::fs::PermissionsExt as _;
        fs::metadata(path).expect("a file").permissions().mode() & 0o777
    };
    assert_eq!((mode(&certificate), mode(&key)), (0o644, 0o600));
    assert_eq!(mode(&ca.file("account.key")), 0o600);
    assert!(
        !ca.log().contains("eyJ"),
        "a token stands in the log of the CA"
    );
}

fn another_accounts_token_is_refused(kind: Kind) {
    let bench = Bench::shared(kind, false);
    let other = account();
    let token = |wanted: &TokenWanted<'_>| {
        let fingerprint = other.fingerprint();
        bench.carrier.token(
            &TokenWanted {
                fingerprint,
                ..wanted.clone()
            },
            None,
        )
    };
    bench.refuses(&list(&["one:12125551001"]), &token, "step 8, `fingerprint`");
}

fn an_expired_token_is_refused(kind: Kind) {
    let bench = Bench::shared(kind, false);
    let token = |wanted: &TokenWanted<'_>| {
        // A machine with much to do may see a token only when it has expired.
        let lifetimes = [1, 4, 16, 64].into_iter();
        let tries =
            lifetimes.map(|lifetime| (lifetime, bench.carrier.token(wanted, Some(lifetime))));
        let mut tries =
            tries.skip_while(|(_, token)| matches!(token, Err(AcmeError::TokenExpired(_))));
        let (lifetime, token) = tries.next().expect("a token");
        thread::sleep(Duration::from_millis(u64::from(lifetime) * 1000 + 1100));
        token
    };
    bench.refuses(
        &list(&["one:12125551001"]),
        &token,
        "step 7, remaining claims: the token expired",
    );
}

fn another_numbers_token_is_refused(kind: Kind) {
    let bench = Bench::shared(kind, false);
    let other = list(&["one:12125551002"]);
    let token = |wanted: &TokenWanted<'_>| {
        bench.carrier.token(
            &TokenWanted {
                list: &other,
                ..wanted.clone()
            },
            None,
        )
    };
    bench.refuses(
        &list(&["one:12125551001"]),
        &token,
        "step 6, `tkvalue` and identifier",
    );
}

fn the_token_of_a_block_is_refused_for_one_of_its_numbers(kind: Kind) {
    let bench = Bench::shared(kind, false);
    let block = list(&["range:12125551000+1000"]);
    let token = |wanted: &TokenWanted<'_>| {
        bench.carrier.token(
            &TokenWanted {
                list: &block,
                ..wanted.clone()
            },
            None,
        )
    };
    bench.refuses(
        &list(&["one:12125551001"]),
        &token,
        "step 6, `tkvalue` and identifier",
    );
}

/// A carrier that the CA does not know, and whose host it never asks.
fn another_signers_token_is_refused(kind: Kind) {
    let bench = Bench::shared(kind, false);
    let stranger = Carrier::over(kind.into());
    let token = |wanted: &TokenWanted<'_>| stranger.token(wanted, None);
    bench.refuses(&list(&["one:12125551001"]), &token, "which is not fetched");
}

/// RFC 9448 §6, step 9, both ways; and the TNAuthList itself (RFC 8555 §7.4).
fn a_csr_that_does_not_fit_the_token_is_refused(kind: Kind) {
    let bench = Bench::shared(kind, false);
    let (ours, other) = (list(&["one:12125551001"]), list(&["one:12125551002"]));
    for (token_ca, csr_ca, csr_list, reason) in [
        (
            true,
            false,
            &ours,
            "`ca` of the authority token is true, but `cA` of the CSR is false",
        ),
        (
            false,
            true,
            &ours,
            "`ca` of the authority token is false, but `cA` of the CSR is true",
        ),
        (false, false, &other, "badCSR: CSR validation failed"),
    ] {
        let account = account();
        let session = bench.session(&account);
        let wanted = wanted(&ours, token_ca);
        let order = session.order(&wanted).expect("an order");
        let token = |wanted: &TokenWanted<'_>| bench.carrier.token(wanted, None);
        session
            .authorize(&order, &wanted, &token)
            .expect("an authorization");
        let csr = request_der(&key(), csr_list, csr_ca, "CN=12125551001").expect("a request");
        let refused = session.finalize(&order, &csr).expect_err("a refusal");
        let text = format!("{refused} {refused:?}");
        assert!(
            text.contains(reason),
            "{reason}: {text}\n{}",
            bench.ca.log()
        );
    }
    // With a CSR that fits there is a certificate of a CA.
    let account = account();
    let session = bench.session(&account);
    let token = |wanted: &TokenWanted<'_>| bench.carrier.token(wanted, None);
    let issued = redeem(&session, &wanted(&ours, true), &key(), &token).expect("a certificate");
    assert!(issued.chain.leaf().is_ca());
}

/// Without it, a token serves its account until it expires (RFC 9447 §3.3).
fn a_token_of_single_use_is_refused_the_second_time(kind: Kind) {
    for single_use in [false, true] {
        let bench = Bench::shared(kind, single_use);
        let account = account();
        let ours = list(&["one:12125551001"]);
        let held = RefCell::new(None::<String>);
        let token = |wanted: &TokenWanted<'_>| {
            let mut held = held.borrow_mut();
            if held.is_none() {
                *held = Some(bench.carrier.token(wanted, None)?);
            }
            Ok(held.clone().expect("a token"))
        };
        let session = bench.session(&account);
        redeem(&session, &wanted(&ours, false), &key(), &token).expect("the first time");
        let session = bench.session(&account);
        match redeem(&session, &wanted(&ours, false), &key(), &token) {
            Ok(_) => assert!(!single_use, "a token was taken twice"),
            Err(error) => {
                let text = error.to_string();
                assert!(
                    single_use && text.contains("the token was used before"),
                    "{text}"
                );
            }
        }
    }
}

/// What would let unchecked tokens through keeps the plug-in from starting.
#[test]
fn the_plug_in_starts_only_as_it_should() {
    for (settings, variable, reason) in [
        (
            None,
            None,
            "TN_AUTHORITY_PLUGIN_CONFIG is not set; it must name the settings file",
        ),
        (
            Some("[tn-authority]\ncommand = x\ntrust =\ndatabase = x\n"),
            None,
            "`trust` names no certificate",
        ),
        (
            Some("[tn-authority]\ncommand = x\ntrust = x\ntrsut = x\ndatabase = x\n"),
            None,
            "unknown settings: trsut",
        ),
        (
            None,
            Some("ACME2CERTIFIER_I_KNOW_THE_RISK"),
            "makes acme2certifier accept unchecked tokens",
        ),
    ] {
        let said = acme2certifier::start_fails(settings, variable);
        assert!(said.contains(reason), "{reason}: {said}");
    }
}

/// A carrier, and a CA that trusts it.
struct Bench {
    carrier: Carrier,
    ca: Ca,
    http: Outgoing,
    clock: Clock,
}

impl Bench {
    /// The tests of this file leave a carrier as it was, so they share it as long as one of them runs.
    fn shared(kind: Kind, single_use: bool) -> Arc<Self> {
        static KNOWN: Mutex<Vec<(Kind, bool, Weak<Bench>)>> = Mutex::new(Vec::new());
        let mut known = KNOWN.lock();
        known.retain(|(_, _, bench)| bench.strong_count() > 0);
        let alike = known
            .iter()
            .find(|(k, s, _)| (*k, *s) == (kind, single_use));
        if let Some(bench) = alike.and_then(|(_, _, bench)| bench.upgrade()) {
            return bench;
        }
        let bench = Arc::new(Self::new(kind.into(), single_use));
        known.push((kind, single_use, Arc::downgrade(&bench)));
        bench
    }

    fn new(db: Db, single_use: bool) -> Self {
        let carrier = Carrier::over(db);
        let ca = Ca::trusting(&carrier, single_use);
        let roots = fs::read_to_string(ca.file("roots.pem")).expect("a file");
        let http = Outgoing::new(Some(&roots), LIMITS, Way::Direct).expect("a client");
        Self {
            carrier,
            ca,
            http,
            clock: Clock::system(),
        }
    }

    fn session<'a>(&'a self, account: &'a AccountKey) -> AcmeSession<'a> {
        let settings = SessionSettings {
            directory: self.ca.directory().parse().expect("a URL"),
            contacts: Vec::new(),
            agrees_to_terms: false,
            binding: None,
            member: ChallengeMember::Tkauth,
            timeout: PATIENCE,
        };
        AcmeSession::open(&settings, &self.http, account, &self.clock, &Sleep).expect("a session")
    }

    /// The CA does not take this token, and says why.
    fn refuses(
        &self,
        list: &TnAuthList,
        token: &dyn Fn(&TokenWanted<'_>) -> Result<String, AcmeError>,
        reason: &str,
    ) {
        let account = account();
        let session = self.session(&account);
        let refused = redeem(&session, &wanted(list, false), &key(), token);
        let refused = refused.expect_err("a refusal");
        assert!(
            matches!(refused, AcmeError::TokenRefused { .. }),
            "{refused:?}\n{}",
            self.ca.log()
        );
        let text = refused.to_string();
        assert!(text.contains(reason), "{reason}: {text}");
        // The same account with the right token: nothing else was wrong.
        let right = |wanted: &TokenWanted<'_>| self.carrier.token(wanted, None);
        redeem(
            &self.session(&account),
            &wanted(list, false),
            &key(),
            &right,
        )
        .expect("a certificate");
    }
}

fn wanted(list: &TnAuthList, ca: bool) -> CertificateRequest<'_> {
    CertificateRequest {
        list,
        ca,
        subject: "CN=12125551001",
        renewal: None,
    }
}

fn account() -> AccountKey {
    AccountKey::new(key()).expect("an account")
}

fn key() -> FileKey {
    FileKey::generate().expect("a key").0
}

fn redeems(carrier: &Carrier, ca: &Ca, more: &[&str]) -> Output {
    let mut command = Command::new(EXECUTABLE);
    command
        .args([
            "redeem",
            "--numbers",
            "+12125551001",
            "--directory",
            &ca.directory(),
        ])
        .args(["--token-url", &carrier.token_url(), "--api-key-file"])
        .arg(carrier.file("api.key"))
        .arg("--ca-file")
        .arg(ca.file("roots.pem"))
        .arg("--account-key")
        .arg(ca.file("account.key"))
        .arg("--out")
        .arg(ca.file("cert.pem"))
        .args(more);
    command.logged_output()
}
