//! A CA that answers slowly, wrongly, with a nonce that it has used, with 5xx, or never: the client ends in time, says
//! what is wrong, and takes no certificate that it did not order.

use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::json;
use tn_authority::acme::{
    AccountKey, AcmeError, AcmeSession, CertificateRequest, ChallengeMember, ExternalBinding,
    IssuedCertificate, SessionSettings, Sleep, redeem,
};
use tn_authority::domain::Clock;
use tn_authority::outgoing::{Outgoing, Way};
use tn_authority::signer::FileKey;

use super::carrier::{LIMITS, list};
use super::little_ca::{EAB_KEY, Faults, LittleCa, Reply};

/// Orders a certificate for +12125551001, with a token that this CA does not look at.
pub fn order(
    ca: &LittleCa,
    timeout: u64,
    binding: Option<ExternalBinding>,
) -> Result<IssuedCertificate, AcmeError> {
    let key = || FileKey::generate().expect("a key").0;
    let http = Outgoing::new(Some(&ca.root()), LIMITS, Way::Direct)?;
    let (account, clock) = (AccountKey::new(key())?, Clock::system());
    let settings = SessionSettings {
        directory: ca.directory().parse()?,
        contacts: vec!["mailto:numbers@example.com".to_owned()],
        agrees_to_terms: false,
        binding,
        member: ChallengeMember::Tkauth,
        timeout: Duration::from_secs(timeout),
    };
    let session = AcmeSession::open(&settings, &http, &account, &clock, &Sleep)?;
    let list = list(&["one:12125551001"]);
    let wanted = CertificateRequest {
        list: &list,
        ca: false,
        subject: "CN=12125551001",
        renewal: None,
    };
    redeem(&session, &wanted, &key(), &|_| Ok("a token".to_owned()))
}

#[track_caller]
fn fails(faults: Faults, reason: &str) -> LittleCa {
    let ca = LittleCa::with(faults.clone());
    let error = order(&ca, 120, None).expect_err("a refusal").to_string();
    assert!(error.contains(reason), "{faults:?}: {error}");
    ca
}

#[test]
fn a_good_ca_gives_a_certificate() {
    let ca = LittleCa::with(Faults::default());
    let issued = order(&ca, 120, None).expect("a certificate");
    assert_eq!(issued.chain.leaf().subject(), "CN=12125551001");
    assert_eq!(ca.tokens(), [("tkauth".to_owned(), "a token".to_owned())]);
}

#[test]
fn a_refused_nonce_is_replaced_and_not_without_end() {
    let ca = LittleCa::with(Faults {
        refused_nonces: 2,
        ..Faults::default()
    });
    order(&ca, 120, None).expect("a certificate");
    let ca = fails(
        Faults {
            refused_nonces: 1000,
            ..Faults::default()
        },
        "repeatedly refused nonces",
    );
    assert_eq!(ca.asked("account"), 4);
    // The server gives out one nonce again and again, and takes it once.
    let ca = LittleCa::with(Faults {
        one_nonce: true,
        ..Faults::default()
    });
    order(&ca, 120, None).expect("each answer makes the nonce new");
    let odd = Reply::status(200).header("Replay-Nonce", "no nonce!");
    fails(
        Faults {
            instead: Some(("nonce", 9, Reply::status(204))),
            ..Faults::default()
        },
        "without a base64url `Replay-Nonce`",
    );
    fails(
        Faults {
            instead: Some(("nonce", 9, odd)),
            ..Faults::default()
        },
        "without a base64url `Replay-Nonce`",
    );
}

