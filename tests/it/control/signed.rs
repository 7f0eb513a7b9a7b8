//! Answers that an agent signs with the ACME account key, and what is no such answer.

use serde_json::{Value, json};
use tn_authority::domain::Role;
use tn_authority::domain::control::channel::Channel;
use tn_authority::domain::control::proof::{ControlProof, ProofState};

use crate::support::agent::{Agent, Unsigned};
use crate::support::control::wrong;
use crate::support::service::{Answer, Api};

both!(
    the_key_of_the_account_answers_without_credentials,
    what_is_not_signed_by_that_key_for_that_url_is_refused_alike,
    a_nonce_is_good_for_one_proof,
    only_the_key_itself_uses_up_tries,
    a_person_cannot_answer_for_an_agent,
    without_a_signature_credentials_are_needed,
);

const NUMBER: &str = "+12125551001";

/// `acme` wants its number to be asked over SIP, and this agent to answer.
fn asked(api: &Api, agent: &Agent, number: &str) -> (ControlProof, String) {
    let caller = api.world.caller(Role::Account, &["acme"]);
    let channel = Channel::Sip(agent.fingerprint());
    let started = api.world.asks_as(&caller, "acme", &[number], channel);
    let proof = started.expect("a proof").remove(0);
    let nonce = api.world.code_of(&proof);
    (proof, nonce)
}

fn path(proof: &ControlProof) -> String {
    format!("/v1/control-proofs/{}/confirm", proof.id)
}

fn url(proof: &ControlProof) -> String {
    format!("https://authority.example{}", path(proof))
}

fn refused(answer: &Answer) {
    let problem = answer.problem(403, "code-not-accepted");
    assert_eq!(
        problem["detail"],
        "the code is not accepted; start another proof"
    );
}

fn the_key_of_the_account_answers_without_credentials(api: Api) {
    let agent = Agent::new();
    let (proof, nonce) = asked(&api, &agent, NUMBER);
    api.world.seconds_pass(2);
    let answer = agent.answers(&url(&proof), &nonce);
    let shown = api.post("", &path(&proof), &answer).with(200);
    assert_eq!(
        (&shown["state"], &shown["number"]),
        (&json!("confirmed"), &json!(NUMBER))
    );
    assert_eq!(shown["confirmed_by"], json!(agent.fingerprint()));
    let known = api.world.proof(&proof);
    assert_eq!(
        known.confirmed.expect("confirmed").by,
        agent.fingerprint().to_string()
    );
    // The agent did not get the answer, and sends its own again.
    api.post("", &path(&proof), &answer).with(200);
    let trail = api.world.trail(&proof.id.to_string());
    let confirmed = trail
        .iter()
        .find(|event| event.action == "confirm-control-proof");
    let confirmed = confirmed.expect("an event");
    assert_eq!(confirmed.caller, agent.fingerprint().to_string());
    assert_eq!(confirmed.account, Some(crate::support::account("acme")));
}

fn what_is_not_signed_by_that_key_for_that_url_is_refused_alike(api: Api) {
    let (agent, thief) = (Agent::new(), Agent::new());
    let (proof, nonce) = asked(&api, &agent, NUMBER);
    let good = || agent.unsigned(&url(&proof), &nonce);
    let changed = |change: &dyn Fn(&mut Unsigned)| {
        let mut answer = good();
        change(&mut answer);
        agent.sign(&answer)
    };
    let member = |name: &'static str, value: Value| {
        changed(&move |answer: &mut Unsigned| answer.protected[name] = value.clone())
    };
    let mut forged = thief.sign(&good());
    let unsigned = |alg: &str, signature: &str| {
        let mut answer = member("alg", json!(alg));
        answer["signature"] = json!(signature);
        answer
    };
    let mut swapped = agent.sign(&good());
    swapped["payload"] = thief.sign(&agent.unsigned(&url(&proof), "another"))["payload"].clone();
    for (what, answer) in [
        ("another key", thief.answers(&url(&proof), &nonce)),
        (
            "the right key in the header, another one signed",
            forged.take(),
        ),
        ("no algorithm", unsigned("none", "")),
        (
            "no algorithm, with a signature",
            member("alg", json!("none")),
        ),
        ("a shared secret", member("alg", json!("HS256"))),
        ("an algorithm of other keys", member("alg", json!("RS256"))),
        (
            "another service",
            member("url", json!(url(&proof).replace("authority", "elsewhere"))),
        ),
        ("another path", member("url", json!(url(&proof) + "/"))),
        ("no URL", member("url", json!(null))),
        (
            "an order of the same key at a CA",
            member("typ", json!("JWT")),
        ),
        ("an extension", member("crit", json!(["exp"]))),
        ("a private key", {
            let mut jwk = agent.jwk.clone();
            jwk["d"] = json!("AAAA");
            member("jwk", jwk)
        }),
        ("no key", member("jwk", json!(null))),
        ("no nonce", changed(&|answer| answer.payload = json!({}))),
        (
            "a nonce that is no text",
            changed(&|answer| answer.payload = json!({ "nonce": 1 })),
        ),
        ("another payload", swapped),
        (
            "no base64",
            json!({ "protected": "!", "payload": "!", "signature": "!" }),
        ),
        (
            "nothing",
            json!({ "protected": "", "payload": "", "signature": "" }),
        ),
    ] {
        let answer = api.post("", &path(&proof), &answer);
        assert_eq!(answer.status, 403, "{what}: {}", answer.text());
        refused(&answer);
    }
    // A proof that does not exist, and one that a person answers, say the same.
    let nowhere = "/v1/control-proofs/00000000-0000-7000-8000-000000000000/confirm";
    let url_of = |path: &str| format!("https://authority.example{path}");
    refused(&api.post("", nowhere, &agent.answers(&url_of(nowhere), &nonce)));
    let nonsense = "/v1/control-proofs/x/confirm";
    refused(&api.post("", nonsense, &agent.answers(&url_of(nonsense), &nonce)));
    let texted = api.world.asks_one("acme", "+12125551002");
    let code = api.world.code_of(&texted);
    refused(&api.post("", &path(&texted), &agent.answers(&url(&texted), &code)));
    // None of these was a try.
    assert_eq!(
        (
            api.world.proof(&proof).tries,
            api.world.proof(&texted).tries
        ),
        (0, 0)
    );
    api.post("", &path(&proof), &agent.sign(&good())).with(200);
}

