//! What is read from objects, and how faults are worded.

use serde_json::json;

use super::*;

#[derive(Debug, Deserialize)]
struct Outer {
    inner: Inner,
    #[serde(default, deserialize_with = "not_null")]
    flag: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct Inner {
    count: u8,
}

#[derive(Debug)]
struct Both(Outer, Inner);

impl FromMembers for Both {
    fn known() -> Vec<&'static str> {
        [Outer::known(), Inner::known()].concat()
    }

    fn take_from(members: &mut Members) -> Result<Self, Fault> {
        Ok(Self(
            FromMembers::take_from(members)?,
            FromMembers::take_from(members)?,
        ))
    }
}

fn fault<T: FromMembers + std::fmt::Debug>(value: Value) -> String {
    let fault = object::<T>(value, "it").expect_err("a fault");
    format!("{}: {fault}", fault.code())
}

#[test]
fn several_values_are_read_from_one_object() {
    let value = json!({ "count": 2, "inner": { "count": 1 } });
    let Both(outer, inner) = object(value, "it").expect("an object");
    assert_eq!((outer.inner.count, outer.flag, inner.count), (1, None, 2));
    let more = json!({ "count": 2, "inner": { "count": 1 }, "more": 3 });
    assert_eq!(fault::<Both>(more), "unknown-member: `more` is unknown");
}

#[test]
fn a_mistyped_member_is_told_the_known_one() {
    for (value, expected) in [
        (
            json!({ "inner": { "count": 1 }, "falg": true }),
            "`falg` is unknown; is `flag` meant?",
        ),
        (
            json!({ "inner": { "conut": 1 } }),
            "`conut` is unknown; is `count` meant?",
        ),
        (
            json!({ "iner": { "count": 1 } }),
            "`iner` is unknown; is `inner` meant?",
        ),
        (json!({ "other": 1 }), "`inner` is missing"),
    ] {
        let said = fault::<Outer>(value);
        assert!(said.ends_with(expected), "{said}");
    }
}

#[test]
fn a_fault_names_the_innermost_member() {
    for (value, expected) in [
        (json!([]), "malformed-member: it is not a JSON object"),
        (json!({}), "missing-member: `inner` is missing"),
        (json!({ "inner": {} }), "missing-member: `count` is missing"),
        (
            json!({ "inner": null }),
            "malformed-member: `inner`: expected an object",
        ),
        (
            json!({ "inner": [1] }),
            "malformed-member: `inner`: expected an object",
        ),
        (
            json!({ "inner": { "count": 256 } }),
            "malformed-member: `count`: expected a whole number from 0 to 255",
        ),
        (
            json!({ "inner": { "count": 1, "more": 1 } }),
            "unknown-member: `more` is unknown",
        ),
        (
            json!({ "inner": { "count": 1 }, "flag": null }),
            "malformed-member: `flag`: expected true or false",
        ),
    ] {
        assert_eq!(fault::<Outer>(value), expected);
    }
}
