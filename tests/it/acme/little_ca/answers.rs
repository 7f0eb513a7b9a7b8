//! What a good CA answers, with the faults that a test asks for.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use serde_json::{Value, json};
use tn_authority::domain::{Clock, TnAuthList};
use tn_authority::signer::FileKey;
use tn_authority::signer::csr::request_der;

use super::wire::is_bound;
use super::{Faults, Reply, Shared, State};

impl Shared {
    /// What a good CA answers.
    pub fn right(&self, name: &str, body: &[u8], faults: &mut Faults) -> Reply {
        match name {
            "directory" => return Reply::json(200, &self.directory(faults)),
            "nonce" => return Reply::status(200),
            _ => {}
        }
        let payload = match self.signed(name, body, faults) {
            Ok(payload) => payload,
            Err(reply) => return *reply,
        };
        let mut state = self.state.lock();
        let at = |path: &str| format!("{}/{path}", self.base);
        match name {
            "account" => {
                if faults.binding && !is_bound(&payload, &state.jwk, &at("account")) {
                    return Reply::problem(403, "externalAccountRequired", "no binding");
                }
                Reply::json(201, &json!({ "status": "valid" }))
                    .header("Location", &at("accounts/1"))
            }
            "order" => {
                let list = payload["identifiers"][0]["value"].as_str().expect("a list");
                *state = State {
                    nonces: std::mem::take(&mut state.nonces),
                    jwk: state.jwk.take(),
                    given: state.given,
                    list: list.to_owned(),
                    renewal: payload.get("auto-renewal").cloned(),
                    asked: std::mem::take(&mut state.asked),
                    tokens: std::mem::take(&mut state.tokens),
                    forbidden: std::mem::take(&mut state.forbidden),
                    ..State::default()
                };
                assert!(payload.get("notAfter").is_none(), "RFC 8739 §3.1.1");
                Reply::json(201, &self.order(&state)).header("Location", &at("orders/1"))
            }
            "orders/1" => {
                let order = self.order(&state);
                if payload["status"] != "canceled" {
                    state.processing = state.processing.saturating_sub(1);
                    return Reply::json(200, &order).header("Retry-After", "0");
                }
                if order["status"] != "valid" {
                    state.forbidden.push("cancel".to_owned());
                    return Reply::problem(400, "autoRenewalCancellationInvalid", "not valid");
                }
                state.canceled = true;
                Reply::json(200, &self.order(&state))
            }
            "authz" => {
                let status = match (state.proved, faults.refuses) {
                    (false, _) => "pending",
                    (true, true) => "invalid",
                    (true, false) if faults.undecided || faults.checking > 0 => "pending",
                    (true, false) => "valid",
                };
                let checking = state.proved && status == "pending";
                faults.checking = faults.checking.saturating_sub(checking.into());
                let of_challenge = if checking { "processing" } else { status };
                let mut challenge = json!({ "type": "tkauth-01", "tkauth-type": "atc", "url": at("challenge"),
                    "token": "x", "token-authority": "https://127.0.0.1:1/", "status": of_challenge });
                if status == "invalid" {
                    challenge["error"] = json!({ "type": "urn:ietf:params:acme:error:unauthorized",
                        "detail": "no \u{1b}[31mtrust" });
                }
                let identifier = json!({ "type": "TNAuthList", "value": state.list });
                let other = json!({ "type": "dns-01", "url": at("nowhere"), "status": "pending" });
                Reply::json(
                    200,
                    &json!({ "identifier": identifier, "status": status,
                    "challenges": [other, challenge] }),
                )
                .header("Retry-After", "0")
            }
            "challenge" if state.proved => {
                state.forbidden.push(name.to_owned());
                Reply::problem(400, "malformed", "the challenge is not pending")
            }
            "challenge" => {
                let (member, token) = payload
                    .as_object()
                    .and_then(|o| o.iter().next())
                    .expect("one");
                state
                    .tokens
                    .push((member.clone(), token.as_str().expect("a text").to_owned()));
                state.proved = true;
                Reply::json(
                    200,
                    &json!({ "type": "tkauth-01", "url": at("challenge"), "status": "processing" }),
                )
            }
            "finalize" if self.order(&state)["status"] != "ready" => {
                state.forbidden.push(name.to_owned());
                Reply::problem(403, "orderNotReady", "x")
            }
            "finalize" => {
                state.processing = faults.processing;
                state.unwilling = faults.unwilling;
                let csr = payload["csr"].as_str().expect("a CSR");
                state.csr = Some(URL_SAFE_NO_PAD.decode(csr).expect("base64url"));
                Reply::json(200, &self.order(&state))
            }
            "certificate" | "star" if state.canceled => {
                Reply::problem(403, "autoRenewalCanceled", "canceled")
            }
            "certificate" | "star" => {
                let csr = state.csr.clone().expect("a CSR");
                Reply::status(200).body(&self.issue(&csr, &state, faults))
            }
            other => Reply::problem(404, "malformed", other),
        }
    }

    fn directory(&self, faults: &Faults) -> Value {
        let at = |path: &str| format!("{}/{path}", self.base);
        let mut meta = json!({ "externalAccountRequired": faults.binding });
        if let Some((min, max)) = faults.star {
            meta["auto-renewal"] = json!({ "min-lifetime": min, "max-duration": max });
        }
        json!({ "newNonce": at("nonce"), "newAccount": at("account"), "newOrder": at("order"), "meta": meta,
            "newHouse": "unknown members are passed over" })
    }

    fn order(&self, state: &State) -> Value {
        let at = |path: &str| format!("{}/{path}", self.base);
        let status = match (&state.csr, state.proved) {
            _ if state.canceled => "canceled",
            (Some(_), _) if state.processing > 0 => "processing",
            (Some(_), _) if state.unwilling => "invalid",
            (Some(_), _) => "valid",
            (None, true) => "ready",
            (None, false) => "pending",
        };
        let mut order = json!({ "status": status, "authorizations": [at("authz")], "finalize": at("finalize"),
            "identifiers": [{ "type": "TNAuthList", "value": state.list }] });
        if let Some(renewal) = &state.renewal {
            order["auto-renewal"] = renewal.clone();
        }
        if status == "valid" {
            let name = if state.renewal.is_some() {
                "star-certificate"
            } else {
                "certificate"
            };
            order[name] = json!(at(if state.renewal.is_some() {
                "star"
            } else {
                "certificate"
            }));
        }
        order
    }

    fn issue(&self, csr: &[u8], state: &State, faults: &Faults) -> String {
        let now = Clock::system().now();
        let lifetime = state
            .renewal
            .as_ref()
            .and_then(|r| r["lifetime"].as_i64())
            .unwrap_or(3600);
        let (from, until) = faults.validity.unwrap_or((-1, lifetime));
        let own = FileKey::generate().expect("a key").0;
        let list = TnAuthList::from_tkvalue(&state.list).expect("a list");
        let csr = match (&faults.other_list, faults.other_key) {
            (None, false) => csr.to_vec(),
            // Neither is the key of the client, and only the last fault is looked for.
            (other, _) => request_der(&own, other.as_ref().unwrap_or(&list), false, "CN=other")
                .expect("a CSR"),
        };
        let pem = format!(
            "-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n",
            STANDARD
                .encode(csr)
                .as_bytes()
                .chunks(64)
                .map(|line| String::from_utf8_lossy(line).into_owned())
                .collect::<Vec<_>>()
                .join("\n")
        );
        let validity = now + TimeDelta::seconds(from)..=now + TimeDelta::seconds(until);
        self.issuing
            .sign_request(&pem, &validity)
            .expect("a certificate")
    }
}