#[test]
fn a_ca_that_cannot_now_is_asked_again_and_not_without_end() {
    for status in [500, 502, 503, 504, 429] {
        let busy = |times| Faults {
            instead: Some((
                "order",
                times,
                Reply::status(status).header("Retry-After", "0"),
            )),
            ..Faults::default()
        };
        let ca = LittleCa::with(busy(2));
        order(&ca, 120, None).expect("a certificate");
        assert_eq!(ca.asked("order"), 3);
        let ca = fails(
            busy(1000),
            &format!("answered the order with status {status}"),
        );
        assert_eq!(ca.asked("order"), 4);
    }
    // A date in the past is no reason to hurry, and one far away no reason to wait for it.
    let date = |text| Faults {
        instead: Some(("order", 1, Reply::status(503).header("Retry-After", text))),
        ..Faults::default()
    };
    order(
        &LittleCa::with(date("Wed, 21 Oct 2015 07:28:00 GMT")),
        120,
        None,
    )
    .expect("a certificate");
    let ca = LittleCa::with(date("Wed, 21 Oct 2099 07:28:00 GMT"));
    assert!(matches!(order(&ca, 5, None), Err(AcmeError::Late { .. })));
}

#[test]
fn a_ca_that_never_answers_is_not_waited_for() {
    for path in ["directory", "order", "certificate"] {
        let late = Some((path, Duration::from_secs(90)));
        let ca = LittleCa::with(Faults {
            late,
            ..Faults::default()
        });
        let began = Instant::now();
        let error = order(&ca, 2, None).expect_err("a refusal").to_string();
        assert!(
            error.contains("no response within") || error.contains("timed out after"),
            "{error}"
        );
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "{path}: {:?}",
            began.elapsed()
        );
    }
    // It answers, but never decides.
    let ca = LittleCa::with(Faults {
        undecided: true,
        ..Faults::default()
    });
    let error = order(&ca, 2, None).expect_err("a refusal");
    assert!(matches!(error, AcmeError::Late { .. }), "{error:?}");
    assert!(
        ca.asked("authz") < 20,
        "asked {} times in two seconds",
        ca.asked("authz")
    );
}

