//! The way back over HTTP: a mistake is named as one, with its reason, and is undone as a whole.
#![expect(
    clippy::needless_pass_by_value,
    reason = "a scenario owns the service that it drives"
)]

use serde_json::{Value, json};
use tn_authority::domain::Role;

use super::imports::{finished, upload};
use crate::support::fixtures::{items, member};
use crate::support::service::{Api, asking};

both!(
    a_mistaken_port_out_is_ended_with_a_reason,
    a_mistake_is_named_as_one,
    a_mistaken_return_is_undone,
    a_mistaken_import_is_undone_as_a_whole,
    a_reseller_may_undo_nothing,
);

fn mistake() -> Value {
    json!({ "mistake": true, "reason": "the wrong number" })
}

fn a_mistaken_port_out_is_ended_with_a_reason(api: Api) {
    let key = &api.provisioner;
    let port = json!({ "start": "+12125551001", "count": 1, "reason": "ported-out" });
    let made = api.post(key, "/v1/exclusions", &port).with(201);
    let end = format!("/v1/exclusions/{}/end", member(&made, "id"));
    let ended = api.post(key, &end, &json!({})).with(200);
    assert_eq!(ended["restored_delegations"], json!([]));
    api.ask(&asking(&["one:12125551001"]))
        .problem(403, "not-authorized");

    let undone = api.post(key, &end, &mistake()).with(200);
    assert_eq!(undone["superseded_at"], "2026-01-01T00:00:00Z");
    let restored = items(&undone["restored_delegations"]);
    assert_eq!(
        (restored.len(), &restored[0]["account"]),
        (1, &json!("acme"))
    );
    assert_eq!(undone.get("restored_delegations_more"), None);
    api.ask(&asking(&["one:12125551001"])).with(200);
    api.post(key, &end, &mistake())
        .problem(409, "already-undone");
}

fn a_mistake_is_named_as_one(api: Api) {
    let key = &api.provisioner;
    let port = json!({ "start": "+12125551001", "count": 1, "reason": "ported-out" });
    let made = api.post(key, "/v1/exclusions", &port).with(201);
    let end = format!("/v1/exclusions/{}/end", member(&made, "id"));
    let undo = "/v1/jobs/00000000-0000-0000-0000-000000000001/undo";
    let of_an_end = [
        json!({ "mistake": true }),
        json!({ "mistake": true, "reason": "" }),
        json!({ "mistake": true, "reason": "  " }),
        json!({ "mistake": true, "reason": "x", "at": "2026-01-02T00:00:00Z" }),
        json!({ "reason": "x" }),
        json!({ "mistake": false, "reason": "x" }),
    ];
    for body in of_an_end {
        api.post(key, &end, &body).problem(400, "malformed-member");
    }
    for body in [
        json!({ "reason": "x" }),
        json!({ "mistake": false, "reason": "x" }),
        json!({ "mistake": true }),
    ] {
        api.post(key, undo, &body).problem(400, "malformed-member");
    }
    api.post(key, undo, &mistake()).problem(404, "not-found");
    api.ask(&asking(&["one:12125551001"]))
        .problem(403, "not-authorized");
}

fn a_mistaken_return_is_undone(api: Api) {
    let key = &api.provisioner;
    let body = json!({ "spc": "1234", "block": "1.646.555.1XXX", "basis": "block" });
    let block = api.post(key, "/v1/allocations", &body).with(201);
    let undo = format!("/v1/allocations/{}/return/undo", member(&block, "id"));
    api.post(key, &undo, &mistake())
        .problem(409, "not-returned");
    let planned = json!({ "at": "2026-02-01T00:00:00Z" });
    let path = format!("/v1/allocations/{}/return", member(&block, "id"));
    api.post(key, &path, &planned).with(200);
    let undone = api.post(key, &undo, &mistake()).with(200);
    assert_eq!(
        (&undone["valid_until"], &undone["version"]),
        (&Value::Null, &json!(3))
    );
    assert_eq!(undone["restored_delegations"], json!([]));
}

fn a_mistaken_import_is_undone_as_a_whole(api: Api) {
    let table = "start,count,reason\n+12125551001,3,ported-out\n";
    let job = finished(&api, &upload(&api, "format=exclusions", table.as_bytes()));
    assert_eq!(
        (&job["state"], &job["undone_at"]),
        (&json!("done"), &Value::Null)
    );
    assert_eq!(job["result"]["job"], job["id"]);
    api.ask(&asking(&["one:12125551001"]))
        .problem(403, "not-authorized");
    let (path, key) = (format!("/v1/jobs/{}", member(&job, "id")), &api.provisioner);
    let undo = format!("{path}/undo");
    let mut would = mistake();
    would["dry_run"] = json!(true);
    let dry = api.post(key, &undo, &would).with(200);
    assert_eq!(
        (&dry["dry_run"], &dry["undone_at"]),
        (&json!(true), &Value::Null)
    );
    api.ask(&asking(&["one:12125551001"]))
        .problem(403, "not-authorized");

    let mut undone = api.post(key, &undo, &mistake()).with(200);
    assert_eq!(undone["undone_at"], "2026-01-01T00:00:00Z");
    assert_eq!(undone["counts"]["removed_numbers"], 3);
    assert_eq!(undone["difference"]["removed"][0]["start"], "+12125551001");
    assert_eq!(undone["restored_delegations"]["count"], 1);
    undone["dry_run"] = json!(true);
    undone["undone_at"] = Value::Null;
    assert_eq!(undone, dry, "as the dry run said");
    api.ask(&asking(&["one:12125551001"])).with(200);
    let after = api.get(&api.auditor, &path).with(200);
    assert_eq!(
        (&after["state"], &after["undo_reason"]),
        (&json!("done"), &json!("the wrong number"))
    );
    assert_eq!(after["undone_at"], "2026-01-01T00:00:00Z");
    assert!(after["undone_by"].is_string());
    api.post(key, &undo, &mistake())
        .problem(409, "already-undone");

    let nothing = finished(
        &api,
        &upload(&api, "format=exclusions&dry_run=true", table.as_bytes()),
    );
    let undo = format!("/v1/jobs/{}/undo", member(&nothing, "id"));
    api.post(key, &undo, &mistake())
        .problem(409, "not-undoable");
}

fn a_reseller_may_undo_nothing(api: Api) {
    let key = &api.provisioner;
    let port = json!({ "start": "+12125551001", "count": 1, "reason": "ported-out" });
    let made = api.post(key, "/v1/exclusions", &port).with(201);
    let table = "start,count,reason\n+12125551009,1,reserved\n";
    let job = finished(&api, &upload(&api, "format=exclusions", table.as_bytes()));
    let paths = [
        format!("/v1/exclusions/{}/end", member(&made, "id")),
        format!("/v1/jobs/{}/undo", member(&job, "id")),
        format!("/v1/allocations/{}/return/undo", member(&made, "id")),
    ];
    let reseller = api.key(Role::Provisioner, &["acme"]);
    for path in paths {
        for key in [&reseller, &api.acme, &api.auditor] {
            api.post(key, &path, &mistake()).problem(403, "forbidden");
        }
    }
}
