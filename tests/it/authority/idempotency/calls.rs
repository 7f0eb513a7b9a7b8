//! Every call that makes or changes something: a walk over the OpenAPI document, so that none is forgotten.
#![expect(
    clippy::needless_pass_by_value,
    reason = "a scenario owns the service that it drives"
)]

use serde_json::{Value, json};
use tn_authority::tables::Format;
use uuid::Uuid;

use super::written;
use crate::authority::imports::{CONFIRMED, import};
use crate::support::fixtures::{items, member};
use crate::support::service::{Answer, Api, asking};
use crate::support::{Kind, wait};

both!(
    every_call_is_answered_once,
    what_needs_no_key_does_not_look_at_it,
);

/// POST, and changes nothing.
const READS: [&str; 2] = ["explain", "log_in"];

/// A request that succeeds.
struct Call {
    /// What stands in `Authorization`.
    proof: String,
    path: String,
    media_type: &'static str,
    body: String,
    status: u16,
}

fn every_call_is_answered_once(kind: Kind) {
    let api = Api::with_facade(kind.into());
    let document = api.get("", "/openapi.json").with(200);
    let mut walked = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        let Some(operation) = item.get("post") else {
            continue;
        };
        let id = member(operation, "operationId");
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let documented = parameters
            .filter(|one| one["name"] == "Idempotency-Key" && one["in"] == "header")
            .count();
        if READS.contains(&id) {
            assert_eq!(documented, 0, "{id}");
            continue;
        }
        assert_eq!(documented, 1, "{id}");
        for status in ["409", "422"] {
            assert!(operation["responses"][status].is_object(), "{id} {status}");
        }
        walk(&api, id, path);
        walked.push(id.to_owned());
    }
    assert_eq!(walked.len(), 33, "{walked:?}");
}

