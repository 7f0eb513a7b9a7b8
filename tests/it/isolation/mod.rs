//! The walk: each operation of the OpenAPI document, asked by each kind of caller, about each thing that is somebody else's.
//! Whoever may not know of it gets the answer for a thing that does not exist, to the last byte.
//!
//! An operation, a parameter or a member of a body that has no example here fails the walk, so that none is forgotten.

mod examples;
mod resellers;

use serde_json::{Value, json};
use tn_authority::domain::Role;
use uuid::Uuid;

use crate::support::fixtures::{items, member};
use crate::support::service::{Answer, Api, asking};
use crate::support::{Kind as Database, wait};
use examples::{Kind, Operation, Place};

both!(
    what_is_foreign_answers_as_what_does_not_exist,
    lists_name_nothing_foreign,
);

/// Somebody else's things, and names that nothing has; the two of a kind are of one length.
struct Things {
    foreign: Vec<(Kind, String)>,
}

impl Things {
    fn foreign(&self, kind: Kind) -> &str {
        let found = self.foreign.iter().find(|(known, _)| *known == kind);
        &found.expect("a thing of each kind").1
    }
}

/// What nothing has.
fn missing(kind: Kind) -> &'static str {
    match kind {
        Kind::Account => "tenant-missing",
        Kind::Number => "+12125551002",
        Kind::Allocation
        | Kind::Delegation
        | Kind::Exclusion
        | Kind::Job
        | Kind::Webhook
        | Kind::Renewal
        | Kind::ControlProof
        | Kind::Delivery => "00000000-0000-7000-8000-000000000000",
        Kind::Grant => "00000000000000000000000000000000000000000000",
        Kind::ApiKey => "0000000000000000",
        Kind::Chain => "0000000000000000000000000000000000000000000000000000000000000000",
    }
}

/// Who asks, and whether it may know of what is the carrier's and of other tenants'.
struct Asker {
    name: &'static str,
    key: String,
    /// The access token that the key gives at the facade.
    access: String,
    knows: fn(Kind) -> bool,
}