fn a_nonce_is_good_for_one_proof(api: Api) {
    let agent = Agent::new();
    let (first, nonce) = asked(&api, &agent, NUMBER);
    let (second, other) = asked(&api, &agent, "+12125551002");
    assert_ne!(nonce, other);
    // The nonce of one proof, signed for the other; and its whole answer, sent to the other.
    let problem = api.post("", &path(&second), &agent.answers(&url(&second), &nonce));
    assert_eq!(
        problem.problem(403, "code-not-accepted")["detail"],
        "the code is not accepted; 4 more tries are left"
    );
    refused(&api.post("", &path(&second), &agent.answers(&url(&first), &nonce)));
    api.post("", &path(&first), &agent.answers(&url(&first), &nonce))
        .with(200);
    // Replayed when the number is asked anew.
    let (third, _) = asked(&api, &agent, NUMBER);
    api.post("", &path(&third), &agent.answers(&url(&third), &nonce))
        .problem(403, "code-not-accepted");
    assert_eq!(api.world.state(&third), ProofState::Pending);
    // And after its time.
    api.world.seconds_pass(600);
    refused(&api.post("", &path(&second), &agent.answers(&url(&second), &other)));
}

fn only_the_key_itself_uses_up_tries(api: Api) {
    let (agent, thief) = (Agent::new(), Agent::new());
    let (proof, nonce) = asked(&api, &agent, NUMBER);
    for _ in 0..10 {
        refused(&api.post(
            "",
            &path(&proof),
            &thief.answers(&url(&proof), &wrong(&nonce)),
        ));
    }
    for left in [
        "4 more tries are left",
        "3 more tries are left",
        "2 more tries are left",
        "one more try is left",
    ] {
        let answer = agent.answers(&url(&proof), &wrong(&nonce));
        let problem = api
            .post("", &path(&proof), &answer)
            .problem(403, "code-not-accepted");
        assert_eq!(
            problem["detail"],
            format!("the code is not accepted; {left}")
        );
    }
    refused(&api.post(
        "",
        &path(&proof),
        &agent.answers(&url(&proof), &wrong(&nonce)),
    ));
    refused(&api.post("", &path(&proof), &agent.answers(&url(&proof), &nonce)));
    assert_eq!(api.world.state(&proof), ProofState::Failed);
}

fn a_person_cannot_answer_for_an_agent(api: Api) {
    let agent = Agent::new();
    let (proof, nonce) = asked(&api, &agent, NUMBER);
    let body = json!({ "code": nonce });
    api.post(&api.acme, &path(&proof), &body)
        .problem(409, "signed-answer-needed");
    assert_eq!(
        (api.world.state(&proof), api.world.proof(&proof).tries),
        (ProofState::Pending, 0)
    );
    // Credentials beside a signature change nothing.
    let other = api.key(Role::Account, &["other"]);
    api.post(&other, &path(&proof), &agent.answers(&url(&proof), &nonce))
        .with(200);
}

fn without_a_signature_credentials_are_needed(api: Api) {
    let proof = api.world.asks_one("acme", NUMBER);
    let body = json!({ "code": api.world.code_of(&proof) });
    api.post("", &path(&proof), &body)
        .problem(401, "unauthorized");
    for body in [
        json!({}),
        json!({ "protected": "x" }),
        json!([]),
        json!({ "nonce": "x" }),
    ] {
        api.post("", &path(&proof), &body)
            .problem(401, "unauthorized");
    }
    api.call("POST", "", &path(&proof), None)
        .problem(401, "unauthorized");
    api.post("tna_nobody_nothing", &path(&proof), &body)
        .problem(403, "forbidden");
    assert_eq!(api.world.state(&proof), ProofState::Pending);
}
