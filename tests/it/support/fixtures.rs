//! Reads `tests/fixtures/`.

use std::path::PathBuf;

use serde_json::Value;

pub fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

pub fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).expect(name)
}

pub fn text(name: &str) -> String {
    String::from_utf8(bytes(name)).expect(name)
}

pub fn json(name: &str) -> Value {
    serde_json::from_slice(&bytes(name)).expect(name)
}

/// The items of an array.
pub fn items(value: &Value) -> &[Value] {
    value.as_array().expect("an array")
}

/// The text of a member.
pub fn member<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().expect(name)
}

pub fn hex(text: &str) -> Vec<u8> {
    hex::decode(text).expect("hex")
}