/// A carrier with two tenants: `tenant-foreign` has one of everything, and `wholesale` is a reseller with a customer.
fn two_tenants(api: &Api) -> (Things, Vec<Asker>) {
    let made = |method: &str, path: &str, body: Value| {
        let answer = api.call(method, &api.admin, path, Some(&body.to_string()));
        assert!((200..300).contains(&answer.status), "{path}: {answer:?}");
        answer.json()
    };
    for (id, parent) in [
        ("tenant-foreign", None),
        ("wholesale", None),
        ("shop", Some("wholesale")),
    ] {
        made(
            "PUT",
            &format!("/v1/accounts/{id}"),
            json!({ "parent": parent }),
        );
    }
    let lent = |account: &str, start: &str, more: bool| {
        let body = json!({ "start": start, "count": 1, "lend_on": more });
        made("POST", &format!("/v1/accounts/{account}/delegations"), body)
    };
    let delegation = lent("tenant-foreign", "+12125551901", false);
    lent("wholesale", "+12125551902", true);
    let exclusion = json!({ "start": "+12125551903", "count": 1, "reason": "reserved" });
    let exclusion = made("POST", "/v1/exclusions", exclusion);
    let allocations = api.get(&api.admin, "/v1/allocations").with(200);
    let grant = made(
        "POST",
        "/at/account/tenant-foreign/token",
        asking(&["one:12125551901"]),
    );
    let webhook = json!({ "url": "https://hooks.example.com/told", "account": "tenant-foreign" });
    let webhook = made("POST", "/v1/webhooks", webhook);
    let pinned = asking(&["one:12125551901"]);
    let renewal = json!({
        "account": "tenant-foreign", "delegation": delegation["id"], "tkvalue": pinned["tkvalue"],
        "fingerprint": pinned["fingerprint"], "lifetime": 600,
    });
    let renewal = made("POST", "/v1/renewals", renewal);
    let wanted = json!({ "numbers": ["+12125551901"], "method": "sms" });
    let proof = made("POST", "/v1/accounts/tenant-foreign/control-proofs", wanted);
    let told = made(
        "POST",
        "/at/account/tenant-foreign/token",
        asking(&["one:12125551901"]),
    );
    let told = format!("/v1/grants/{}/withdraw", member(&told, "jti"));
    made("POST", &told, json!({ "reason": "x" }));
    let told = wait(api.world.authority.take_deliveries(Uuid::nil(), 1)).expect("deliveries");
    let key = json!({ "role": "account", "accounts": ["tenant-foreign"] });
    let key = made("POST", "/v1/api-keys", key);
    let head = format!(
        "authorization: Bearer {}\r\ncontent-type: text/csv\r\n",
        api.admin
    );
    let table = b"start,reason\n+12125551904,aging\n";
    let job = api.send(
        "POST",
        "/v1/imports?format=exclusions&dry_run=true",
        &head,
        table,
    );
    let signers = api.get(&api.admin, "/v1/signers").with(200);
    let id = |row: &Value| member(row, "id").to_owned();
    let things = Things {
        foreign: vec![
            (Kind::Account, "tenant-foreign".to_owned()),
            (Kind::Number, "+12125551901".to_owned()),
            (Kind::Allocation, id(&items(&allocations["items"])[0])),
            (Kind::Delegation, id(&delegation)),
            (Kind::Exclusion, id(&exclusion)),
            (Kind::Job, id(&job.with(202))),
            (Kind::Grant, member(&grant, "jti").to_owned()),
            (Kind::ApiKey, id(&key)),
            (Kind::Renewal, id(&renewal)),
            (Kind::ControlProof, id(&items(&proof["items"])[0])),
            (Kind::Webhook, id(&webhook)),
            (Kind::Delivery, told[0].delivery.id.to_string()),
            (
                Kind::Chain,
                member(&items(&signers["items"])[0], "chain").to_owned(),
            ),
        ],
    };
    let access_of = |key: &str| {
        let login = json!({ "userId": key.get(4..20), "password": key });
        let access = api.post("", "/api/v1/auth/login", &login).with(200);
        member(&access, "accessToken").to_owned()
    };
    let revoked = api.key(Role::Admin, &[]);
    let access_of_revoked = access_of(&revoked);
    made(
        "POST",
        &format!("/v1/api-keys/{}/revoke", &revoked[4..20]),
        json!({}),
    );
    let everything: fn(Kind) -> bool = |_| true;
    let all_but_keys: fn(Kind) -> bool = |kind| kind != Kind::ApiKey;
    // What is published is for everybody.
    let its_own: fn(Kind) -> bool = |kind| kind == Kind::Chain;
    let asker = |name, key: String, knows| Asker {
        name,
        access: access_of(&key),
        key,
        knows,
    };
    let askers = vec![
        Asker {
            name: "nobody",
            key: String::new(),
            access: String::new(),
            knows: its_own,
        },
        Asker {
            name: "a revoked key",
            key: revoked,
            access: access_of_revoked,
            knows: its_own,
        },
        asker("account", api.key(Role::Account, &["shop"]), its_own),
        asker("renewer", api.key(Role::Renewer, &["shop"]), its_own),
        asker(
            "portal",
            api.key(Role::Portal, &["shop", "wholesale"]),
            its_own,
        ),
        asker(
            "a reseller",
            api.key(Role::Provisioner, &["wholesale"]),
            its_own,
        ),
        asker(
            "a reseller's auditor",
            api.key(Role::Auditor, &["wholesale"]),
            its_own,
        ),
        asker("auditor", api.auditor.clone(), all_but_keys),
        asker("provisioner", api.provisioner.clone(), all_but_keys),
        asker("admin", api.admin.clone(), everything),
    ];
    (things, askers)
}

