//! What any client can send to acme2certifier with our plug-in, and a plug-in that cannot check: refusals, never a 500,
//! a line of alarm, or an authorization.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tn_authority::acme::TokenWanted;
use tn_authority::signer::FileKey;
use tn_authority::signer::csr::request_der;

use super::acme2certifier::Ca;
use super::carrier::{Carrier, EXECUTABLE, list};
use super::little_ca::LittleCa;
use super::raw_client::{Answer, RawClient};
use crate::support::Kind;

const MALFORMED: &str = "urn:ietf:params:acme:error:malformed";
/// 12125551001.
const LIST: &str = "MA-iDRYLMTIxMjU1NTEwMDE";

struct Bench {
    carrier: Carrier,
    ca: Ca,
}

impl Bench {
    fn new() -> Self {
        let carrier = Carrier::over(Kind::Sqlite.into());
        let ca = Ca::trusting(&carrier, false);
        Self { carrier, ca }
    }

    fn client(&self) -> RawClient {
        let roots = fs::read_to_string(self.ca.file("roots.pem")).expect("a file");
        RawClient::new(&self.ca.directory(), &roots)
    }

    /// An answer to the challenge, with a token for this account.
    fn right_answer(&self, client: &RawClient) -> String {
        let wanted = TokenWanted {
            list: &list(&["one:12125551001"]),
            ca: false,
            fingerprint: client.fingerprint,
        };
        let token = self.carrier.token(&wanted, None).expect("a token");
        json!({ "tkauth": token }).to_string()
    }

    #[track_caller]
    fn has_raised_no_alarm(&self) {
        let log = self.ca.log();
        for word in ["CRITICAL", "Traceback", "could not be checked"] {
            assert!(!log.contains(word), "{word}: {log}");
        }
    }
}

/// An order, and its only authorization and challenge.
struct Placed {
    order: String,
    finalize: String,
    authorization: String,
    challenge: String,
}

fn place(client: &RawClient, value: &str) -> Placed {
    let identifiers = json!({ "identifiers": [{ "type": "TNAuthList", "value": value }] });
    let order = client.post(&client.at("newOrder"), &identifiers.to_string());
    assert_eq!(order.status, 201, "{order:?}");
    let text = |value: &Value| value.as_str().expect("a URL").to_owned();
    let authorization = text(&order.json["authorizations"][0]);
    let shown = client.post(&authorization, "");
    Placed {
        order: order.location,
        finalize: text(&order.json["finalize"]),
        challenge: text(&shown.json["challenges"][0]["url"]),
        authorization,
    }
}

fn status_of(answer: &Answer) -> &str {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json["status"].as_str().expect("a status")
}