#[test]
fn what_is_too_large_or_leads_elsewhere_is_no_answer() {
    let large = Reply::status(200).body(&"x".repeat(1_000_000));
    let away = Reply::status(302).header("Location", "https://127.0.0.1:1/elsewhere");
    for path in ["directory", "account", "order", "authz", "certificate"] {
        let instead = |reply: &Reply| Faults {
            instead: Some((path, 1, reply.clone())),
            ..Faults::default()
        };
        fails(instead(&large), "longer than 262144 bytes");
        fails(instead(&away), "with status 302");
        fails(instead(&Reply::status(200).body("<html>")), "is malformed");
    }
    let twice = Reply::status(200).body(r#"{"newNonce":"https://a/","newNonce":"https://b/"}"#);
    fails(
        Faults {
            instead: Some(("directory", 1, twice)),
            ..Faults::default()
        },
        "names a member twice",
    );
}

#[test]
fn a_ca_may_repeat_the_identifier_in_padded_base64() {
    // With an entry of this length, base64 has padding, and a character of each alphabet.
    let numbers = list(&["one:12125551001"]);
    let text = numbers.to_tkvalue();
    assert!(text.len() % 4 != 0 && text.contains('-'), "{text}");
    let padded = format!("{text}{}", "=".repeat(4 - text.len() % 4));
    let standard = padded.replace('-', "+");
    for value in [padded.clone(), standard, text.clone()] {
        let identifier = json!({ "type": "TNAuthList", "value": value });
        for (path, member, value) in [
            ("order", "identifiers", json!([identifier])),
            ("authz", "identifier", identifier.clone()),
        ] {
            let ca = LittleCa::with(Faults {
                replaced: Some((path, member, value.clone())),
                ..Faults::default()
            });
            let issued = order(&ca, 120, None);
            issued.unwrap_or_else(|error| panic!("{path}: {value}: {error}"));
        }
    }
    // Another spelling of other bytes, or padding where none belongs, is no echo.
    for wrong in [
        format!("{padded}="),
        format!("={text}"),
        padded.replace('E', "F"),
        format!("{}F=", &text[..text.len() - 1]),
        format!("{text}\n"),
    ] {
        let identifier = json!([{ "type": "TNAuthList", "value": wrong }]);
        let faults = Faults {
            replaced: Some(("order", "identifiers", identifier)),
            ..Faults::default()
        };
        fails(
            faults,
            "its identifiers differ from the one that was ordered",
        );
    }
}

#[test]
fn what_was_not_ordered_is_not_taken() {
    let replaced = |path, member, value| Faults {
        replaced: Some((path, member, value)),
        ..Faults::default()
    };
    let other = json!([{ "type": "TNAuthList", "value": "MA-iDRYLMTIxMjU1NTEwMDI" }]);
    let not_ordered = "its identifiers differ from the one that was ordered";
    fails(replaced("order", "identifiers", other.clone()), not_ordered);
    fails(replaced("order", "identifiers", json!([])), not_ordered);
    let ca = fails(
        replaced("authz", "identifier", other[0].clone()),
        "its identifier is not the one",
    );
    assert_eq!(
        ca.tokens(),
        [],
        "no token goes to a CA that asks for something else"
    );
    let none = "no challenge `tkauth-01`";
    let http01 = json!([{ "type": "http-01", "url": "https://a/", "status": "pending" }]);
    fails(replaced("authz", "challenges", http01), none);
    let other_type = json!([{ "type": "tkauth-01", "tkauth-type": "other", "url": "https://a/" }]);
    fails(replaced("authz", "challenges", other_type), none);
    for (path, member) in [
        ("directory", "newNonce"),
        ("directory", "newAccount"),
        ("directory", "newOrder"),
        ("order", "finalize"),
    ] {
        for url in [
            "http://127.0.0.1/",
            "file:///etc/passwd",
            "https://user@127.0.0.1/",
            "",
        ] {
            fails(replaced(path, member, json!(url)), "is not an https URL");
        }
    }
    fails(
        replaced("order", "authorizations", json!(["http://127.0.0.1/"])),
        "is not an https URL",
    );
    fails(
        replaced("order", "authorizations", json!([])),
        "exactly one authorization",
    );
    let invalid = replaced("orders/1", "status", json!("invalid"));
    fails(invalid, "set the order to `invalid`");

    let wrong = |faults, reason| fails(faults, &format!("does not match the order: {reason}"));
    wrong(
        Faults {
            other_key: true,
            ..Faults::default()
        },
        "it is for another key",
    );
    let one = Some(list(&["one:12125551002"]));
    wrong(
        Faults {
            other_list: one,
            ..Faults::default()
        },
        "it is for another key",
    );
    wrong(
        Faults {
            validity: Some((-100, -10)),
            ..Faults::default()
        },
        "it expired at",
    );
    wrong(
        Faults {
            validity: Some((3_600, 7_200)),
            ..Faults::default()
        },
        "it is not valid before",
    );
}

#[test]
fn a_refusal_names_its_reason_and_nothing_that_a_terminal_obeys() {
    let ca = LittleCa::with(Faults {
        refuses: true,
        ..Faults::default()
    });
    let error = order(&ca, 120, None).expect_err("a refusal");
    assert!(matches!(error, AcmeError::TokenRefused { .. }));
    assert_eq!(
        error.to_string(),
        "the CA did not accept the token: unauthorized: no \\u{1b}[31mtrust"
    );
}

#[test]
fn terms_and_bindings_are_asked_for_by_name() {
    let terms = json!({ "termsOfService": "https://ca.example/terms" });
    let asks = Faults {
        replaced: Some(("directory", "meta", terms)),
        ..Faults::default()
    };
    let ca = fails(asks, "https://ca.example/terms");
    assert_eq!(ca.asked("account"), 0, "nobody has agreed");

    let needed = || {
        LittleCa::with(Faults {
            binding: true,
            ..Faults::default()
        })
    };
    assert!(matches!(
        order(&needed(), 120, None),
        Err(AcmeError::NoBinding)
    ));
    let encode = |key: [u8; 32]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(key);
    let right = ExternalBinding::new("kid-1", &encode(EAB_KEY)).expect("a binding");
    order(&needed(), 120, Some(right)).expect("a certificate");
    let wrong = ExternalBinding::new("kid-1", &encode([1; 32])).expect("a binding");
    let error = order(&needed(), 120, Some(wrong))
        .expect_err("a refusal")
        .to_string();
    assert!(error.contains("externalAccountRequired"), "{error}");
}