fn walk(api: &Api, id: &str, documented: &str) {
    let call = call(api, id);
    assert_eq!(
        call.path.split(['/', '?']).nth(2),
        documented.split('/').nth(2),
        "{id}"
    );
    let send = |body: &str| -> Answer {
        let head = format!(
            "authorization: {}\r\ncontent-type: {}\r\nidempotency-key: walk-{id}\r\n",
            call.proof, call.media_type
        );
        api.send("POST", &call.path, &head, body.as_bytes())
    };
    let first = send(&call.body);
    assert_eq!(first.status, call.status, "{id}: {}", first.text());
    if id == "start_import" {
        // What its thread writes is not what is counted here.
        let job = format!("/v1/jobs/{}", member(&first.json(), "id"));
        while api.get(&api.provisioner, &job).with(200)["finished_at"].is_null() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
    let before = written(&api.world.db);
    api.world.seconds_pass(2);
    send(&call.body).repeats(&first);
    send(&call.body).repeats(&first);
    let other = send(&format!("{} ", call.body));
    other.problem(422, "idempotency-key-reused");
    assert_eq!(written(&api.world.db), before, "{id} was done again");
}

/// What an operation is called with. A new one needs a case here.
fn call(api: &Api, id: &str) -> Call {
    let made = |key: &str, path: &str, body: Value| api.post(key, path, &body).with(201);
    let (admin, provisioner, acme) = (&api.admin, &api.provisioner, &api.acme);
    let of_a_key = |verb: &str| {
        let body = json!({ "role": "account", "accounts": ["other"] });
        let row = made(admin, "/v1/api-keys", body);
        format!("/v1/api-keys/{}/{verb}", member(&row, "id"))
    };
    let renewal = || {
        let loans = api
            .get(provisioner, "/v1/accounts/acme/delegations")
            .with(200);
        let pinned = asking(&["one:12125551001"]);
        json!({
            "account": "acme", "delegation": items(&loans["items"])[0]["id"],
            "tkvalue": pinned["tkvalue"], "fingerprint": pinned["fingerprint"], "lifetime": 600,
        })
    };
    let of_a_webhook = |verb: &str| {
        let body = json!({ "url": "https://hooks.example.com/told" });
        let row = made(acme, "/v1/webhooks", body);
        format!("/v1/webhooks/{}/{verb}", member(&row, "id"))
    };
    let mistake = || json!({ "mistake": true, "reason": "the wrong numbers" });
    let spare = || {
        let numbers = json!({ "start": "+12125551990", "count": 1 });
        made(provisioner, "/v1/accounts/other/delegations", numbers)
    };
    let (key, path, body, status) = match id {
        "issue_token" => (
            acme,
            "/at/account/acme/token".to_owned(),
            asking(&["one:12125551001"]),
            200,
        ),
        "issue_tokens" => {
            let mut one = asking(&["one:12125551002"]);
            one["account"] = json!("acme");
            let mut refused = asking(&["one:12125551950"]);
            refused["account"] = json!("acme");
            let body = json!({ "requests": [one, refused, { "account": "acme" }] });
            (acme, "/v1/tokens".to_owned(), body, 200)
        }
        "issue_spc_token" => {
            let login = json!({ "userId": acme[4..20], "password": acme });
            let access = api.post("", "/api/v1/auth/login", &login).with(200);
            return Call {
                proof: member(&access, "accessToken").to_owned(),
                path: "/api/v1/account/acme/token".to_owned(),
                media_type: "application/json",
                body: json!({ "atc": asking(&["one:12125551004"]) }).to_string(),
                status: 200,
            };
        }
        "suspend_account" => (
            provisioner,
            "/v1/accounts/other/suspend".to_owned(),
            json!({}),
            200,
        ),
        "resume_account" => (
            provisioner,
            "/v1/accounts/other/resume".to_owned(),
            json!({}),
            200,
        ),
        "create_delegation" => {
            let body = json!({ "start": "+12125551980", "count": 2 });
            (
                provisioner,
                "/v1/accounts/other/delegations".to_owned(),
                body,
                201,
            )
        }
        "end_delegation" => {
            let path = format!("/v1/delegations/{}/end", member(&spare(), "id"));
            (provisioner, path, json!({}), 200)
        }
        "create_allocation" => {
            let body = json!({ "spc": "1234", "block": "1.212.556.XXXX", "basis": "code" });
            (provisioner, "/v1/allocations".to_owned(), body, 201)
        }
        "return_allocation" => {
            let body = json!({ "spc": "1234", "block": "1.212.557.1XXX", "basis": "block" });
            let row = made(provisioner, "/v1/allocations", body);
            let path = format!("/v1/allocations/{}/return", member(&row, "id"));
            (provisioner, path, json!({}), 200)
        }
        "undo_return" => {
            let body = json!({ "spc": "1234", "block": "1.212.557.2XXX", "basis": "block" });
            let row = made(provisioner, "/v1/allocations", body);
            let path = format!("/v1/allocations/{}/return", member(&row, "id"));
            api.post(provisioner, &path, &json!({})).with(200);
            (provisioner, format!("{path}/undo"), mistake(), 200)
        }
        "undo_job" => {
            let table = "start,reason\n+12125551972,reserved\n";
            let imported = import(&api.world, Format::Exclusions, table, CONFIRMED);
            let job = imported.expect("an import").job.expect("a job");
            (provisioner, format!("/v1/jobs/{job}/undo"), mistake(), 200)
        }
        "create_exclusion" => {
            let body = json!({ "start": "+12125551970", "count": 1, "reason": "reserved" });
            (provisioner, "/v1/exclusions".to_owned(), body, 201)
        }
        "end_exclusion" => {
            let body = json!({ "start": "+12125551971", "count": 1, "reason": "reserved" });
            let row = made(provisioner, "/v1/exclusions", body);
            let path = format!("/v1/exclusions/{}/end", member(&row, "id"));
            (provisioner, path, json!({}), 200)
        }
        "create_disconnect" => {
            let body = json!({ "start": "+12125551960", "count": 1, "class": "residential" });
            (provisioner, "/v1/disconnects".to_owned(), body, 201)
        }
        "withdraw_grant" => {
            let issued = api.ask(&asking(&["one:12125551003"])).with(200);
            let path = format!("/v1/grants/{}/withdraw", member(&issued, "jti"));
            (provisioner, path, json!({ "reason": "ported out" }), 200)
        }
        "reload_signers" => (provisioner, "/v1/signers/reload".to_owned(), json!({}), 200),
        "distrust_signer" => {
            // What is called after it needs another key to sign.
            api.world.certificate_comes("next", "1234", 86_400);
            let reloaded = api.call("POST", provisioner, "/v1/signers/reload", None);
            let chains = reloaded.with(200);
            let first = member(&items(&chains["items"])[0], "chain").to_owned();
            let path = format!("/v1/signers/{first}/distrust");
            (admin, path, json!({ "reason": "stolen" }), 200)
        }
        "start_import" => {
            return Call {
                proof: format!("Bearer {provisioner}"),
                path: "/v1/imports?format=exclusions".to_owned(),
                media_type: "text/csv",
                body: "numbers,reason\n+12125551950,reserved\n".to_owned(),
                status: 202,
            };
        }
        "create_renewal" => (provisioner, "/v1/renewals".to_owned(), renewal(), 201),
        "revoke_renewal" => {
            let row = made(provisioner, "/v1/renewals", renewal());
            let path = format!("/v1/renewals/{}/revoke", member(&row, "id"));
            (acme, path, json!({}), 200)
        }
        "renew_token" => {
            let row = made(provisioner, "/v1/renewals", renewal());
            (acme, member(&row, "token_url").to_owned(), json!({}), 200)
        }
        "start_control_proofs" => {
            let body = json!({ "numbers": ["+12125551005"], "method": "sms" });
            (
                acme,
                "/v1/accounts/acme/control-proofs".to_owned(),
                body,
                201,
            )
        }
        "confirm_control_proof" => {
            let proof = api.world.asks_one("acme", "+12125551006");
            let path = format!("/v1/control-proofs/{}/confirm", proof.id);
            (
                acme,
                path,
                json!({ "code": api.world.code_of(&proof) }),
                200,
            )
        }
        "cancel_control_proof" => {
            let proof = api.world.asks_one("acme", "+12125551007");
            let path = format!("/v1/control-proofs/{}/cancel", proof.id);
            (acme, path, json!({}), 200)
        }
        "create_webhook" => {
            let body = json!({ "url": "https://hooks.example.com/told" });
            (acme, "/v1/webhooks".to_owned(), body, 201)
        }
        "end_webhook" => (acme, of_a_webhook("end"), json!({}), 200),
        "rotate_webhook" => (acme, of_a_webhook("rotate"), json!({}), 200),
        "replay_webhook" => (acme, of_a_webhook("replay"), json!({ "after": 0 }), 200),
        "replay_delivery" => {
            let path = of_a_webhook("deliveries");
            let issued = api.ask(&asking(&["one:12125551004"])).with(200);
            let grant = format!("/v1/grants/{}/withdraw", member(&issued, "jti"));
            let reason = json!({ "reason": "ported out" });
            api.post(provisioner, &grant, &reason).with(200);
            let told = wait(api.world.authority.take_deliveries(Uuid::nil(), 9));
            let told = told.expect("deliveries");
            let of_this = told
                .iter()
                .find(|one| path.contains(&one.webhook.id.to_string()));
            let delivery = of_this.expect("a delivery").delivery.id;
            (acme, format!("{path}/{delivery}/replay"), json!({}), 201)
        }
        "create_api_key" => {
            let body = json!({ "role": "account", "accounts": ["other"] });
            (admin, "/v1/api-keys".to_owned(), body, 201)
        }
        "rotate_api_key" => (admin, of_a_key("rotate"), json!({ "overlap": 60 }), 200),
        "expire_api_key" => {
            let body = json!({ "at": "2027-01-01T00:00:00Z" });
            (admin, of_a_key("expire"), body, 200)
        }
        "revoke_api_key" => (admin, of_a_key("revoke"), json!({}), 200),
        other => panic!("`{other}` has no case here, so nothing says that it can be repeated"),
    };
    Call {
        proof: format!("Bearer {key}"),
        path,
        media_type: "application/json",
        body: body.to_string(),
        status,
    }
}

/// PUT says what is to be, and what reads changes nothing: both can be repeated without a key.
fn what_needs_no_key_does_not_look_at_it(api: Api) {
    let put = |key: &str, body: &Value| {
        let head = format!(
            "authorization: Bearer {}\r\ncontent-type: application/json\r\nidempotency-key: {key}\r\n",
            api.admin
        );
        api.send(
            "PUT",
            "/v1/accounts/new",
            &head,
            body.to_string().as_bytes(),
        )
    };
    put("k", &json!({ "name": "A" })).with(201);
    let renamed = put("k", &json!({ "name": "B" }));
    assert_eq!(renamed.with(200)["name"], "B");
    assert_eq!(renamed.header("idempotency-replayed"), None);
    put("not a key", &json!({ "name": "B" })).with(200);

    let question = |account: &str| json!({ "account": account, "numbers": [{ "start": "+12125551001", "count": 1 }] });
    for account in ["acme", "other"] {
        let answer = api.once("k", &api.auditor, "/v1/explain", &question(account));
        assert_eq!(answer.header("idempotency-replayed"), None);
        answer.with(200);
    }
    assert_eq!(super::count(&api.world.db, "idempotency_keys"), 0);
}