/// RFC 8555 §7.4, RFC 9448 §3.
#[test]
fn an_order_with_a_malformed_identifier_is_refused() {
    let bench = Bench::new();
    let client = bench.client();
    let refused = |payload: &str| {
        let answer = client.post(&client.at("newOrder"), payload);
        let shown: String = payload.chars().take(120).collect();
        assert_eq!(answer.status, 400, "{shown}: {answer:?}");
        assert_eq!(answer.json["type"], MALFORMED, "{shown}: {answer:?}");
        let detail = answer.json["detail"].as_str().expect("a detail");
        assert!(detail.contains("identifier"), "{shown}: {detail}");
    };
    let long = "A".repeat(49_153);
    for value in [
        json!("MA+iDRYLMTIxMjU1NTEwMDE="),
        json!("MA-iDRYLMTIxMjU1NTEwMDE="),
        json!("MA+iDRYLMTIxMjU1NTEwMDE"),
        json!(" MA-iDRYLMTIxMjU1NTEwMDE"),
        json!("MA-iDRYLMTIxMjU1NTEwMDE\n"),
        json!("MA-iDRYLMTIxMjU1NTEwMDF"),
        json!("MA-iDRYLMTIxMjU1NTEwM"),
        json!(""),
        json!("-"),
        json!("--json"),
        json!("\u{0}"),
        json!("\u{661}\u{e9}\u{1f4de}"),
        json!(long),
        json!(null),
        json!(12_125_551_001_u64),
        json!(true),
        json!([LIST]),
        json!({ "value": LIST }),
    ] {
        for kind in ["TNAuthList", "tnauthlist"] {
            let identifiers = json!({ "identifiers": [{ "type": kind, "value": value }] });
            refused(&identifiers.to_string());
        }
    }
    // Half of a character, which is JSON but no text.
    refused(r#"{"identifiers":[{"type":"TNAuthList","value":"\ud800"}]}"#);
    // A good one does not carry a malformed one.
    let good = json!({ "type": "TNAuthList", "value": LIST });
    for other in [
        json!(null),
        json!(5),
        json!("x"),
        json!([]),
        json!({}),
        json!({ "type": "TNAuthList" }),
        json!({ "value": LIST }),
        json!({ "type": ["TNAuthList"], "value": LIST }),
        json!({ "type": "x\ny", "value": LIST }),
        json!({ "type": "dns", "value": 5 }),
        json!({ "type": "x".repeat(65), "value": LIST }),
    ] {
        refused(&json!({ "identifiers": [good, other] }).to_string());
    }
    for identifiers in [json!(null), json!(5), json!("x"), json!({}), json!([])] {
        refused(&json!({ "identifiers": identifiers }).to_string());
    }
    for payload in ["{}", "", "5", "true", "[1]", r#""identifiers""#] {
        refused(payload);
    }
    bench.has_raised_no_alarm();
    place(&client, LIST);
}

/// base64url that is no TNAuthList in DER: the token is refused, whatever it is.
#[test]
fn an_identifier_that_is_no_list_is_never_authorized() {
    let bench = Bench::new();
    let client = bench.client();
    let long = "A".repeat(49_152);
    for value in ["AAAA", "MAA", "MA-iDRYLMTIxMjU1NTEwMDEA", &long] {
        let placed = place(&client, value);
        let answer = client.post(&placed.challenge, &bench.right_answer(&client));
        assert_eq!(status_of(&answer), "invalid", "{answer:?}");
        let error = &answer.json["error"];
        assert_eq!(error["type"], "urn:ietf:params:acme:error:unauthorized");
        let detail = error["detail"].as_str().expect("a detail");
        assert!(detail.contains("not a TNAuthList"), "{detail}");
        let authorization = client.post(&placed.authorization, "");
        assert_eq!(status_of(&authorization), "invalid");
    }
    bench.has_raised_no_alarm();
}

/// RFC 8555 §6.7: a client chooses the `x5u` of what it sends, so nothing at that URL is an alarm.
#[test]
fn a_chain_that_is_not_found_refuses_the_token() {
    let mut bench = Bench::new();
    let client = bench.client();
    let refused = |answer: &Value| {
        let placed = place(&client, LIST);
        let shown = client.post(&placed.challenge, &answer.to_string());
        assert_eq!(status_of(&shown), "invalid", "{shown:?}");
        assert_eq!(
            status_of(&client.post(&placed.authorization, "")),
            "invalid"
        );
        shown.json["error"].clone()
    };
    let host = bench.carrier.address;
    for url in [
        format!("https://{host}/certs/{}.pem", "0".repeat(64)),
        format!("https://{host}/openapi.json"),
        format!("https://{host}/at/account/acme/token"),
        "https://elsewhere.example/1.pem".to_owned(),
        format!("http://{host}/1.pem"),
    ] {
        let error = refused(&json!({ "tkauth": LittleCa::token_naming(&url) }));
        assert_eq!(error["type"], "urn:ietf:params:acme:error:unauthorized");
        assert_eq!(error["status"], 403);
        let detail = error["detail"].as_str().expect("a detail");
        assert!(detail.contains("step 2, `x5u` signer"), "{url}: {detail}");
    }
    let log = bench.ca.log();
    assert!(!log.contains("an authority token is refused"), "{log}");

    // A token that is right, of an authority that is down.
    let answer = serde_json::from_str(&bench.right_answer(&client)).expect("JSON");
    bench.carrier.stop();
    let error = refused(&answer);
    assert_eq!(error["type"], "urn:ietf:params:acme:error:connection");
    assert_eq!(error["status"], 400);
    let detail = error["detail"].as_str().expect("a detail");
    assert!(detail.contains("does not answer"), "{detail}");
    bench.has_raised_no_alarm();
    let log = bench.ca.log();
    assert!(
        log.contains("an authority token is refused: step 2"),
        "{log}"
    );
}

/// RFC 8555 §7.5.1 and §7.1.6: asking changes nothing, and `invalid` is final.
#[test]
fn a_challenge_can_be_asked_for() {
    let bench = Bench::new();
    let client = bench.client();
    let shows = |placed: &Placed, status: &str| {
        let shown = client.post(&placed.challenge, "");
        assert_eq!(status_of(&shown), status, "{shown:?}");
        assert_eq!(shown.json["type"], "tkauth-01");
        assert_eq!(shown.json["tkauth-type"], "atc");
        assert_eq!(shown.json["url"], placed.challenge);
        let authorization = client.post(&placed.authorization, "");
        assert_eq!(status_of(&authorization), status);
    };
    let placed = place(&client, LIST);
    shows(&placed, "pending");
    for payload in ["{}", "[]", "5", r#"{"tkauth":""}"#] {
        let empty = client.post(&placed.challenge, payload);
        assert_eq!(
            (empty.status, &empty.json["type"]),
            (400, &json!(MALFORMED))
        );
    }
    shows(&placed, "pending");
    let stranger = bench.client().post(&placed.challenge, "");
    assert!(matches!(stranger.status, 401 | 403), "{stranger:?}");
    client.post(&placed.challenge, &bench.right_answer(&client));
    shows(&placed, "valid");

    let placed = place(&client, LIST);
    client.post(&placed.challenge, r#"{"tkauth":"a.b.c"}"#);
    shows(&placed, "invalid");
    let again = client.post(&placed.challenge, &bench.right_answer(&client));
    assert_eq!(status_of(&again), "invalid");
    shows(&placed, "invalid");
    bench.has_raised_no_alarm();
}

/// RFC 8555 §7.1.6: a client must not wait for an order that the CA has given up.
#[test]
fn an_order_whose_csr_is_refused_is_invalid() {
    let bench = Bench::new();
    let client = bench.client();
    let placed = place(&client, LIST);
    client.post(&placed.challenge, &bench.right_answer(&client));
    assert_eq!(status_of(&client.post(&placed.order, "")), "ready");
    let key = FileKey::generate().expect("a key").0;
    let other = list(&["one:12125551002"]);
    let csr = request_der(&key, &other, false, "CN=12125551002").expect("a request");
    let csr = json!({ "csr": URL_SAFE_NO_PAD.encode(csr) }).to_string();
    let refused = client.post(&placed.finalize, &csr);
    assert_eq!(refused.status, 400, "{refused:?}");
    assert_eq!(status_of(&client.post(&placed.order, "")), "invalid");
}

/// Settings that are gone, or a program that is not there or is another: nothing is authorized until it is repaired.
#[test]
fn a_plug_in_that_cannot_check_authorizes_nothing() {
    let bench = Bench::new();
    let client = bench.client();
    let path = bench.ca.file("tn_authority.cfg");
    let good = fs::read_to_string(&path).expect("a file");
    let with = |program: &str| good.replace(EXECUTABLE, program);
    for settings in [
        None,
        Some(String::new()),
        Some(good.replace("database =", "#")),
        Some(good.replace("x5u_ca =", "x5u_caa =")),
        Some(with("/nowhere/tn-authority")),
        Some(with("/bin/true")),
        Some(with("/bin/false")),
        Some(with("/bin/cat")),
    ] {
        let placed = place(&client, LIST);
        let answer = bench.right_answer(&client);
        match &settings {
            Some(text) => fs::write(&path, text).expect("a file"),
            None => fs::remove_file(&path).expect("a file"),
        }
        let answer = client.post(&placed.challenge, &answer);
        assert_eq!(status_of(&answer), "invalid", "{settings:?}: {answer:?}");
        let error = &answer.json["error"];
        assert_eq!(error["type"], "urn:ietf:params:acme:error:serverInternal");
        assert_eq!(error["detail"], "the authority token could not be checked");
        let authorization = client.post(&placed.authorization, "");
        assert_eq!(status_of(&authorization), "invalid", "{settings:?}");
        let csr = json!({ "csr": "AAAA" }).to_string();
        let finalized = client.post(&placed.finalize, &csr);
        assert_eq!(finalized.status, 403, "{finalized:?}");
    }
    // These are for the operator; and where no alarm is expected, one could be found.
    let alarms = bench.ca.log();
    let alarms = alarms.lines().filter(|line| line.contains("CRITICAL"));
    let alarms = alarms.filter(|line| line.contains("could not be checked"));
    assert_eq!(alarms.count(), 8, "{}", bench.ca.log());
    fs::write(&path, &good).expect("a file");
    let placed = place(&client, LIST);
    let answer = client.post(&placed.challenge, &bench.right_answer(&client));
    assert_eq!(status_of(&answer), "valid", "{answer:?}");
}
