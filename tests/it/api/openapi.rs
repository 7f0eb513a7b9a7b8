//! The OpenAPI document: it is fresh and whole, and has only shapes that generators of clients understand.
//!
//! Linters and generators themselves run in `tests/clients`; what they need is checked here, where that is cheap.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::fixtures;

/// The committed document is the one that the handlers make: `UPDATE=1 cargo test` writes it.
#[test]
fn the_openapi_document_is_fresh() {
    let path = fixtures::path("../../deploy/openapi.json");
    let made = tn_authority::api::openapi::openapi();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, made).expect("written");
    }
    let known = std::fs::read_to_string(&path).expect("deploy/openapi.json");
    assert!(
        known == made,
        "deploy/openapi.json is not what the handlers say; write it with UPDATE=1"
    );
}

pub(super) fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = document["paths"].as_object().expect("paths").iter();
    let each = paths.flat_map(|(path, item)| {
        let methods = item.as_object().expect("operations").iter();
        methods.map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
    });
    each.collect()
}

/// Structure: references lead somewhere, parameters of paths are described, every operation has an id of its own, a
/// summary and answers that say what they are.
#[test]
fn the_openapi_document_is_whole() {
    let document: Value =
        serde_json::from_str(tn_authority::api::openapi::openapi()).expect("JSON");
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let id = operation["operationId"].as_str().expect("an id");
        assert!(ids.insert(id), "{id} twice");
        assert!(operation["summary"].is_string(), "{id}");
        let named: BTreeSet<&str> = path
            .split('{')
            .skip(1)
            .filter_map(|part| part.split('}').next())
            .collect();
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let described: BTreeSet<&str> = parameters
            .filter(|parameter| parameter["in"] == "path")
            .filter_map(|parameter| parameter["name"].as_str())
            .collect();
        assert_eq!(named, described, "{method} {path}");
        // Whoever holds a token may ask how it stands.
        let guarded = ["/v1/", "/at/", "/api/v1/account/"]
            .iter()
            .any(|start| path.starts_with(start))
            && path != "/v1/grants/{jti}/status";
        let security = operation["security"].as_array().expect(id);
        assert_eq!(!security.is_empty(), guarded, "{id}");
        for (status, response) in operation["responses"].as_object().expect("responses") {
            assert!(response["description"].is_string(), "{id} {status}");
            if status.starts_with(['4', '5']) {
                let schema = &response["content"]["application/problem+json"]["schema"]["$ref"];
                assert_eq!(schema, "#/components/schemas/Problem", "{id} {status}");
            } else {
                assert!(response["content"].is_object(), "{id} {status}");
            }
        }
        for status in ["401", "403", "503"] {
            assert!(
                !guarded || operation["responses"][status].is_object(),
                "{id} {status}"
            );
        }
    }
    let mut references = Vec::new();
    collect_references(&document, &mut references);
    assert!(references.len() > 50);
    for reference in references {
        let pointer = reference.strip_prefix('#').expect("a reference within");
        assert!(
            document.pointer(pointer).is_some(),
            "{reference} leads nowhere"
        );
    }
    assert_eq!(
        document["components"]["securitySchemes"]["bearer"]["scheme"],
        "bearer"
    );
}

fn collect_references<'a>(value: &'a Value, into: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            into.extend(members.get("$ref").and_then(Value::as_str));
            members
                .values()
                .for_each(|member| collect_references(member, into));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, into)),
        _ => {}
    }
}

fn document() -> Value {
    serde_json::from_str(tn_authority::api::openapi::openapi()).expect("JSON")
}

