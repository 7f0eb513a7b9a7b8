//! An example for each operation of the document, and what each of its parameters and members names.

use serde_json::{Value, json};

use crate::support::service::asking;

/// What an id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Account,
    Number,
    Allocation,
    Delegation,
    Exclusion,
    Job,
    Grant,
    ApiKey,
    Webhook,
    Delivery,
    Renewal,
    ControlProof,
    Chain,
}

/// Where an id stands in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// `path`, `query` or `body`.
    pub within: &'static str,
    pub name: String,
    /// What it names; nothing, if it is no id.
    pub kind: Option<Kind>,
}

impl Place {
    /// Whether the answer may be 200 also for who may not know of the thing: an empty one, or one that says no.
    pub fn may_be_answered(&self, operation: &Operation) -> bool {
        self.within == "query"
            || matches!(
                operation.id.as_str(),
                "look_up_number" | "explain" | "issue_tokens"
            )
    }
}

/// An operation and the places of its ids.
pub struct Operation {
    pub id: String,
    pub method: String,
    pub path: String,
    pub places: Vec<Place>,
    pub is_for_everybody: bool,
    body: Option<(&'static str, Value)>,
    query: &'static str,
}

impl std::fmt::Debug for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

/// A request, ready to be sent.
pub struct Request {
    pub path: String,
    pub body: Option<(&'static str, String)>,
}

impl Operation {
    /// The example, with this id in this place; the other places name the asker's own things, or nothing that matters. A
    /// delivery and its webhook are named together: the rest of a pair is `foreign`.
    pub fn request(&self, place: &Place, id: &str, foreign: impl Fn(Kind) -> String) -> Request {
        let mut path = self.path.clone();
        for other in self.places.iter().filter(|other| other.within == "path") {
            let own = match other.kind {
                _ if other == place => id.to_owned(),
                Some(pair @ (Kind::Webhook | Kind::Delivery)) => foreign(pair),
                _ => "shop".to_owned(),
            };
            path = path.replace(&format!("{{{}}}", other.name), &own);
        }
        path += self.query;
        if place.within == "query" {
            let mark = if path.contains('?') { '&' } else { '?' };
            path = format!("{path}{mark}{}={id}", place.name);
        }
        let body = self.body.clone().map(|(media, mut body)| {
            if self.id == "create_renewal" {
                // A delegation is one of its account's.
                for (name, kind) in [("account", Kind::Account), ("delegation", Kind::Delegation)] {
                    body[name] = json!(foreign(kind));
                }
            }
            if place.within == "body" {
                let slot = body.pointer_mut(&place.name);
                *slot.unwrap_or_else(|| panic!("{self:?} has no {}", place.name)) = json!(id);
            }
            let text = body.as_str().map(str::to_owned);
            (media, text.unwrap_or_else(|| body.to_string()))
        });
        Request { path, body }
    }
}

/// Every operation of the document; panics at what has no example.
pub fn operations(document: &Value) -> Vec<Operation> {
    let paths = document["paths"].as_object().expect("paths");
    let mut operations = Vec::new();
    for (path, item) in paths {
        for (method, operation) in item.as_object().expect("operations") {
            let id = operation["operationId"].as_str().expect("an id").to_owned();
            let (body, query, ids) = example(&id);
            let mut places = parameters(path, operation);
            if let Some(body) = operation.get("requestBody") {
                members_must_be_known(document, body, &id);
            }
            places.extend(ids.into_iter().map(|(pointer, kind)| Place {
                within: "body",
                name: pointer.to_owned(),
                kind: Some(kind),
            }));
            operations.push(Operation {
                id,
                method: method.clone(),
                path: path.clone(),
                places,
                is_for_everybody: operation["security"].as_array().is_some_and(Vec::is_empty),
                body,
                query,
            });
        }
    }
    operations
}

fn parameters(path: &str, operation: &Value) -> Vec<Place> {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let places = parameters.map(|parameter| {
        let name = parameter["name"].as_str().expect("a name");
        let (within, kind) = match parameter["in"].as_str() {
            Some("path") => ("path", in_path(path, name)),
            Some("query") => ("query", in_query(path, name)),
            // It names a request, and those of two tenants never meet: `idempotency` has its scenarios.
            Some("header") if name == "Idempotency-Key" => ("header", None),
            other => panic!("{path}: no example for a parameter in {other:?}"),
        };
        let name = name.to_owned();
        Place { within, name, kind }
    });
    places.collect()
}

fn in_path(path: &str, name: &str) -> Option<Kind> {
    // Whoever has the id of a token has the token, and may ask how it stands.
    if path == "/v1/grants/{jti}/status" {
        return None;
    }
    let start = path.split('{').next().expect("a start");
    Some(match (start, name) {
        ("/at/account/" | "/api/v1/account/" | "/v1/accounts/", "id") => Kind::Account,
        ("/v1/numbers/", "tn") => Kind::Number,
        ("/v1/allocations/", "id") => Kind::Allocation,
        ("/v1/delegations/", "id") => Kind::Delegation,
        ("/v1/exclusions/", "id") => Kind::Exclusion,
        ("/v1/jobs/", "id") => Kind::Job,
        ("/v1/grants/", "jti") => Kind::Grant,
        ("/v1/api-keys/", "id") => Kind::ApiKey,
        ("/v1/renewals/", "id") => Kind::Renewal,
        ("/v1/control-proofs/", "id") => Kind::ControlProof,
        ("/v1/webhooks/", "id") => Kind::Webhook,
        ("/v1/webhooks/", "delivery") => Kind::Delivery,
        ("/certs/", "sha256") | ("/v1/signers/", "chain") => Kind::Chain,
        _ => panic!("no example for {{{name}}} of {path}"),
    })
}

fn in_query(path: &str, name: &str) -> Option<Kind> {
    match (path, name) {
        ("/v1/grants" | "/v1/audit-events" | "/v1/audit-events/export", "account") => {
            Some(Kind::Account)
        }
        ("/v1/grants", "tn") | ("/v1/control-proofs", "number") => Some(Kind::Number),
        (
            _,
            "limit" | "cursor" | "state" | "at" | "format" | "ocn" | "spc" | "dry_run" | "confirm"
            | "force" | "subject" | "caller" | "action" | "outcome" | "request_id" | "from"
            | "until" | "after",
        ) => None,
        _ => panic!("no example for ?{name}= of {path}"),
    }
}

type Example = (
    Option<(&'static str, Value)>,
    &'static str,
    Vec<(&'static str, Kind)>,
);

/// A body that gets as far as it can, what stands behind the `?`, and the ids in the body.
fn example(operation: &str) -> Example {
    const JSON: &str = "application/json";
    let nothing = || (None, "", Vec::new());
    let body = |body: Value| (Some((JSON, body)), "", Vec::new());
    let naming = |body: Value, ids: Vec<(&'static str, Kind)>| (Some((JSON, body)), "", ids);
    match operation {
        "list_accounts"
        | "get_account"
        | "list_delegations"
        | "get_delegation"
        | "list_allocations"
        | "get_allocation"
        | "list_exclusions"
        | "get_exclusion"
        | "look_up_number"
        | "list_grants"
        | "get_grant"
        | "get_grant_status"
        | "follow_withdrawals"
        | "follow_control_failures"
        | "list_renewals"
        | "get_renewal"
        | "list_control_proofs"
        | "list_control_proofs_of_number"
        | "get_control_proof"
        | "list_webhooks"
        | "get_webhook"
        | "list_deliveries"
        | "list_jobs"
        | "get_job"
        | "list_audit_events"
        | "export_audit_events"
        | "list_signers"
        | "list_api_keys"
        | "get_api_key"
        | "get_chain"
        | "alive"
        | "ready"
        | "document" => nothing(),
        "suspend_account"
        | "resume_account"
        | "end_delegation"
        | "return_allocation"
        | "end_exclusion"
        | "reload_signers"
        | "revoke_api_key"
        | "end_webhook"
        | "revoke_renewal"
        | "rotate_webhook"
        | "replay_delivery"
        | "cancel_control_proof" => body(json!({})),
        "issue_token" | "renew_token" => body(asking(&["one:12125551901"])),
        "issue_spc_token" => body(json!({ "atc": asking(&["one:12125551901"]) })),
        // What a login tells of users has a scenario of its own.
        "log_in" => body(json!({ "userId": "x", "password": "x" })),
        "issue_tokens" => {
            let mut one = asking(&["one:12125551901"]);
            one["account"] = json!("shop");
            naming(
                json!({ "requests": [one] }),
                vec![("/requests/0/account", Kind::Account)],
            )
        }
        "start_control_proofs" => body(json!({ "numbers": ["+12125551901"], "method": "sms" })),
        "confirm_control_proof" => body(json!({ "code": "000000" })),
        "explain" => naming(
            json!({ "account": "shop", "numbers": [{ "start": "+12125551901", "count": 1 }] }),
            vec![("/account", Kind::Account)],
        ),
        // Without a parent it makes nothing: what a taken name tells has a scenario of its own.
        "put_account" => naming(
            json!({ "name": "x", "parent": null }),
            vec![("/parent", Kind::Account)],
        ),
        "set_lifetime" => body(json!({ "mode": "proof" })),
        "create_delegation" => naming(
            json!({ "start": "+12125551901", "count": 1, "parent": null }),
            vec![("/parent", Kind::Delegation)],
        ),
        "create_allocation" => {
            body(json!({ "start": "+16465550000", "count": 1, "spc": "1234", "basis": "block" }))
        }
        "create_exclusion" => {
            body(json!({ "start": "+12125551905", "count": 1, "reason": "reserved" }))
        }
        "create_disconnect" => {
            body(json!({ "start": "+12125551906", "count": 1, "class": "residential" }))
        }
        "withdraw_grant" | "distrust_signer" => body(json!({ "reason": "x" })),
        "undo_return" | "undo_job" => body(json!({ "mistake": true, "reason": "x" })),
        "start_import" => (
            Some(("text/csv", json!("start,reason\n+12125551904,aging\n"))),
            "?format=exclusions&dry_run=true",
            Vec::new(),
        ),
        "create_api_key" => naming(
            json!({ "role": "account", "accounts": ["shop"] }),
            vec![("/accounts/0", Kind::Account)],
        ),
        "create_renewal" => {
            let mut one = asking(&["one:12125551901"]);
            let members = one.as_object_mut().expect("an object");
            members.retain(|name, _| name == "tkvalue" || name == "fingerprint");
            one["account"] = json!("shop");
            one["delegation"] = json!(null);
            one["lifetime"] = json!(600);
            let loan = ("/delegation", Kind::Delegation);
            naming(one, vec![("/account", Kind::Account), loan])
        }
        "create_webhook" => naming(
            json!({ "url": "https://hooks.example.com/told", "account": "shop" }),
            vec![("/account", Kind::Account)],
        ),
        "replay_webhook" => body(json!({ "after": 0 })),
        "rotate_api_key" => body(json!({ "overlap": 60 })),
        "expire_api_key" => body(json!({ "at": "2027-01-01T00:00:00Z" })),
        _ => panic!("the walk has no example for the operation `{operation}`"),
    }
}

/// Members that name a thing have to stand in [`example`]; the others say something about the request itself.
fn members_must_be_known(document: &Value, body: &Value, operation: &str) {
    const NAME_THINGS: [&str; 4] = ["account", "accounts", "parent", "delegation"];
    const NAME_NOTHING: &str = "\
        control max_age requests numbers start count block ca lend_on lender_keeps valid_from valid_until \
        reference name mode spc basis reason class at lifetime tktype tkvalue fingerprint jwk dialect userId \
        password atc role label expires_at allow_from overlap not_after caller url kinds after tn dry_run \
        confirm force mistake method code protected payload signature override_limits";
    let mut members = Vec::new();
    collect_members(document, body, &mut members);
    for name in members {
        let known = NAME_THINGS.contains(&name.as_str())
            || NAME_NOTHING.split_whitespace().any(|one| one == name);
        assert!(
            known,
            "{operation}: the walk does not know the member `{name}`"
        );
    }
}

fn collect_members(document: &Value, schema: &Value, members: &mut Vec<String>) {
    match schema {
        Value::Object(object) => {
            for (name, value) in object {
                if name == "properties" {
                    members.extend(value.as_object().expect("members").keys().cloned());
                } else if name == "example" || name == "default" {
                    continue;
                } else if name == "$ref" {
                    let pointer = value.as_str().expect("a reference").trim_start_matches('#');
                    let target = document.pointer(pointer).expect(pointer);
                    collect_members(document, target, members);
                    continue;
                }
                collect_members(document, value, members);
            }
        }
        Value::Array(list) => {
            for value in list {
                collect_members(document, value, members);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