fn ask(
    api: &Api,
    things: &Things,
    asker: &Asker,
    (operation, place): (&Operation, &Place),
    id: &str,
) -> Answer {
    let request = operation.request(place, id, |kind| things.foreign(kind).to_owned());
    let proof = if asker.key.is_empty() {
        String::new()
    } else if operation.path.starts_with("/api/") {
        format!("authorization: {}\r\n", asker.access)
    } else {
        format!("authorization: Bearer {}\r\n", asker.key)
    };
    let media = request.body.as_ref().map_or(String::new(), |(media, _)| {
        format!("content-type: {media}\r\n")
    });
    let body = request.body.map_or(String::new(), |(_, body)| body);
    api.send(
        &operation.method.to_uppercase(),
        &request.path,
        &format!("{proof}{media}"),
        body.as_bytes(),
    )
}

/// An answer without the name that was asked about, wherever it is repeated.
fn without_name(answer: &Answer, name: &str) -> impl PartialEq + std::fmt::Debug + use<> {
    let (status, headers, body) = answer.without_id();
    let headers: Vec<(String, String)> = headers
        .into_iter()
        .map(|(field, value)| (field, value.replace(name, "NAME")))
        .collect();
    (status, headers, body.replace(name, "NAME"))
}

fn what_is_foreign_answers_as_what_does_not_exist(kind: Database) {
    let api = Api::with_facade(kind.into());
    let (things, askers) = two_tenants(&api);
    let document = api.get("", "/openapi.json").with(200);
    let operations = examples::operations(&document);
    let (mut compared, mut found) = (0, 0);
    // Those who may know of it, and so change it, come last.
    for asker in &askers {
        for operation in &operations {
            for place in operation.places.iter().filter(|place| place.kind.is_some()) {
                let kind = place.kind.expect("a kind");
                let what = format!("{} {operation:?} {place:?}", asker.name);
                let (foreign, none) = (things.foreign(kind), missing(kind));
                if (asker.knows)(kind) {
                    continue;
                }
                let [about_foreign, about_none] =
                    [foreign, none].map(|id| ask(&api, &things, asker, (operation, place), id));
                assert_eq!(
                    without_name(&about_foreign, foreign),
                    without_name(&about_none, none),
                    "{what}"
                );
                let done = (200..300).contains(&about_foreign.status);
                // A filter, and a number that nothing is known of, have an empty answer; a question, one that says no.
                assert!(
                    !done || place.may_be_answered(operation),
                    "{what}: {about_foreign:?}"
                );
                compared += 1;
            }
        }
    }
    // The examples are real: whoever may do everything finds each thing, and finds nothing by the other name.
    let admin = askers.last().expect("an admin");
    for operation in &operations {
        for place in operation.places.iter().filter(|place| place.kind.is_some()) {
            let kind = place.kind.expect("a kind");
            let known = ask(
                &api,
                &things,
                admin,
                (operation, place),
                things.foreign(kind),
            );
            let told = String::from_utf8_lossy(&known.body).into_owned();
            // One that the walk has taken back is found, and has ended.
            let is_found = (200..300).contains(&known.status)
                || known.status == 409
                || ["renewal-ended", "code-not-accepted"]
                    .iter()
                    .any(|code| told.contains(code));
            assert!(is_found, "{operation:?} {place:?}: {} {told}", known.status);
            found += 1;
        }
    }
    assert!(
        found >= 30 && compared >= 6 * (found - 1),
        "{found} {compared}"
    );
}

fn lists_name_nothing_foreign(kind: Database) {
    let api = Api::with_facade(kind.into());
    let (things, askers) = two_tenants(&api);
    let document = api.get("", "/openapi.json").with(200);
    for operation in examples::operations(&document) {
        let whole = operation.method == "get" && !operation.path.contains('{');
        if !whole || operation.is_for_everybody {
            continue;
        }
        for asker in &askers {
            let answer = api.get(&asker.key, &operation.path);
            let text = String::from_utf8_lossy(&answer.body);
            // The ids of keys are who did what, in the trail of the carrier.
            let reads_the_trail = operation.path.starts_with("/v1/audit-events")
                && matches!(asker.name, "auditor" | "provisioner");
            for (kind, name) in &things.foreign {
                let named = text.contains(name.as_str());
                let in_the_trail = reads_the_trail && *kind == Kind::ApiKey;
                assert!(
                    !named || in_the_trail || (asker.knows)(*kind),
                    "{} {operation:?} names {name}",
                    asker.name
                );
            }
        }
    }
}
