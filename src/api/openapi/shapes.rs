//! Gives the schemas of the OpenAPI document the shapes that linters and generators of clients
//! read. They still describe the same bodies.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// Where the schemas with names are.
const SCHEMAS: &str = "/components/schemas";
const REFERENCE: &str = "#/components/schemas/";
/// Members whose values are data, not schemas.
const DATA: [&str; 4] = ["default", "enum", "example", "examples"];

/// Applies all changes, each of which relies on the previous ones.
pub(super) fn shape(document: &mut Value) {
    refer_to_named_schemas(document);
    split_alternatives(document);
    each_below(document, &mut open_free_object);
    each_below(document, &mut no_null_in_query);
    each_below(document, &mut join_lines);
}

/// Replaces copies of named schemas by references: generators make a type of each copy, and linters
/// report the original as unused. The arguments of generic views are such copies.
fn refer_to_named_schemas(document: &mut Value) {
    let Some(Value::Object(named)) = document.pointer(SCHEMAS).cloned() else {
        return;
    };
    let mut refer = |value: &mut Value| {
        if let Some((name, _)) = named.iter().find(|(_, schema)| *schema == value) {
            *value = reference(name);
        }
    };
    if let Some(paths) = document.get_mut("paths") {
        each_below(paths, &mut refer);
    }
    if let Some(Value::Object(schemas)) = document.pointer_mut(SCHEMAS) {
        schemas
            .values_mut()
            .for_each(|schema| each_below(schema, &mut refer));
    }
}

/// Turns "one of A and B, and C as well" into "one of A with C, and B with C": generators leave out
/// what is one of several if more is added to it, without an error. The combinations get names.
fn split_alternatives(document: &mut Value) {
    let Some(Value::Object(schemas)) = document.pointer_mut(SCHEMAS) else {
        return;
    };
    let mut sorted = BTreeMap::new();
    for (name, schema) in schemas.iter() {
        let combined = combinations(schemas, name, schema);
        if combined.is_empty() {
            sorted.insert(name.clone(), schema.clone());
            continue;
        }
        let mut split = Map::new();
        let references = combined.iter().map(|(name, _)| reference(name)).collect();
        split.insert("oneOf".to_owned(), Value::Array(references));
        split.extend(member(schema, "description"));
        sorted.insert(name.clone(), Value::Object(split));
        sorted.extend(combined);
    }
    *schemas = sorted.into_iter().collect();
}

/// The combinations that a schema allows, with their names. None if it is not such a schema, or if
/// an alternative has no name from which that of its combination can be made.
fn combinations(schemas: &Map<String, Value>, name: &str, schema: &Value) -> Vec<(String, Value)> {
    let Some(parts) = schema["allOf"].as_array() else {
        return Vec::new();
    };
    let alternatives = |part: &Value| -> Option<Vec<String>> {
        let target = schemas.get(referred(part)?)?;
        let references = target["oneOf"].as_array()?.iter().map(referred);
        references.map(|name| name.map(str::to_owned)).collect()
    };
    let several = parts
        .iter()
        .enumerate()
        .find_map(|(index, part)| Some((index, alternatives(part)?)));
    let Some((index, alternatives)) = several else {
        return Vec::new();
    };
    let combine = |alternative: String| {
        let mut parts = parts.clone();
        parts[index] = reference(&alternative);
        let mut combined = Map::new();
        combined.insert("allOf".to_owned(), Value::Array(parts));
        combined.extend(member(schema, "description"));
        (format!("{name}_{alternative}"), Value::Object(combined))
    };
    alternatives.into_iter().map(combine).collect()
}

/// Says that an object whose members are not listed can have any. Without that, generators make a
/// type without members of it.
fn open_free_object(value: &mut Value) {
    let Value::Object(schema) = value else { return };
    let is_listed = ["properties", "additionalProperties"]
        .iter()
        .any(|name| schema.contains_key(*name));
    if schema.get("type") == Some(&json!("object")) && !is_listed {
        schema.insert("additionalProperties".to_owned(), json!(true));
    }
}

/// A parameter can be left out, but there is no null that could be sent.
fn no_null_in_query(value: &mut Value) {
    if value["in"] != "query" {
        return;
    }
    if let Some(kind) = value.pointer_mut("/schema/type")
        && let Some([one, _]) = kind.as_array().map(Vec::as_slice)
    {
        *kind = one.clone();
    }
}

/// Makes each paragraph one line: in the sources, lines are wrapped for their readers.
fn join_lines(value: &mut Value) {
    for name in ["summary", "description"] {
        if let Some(Value::String(text)) = value.get_mut(name) {
            let paragraphs: Vec<String> = text
                .split("\n\n")
                .map(|paragraph| paragraph.replace('\n', " "))
                .collect();
            *text = paragraphs.join("\n\n");
        }
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("{REFERENCE}{name}") })
}

fn referred(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.strip_prefix(REFERENCE)
}

fn member(schema: &Value, name: &str) -> Option<(String, Value)> {
    Some((name.to_owned(), schema.get(name)?.clone()))
}

/// Changes every value below this one, outside of data; those that it replaces too.
fn each_below(value: &mut Value, change: &mut impl FnMut(&mut Value)) {
    let mut step = |below: &mut Value| {
        change(below);
        each_below(below, change);
    };
    match value {
        Value::Object(members) => members
            .iter_mut()
            .filter(|(name, _)| !DATA.contains(&name.as_str()))
            .for_each(|(_, below)| step(below)),
        Value::Array(items) => items.iter_mut().for_each(step),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternatives_with_more_are_combined() {
        let mut document = json!({ "components": { "schemas": {
            "Either": { "oneOf": [reference("Left"), reference("Right")] },
            "Left": { "type": "object", "properties": { "left": {} } },
            "More": { "type": "object" },
            "Right": { "type": "object", "properties": { "right": {} } },
            "Whole": { "allOf": [reference("Either"), reference("More")], "description": "a\nb\n\nc" },
        } } });
        shape(&mut document);
        let schemas = document.pointer(SCHEMAS).expect("schemas");
        assert_eq!(
            schemas["Whole"],
            json!({ "oneOf": [reference("Whole_Left"), reference("Whole_Right")], "description": "a b\n\nc" })
        );
        assert_eq!(
            schemas["Whole_Right"],
            json!({ "allOf": [reference("Right"), reference("More")], "description": "a b\n\nc" })
        );
        assert_eq!(schemas["More"]["additionalProperties"], true);
    }

    #[test]
    fn a_copy_of_a_named_schema_is_a_reference() {
        let thing = json!({ "type": "object", "properties": { "id": {} } });
        let mut document = json!({
            "paths": { "/": { "get": { "schema": thing, "example": thing } } },
            "components": { "schemas": {
                "Page": { "properties": { "items": { "items": thing } } },
                "Thing": thing,
            } },
        });
        shape(&mut document);
        assert_eq!(document["paths"]["/"]["get"]["schema"], reference("Thing"));
        assert_eq!(document["paths"]["/"]["get"]["example"], thing);
        let schemas = document.pointer(SCHEMAS).expect("schemas");
        assert_eq!(schemas["Thing"], thing);
        assert_eq!(
            schemas["Page"]["properties"]["items"]["items"],
            reference("Thing")
        );
    }
}