/// Calls back for every object of the document that is no data, with its path.
fn each_object(value: &Value, path: &str, found: &mut impl FnMut(&str, &Value)) {
    const DATA: [&str; 4] = ["default", "enum", "example", "examples"];
    match value {
        Value::Object(members) => {
            found(path, value);
            for (name, below) in members
                .iter()
                .filter(|(name, _)| !DATA.contains(&name.as_str()))
            {
                each_object(below, &format!("{path}/{name}"), found);
            }
        }
        Value::Array(items) => {
            for (index, below) in items.iter().enumerate() {
                each_object(below, &format!("{path}/{index}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let reference = schema["$ref"]
        .as_str()
        .and_then(|name| name.strip_prefix('#'));
    reference.map_or(schema, |pointer| document.pointer(pointer).expect(pointer))
}

/// What is added to one of several is left out by generators, without an error: a delegation without its numbers.
#[test]
fn nothing_is_added_to_one_of_several() {
    let document = document();
    let mut all = 0;
    each_object(&document, "", &mut |path, schema| {
        for part in schema["allOf"].as_array().into_iter().flatten() {
            let part = resolved(&document, part);
            let is_one_of = part["oneOf"].is_array() || part["anyOf"].is_array();
            assert!(
                !is_one_of,
                "{path}: give its alternatives names, so that they can be combined"
            );
            all += 1;
        }
    });
    assert!(all > 10, "{all}");
    // A type of an alternative without a name would be called `Type1`.
    each_object(&document, "", &mut |path, schema| {
        for one in schema["oneOf"].as_array().into_iter().flatten() {
            let has_name = one["$ref"].is_string() || one["type"] == "null";
            assert!(has_name, "{path}: give the alternative a name");
        }
    });
    // The numbers of each are required, and its own members too.
    let schemas = &document["components"]["schemas"];
    for (name, numbers) in [
        ("NumberBlock", vec!["block"]),
        ("NumberRange", vec!["start", "count"]),
    ] {
        let combined = schemas[format!("NewAllocation_{name}")]["allOf"]
            .as_array()
            .expect(name);
        let required = combined.iter().flat_map(|part| {
            let required = resolved(&document, part)["required"].as_array();
            required.into_iter().flatten().filter_map(Value::as_str)
        });
        assert_eq!(
            required.collect::<Vec<_>>(),
            [numbers, vec!["spc", "basis"]].concat()
        );
    }
    let bulk = ["BulkItem_TokenRequest", "BulkItem_AtcTokenRequest"];
    let bulk = bulk.map(|name| json!({ "$ref": format!("#/components/schemas/{name}") }));
    assert_eq!(schemas["BulkItem"]["oneOf"], json!(bulk));
}

/// A `Vec<u8>` would be an array of numbers, and lines of JSON are no JSON.
#[test]
fn bodies_that_are_no_json_are_texts_or_bytes() {
    let document = document();
    let mut seen = 0;
    each_object(&document, "", &mut |path, object| {
        let bodies = object["content"].as_object().into_iter().flatten();
        for (kind, body) in
            bodies.filter(|(kind, _)| !kind.ends_with("json") || kind.contains("ndjson"))
        {
            assert_eq!(
                resolved(&document, &body["schema"])["type"],
                "string",
                "{path} {kind}"
            );
            seen += 1;
        }
        // Larger integers have another format.
        let items = &object["items"];
        let is_bytes =
            object["type"] == "array" && items["type"] == "integer" && items["format"] == "int32";
        assert!(!is_bytes, "{path}: an array of bytes");
    });
    assert!(seen > 5, "{seen}");
    let table = &document["paths"]["/v1/imports"]["post"]["requestBody"]["content"];
    for (kind, body) in table.as_object().expect("media types") {
        assert_eq!(
            body["schema"],
            json!({ "type": "string", "format": "binary" }),
            "{kind}"
        );
    }
}

#[test]
fn an_object_lists_its_members_or_is_open() {
    let document = document();
    let mut open = BTreeSet::new();
    each_object(&document, "", &mut |path, schema| {
        if schema["type"] == "object" {
            let is_open = schema["additionalProperties"] == true;
            assert!(is_open || schema["properties"].is_object(), "{path}");
            open.extend(is_open.then(|| path.to_owned()));
        }
    });
    for member in [
        "TokenRequest/properties/jwk",
        "AuditEvent/properties/detail",
    ] {
        assert!(
            open.contains(&format!("/components/schemas/{member}")),
            "{member}: {open:?}"
        );
    }
}

/// A copy of a schema becomes a type of its own, and the original is one that nothing uses.
#[test]
fn a_named_schema_is_referred_to_and_not_copied() {
    let document = document();
    let schemas = document["components"]["schemas"]
        .as_object()
        .expect("schemas");
    let text = document.to_string();
    for (name, schema) in schemas {
        assert!(
            text.contains(&format!("\"#/components/schemas/{name}\"")),
            "{name} is not used"
        );
        let copies = text.matches(&schema.to_string()).count();
        assert_eq!(copies, 1, "{name} is repeated");
    }
}

#[test]
fn every_operation_is_described_for_its_readers() {
    let document = document();
    let tags: BTreeSet<&str> = document["tags"]
        .as_array()
        .expect("tags")
        .iter()
        .filter(|tag| {
            tag["description"]
                .as_str()
                .is_some_and(|text| !text.is_empty())
        })
        .filter_map(|tag| tag["name"].as_str())
        .collect();
    let mut used = BTreeSet::new();
    for (_, _, operation) in operations(&document) {
        let id = operation["operationId"].as_str().expect("an id");
        let summary = operation["summary"].as_str().expect(id);
        assert!(
            summary.ends_with('.') && !summary.contains('\n'),
            "{id}: {summary}"
        );
        let [tag] = operation["tags"].as_array().expect(id).as_slice() else {
            panic!("{id}: one tag, by which it is grouped");
        };
        let tag = tag.as_str().expect(id);
        assert!(
            tags.contains(tag),
            "{id}: the tag `{tag}` has no description"
        );
        used.insert(tag);
        // What takes nothing has nothing to refuse.
        let takes_something = ["parameters", "security"].iter().any(|member| {
            operation[member]
                .as_array()
                .is_some_and(|list| !list.is_empty())
        }) || operation["requestBody"].is_object();
        let responses = operation["responses"].as_object().expect(id);
        let refuses = responses.keys().any(|status| status.starts_with('4'));
        assert_eq!(refuses, takes_something, "{id}");
    }
    assert_eq!(used, tags);
    let info = &document["info"];
    assert!(info["contact"]["name"].is_string() && info["license"]["identifier"] == "Apache-2.0");
    // A client that was given the address of the document finds the service.
    assert_eq!(document["servers"][0]["url"], "/");
}

/// An optional member that must not be null is not said to be nullable: generators would send it.
#[test]
fn what_must_not_be_null_is_not_documented_as_nullable() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api/routes");
    let mut seen = 0;
    for file in fs::read_dir(root).expect("the routes") {
        let path = file.expect("a file").path();
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        let pieces: Vec<&str> = text.split("deserialize::not_null").collect();
        for attributes in pieces[..pieces.len() - 1]
            .iter()
            .map(|piece| piece.rsplit("///").next())
        {
            let attributes = attributes.expect("attributes");
            let is_right =
                attributes.contains("value_type = ") && !attributes.contains("value_type = Option");
            assert!(
                is_right,
                "{}: `value_type` without `Option`: {attributes}",
                path.display()
            );
            seen += 1;
        }
    }
    assert!(seen >= 10, "{seen}");
    let document = document();
    each_object(&document, "", &mut |path, parameter| {
        if parameter["in"] == "query" {
            assert!(parameter["schema"]["type"].is_string(), "{path}");
        }
    });
}

/// The text allows for what the pattern must allow for: lower case, for accounts in the legacy dialect.
#[test]
fn the_pattern_of_a_fingerprint_fits_its_text() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    let pattern = |schema: &str| &schemas[schema]["properties"]["fingerprint"]["pattern"];
    assert_eq!(
        pattern("TokenRequest"),
        "^SHA256( [0-9A-Fa-f]{2})(:[0-9A-Fa-f]{2}){31}$"
    );
    assert_eq!(
        pattern("NewRenewal"),
        "^SHA256( [0-9A-F]{2})(:[0-9A-F]{2}){31}$"
    );
}

/// All routes are documented, but for the page that shows the document to people.
#[test]
fn every_route_is_documented() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("src/api/router.rs")).expect("the router");
    let start = text.find("fn api_routes").expect("the routes of the API");
    let end = text
        .find("fn operations_routes")
        .expect("those of operators");
    let mut routed = BTreeSet::new();
    for route in text[start..end].split("route(\"").skip(1) {
        let (path, methods) = route.split_once('"').expect("a path");
        let methods = ["get", "post", "put"]
            .iter()
            .filter(|name| methods.contains(&format!(".{name}(")));
        routed.extend(methods.map(|method| (path.to_owned(), (*method).to_owned())));
    }
    assert!(routed.len() > 60, "{}", routed.len());
    routed.retain(|(path, _)| !path.starts_with("/docs"));
    let document = document();
    let documented = operations(&document)
        .into_iter()
        .map(|(path, method, _)| (path.to_owned(), method.to_owned()));
    assert_eq!(documented.collect::<BTreeSet<_>>(), routed);
}
