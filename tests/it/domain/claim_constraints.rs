//! JWTClaimConstraints (RFC 8226 §8, RFC 9118): their DER, in both directions.

use proptest::prelude::*;
use serde_json::{Value, json};
use tn_authority::domain::tokens::claim_constraints::{
    ClaimConstraints, ClaimName, Constraints, MAX_LENGTH, PermittedValues,
};

use crate::support::fixtures::{self, hex};

/// RFC 9118 §5, from the certificate that is printed there.
pub const ENHANCED: &str = "3040a00e300c160a636f6e666964656e6365a120301e301c160a636f6e666964656e6365300e0c04686967680c066d65\
                        6469756da20c300a16087072696f72697479";
/// `mustInclude` of `rcd`.
const RCD: &str = "3009a00730051603726364";

pub fn read(der: &str) -> Result<ClaimConstraints, String> {
    ClaimConstraints::from_der(&hex(der)).map_err(|e| e.to_string())
}

/// The `tkvalue` of [`ENHANCED`].
pub fn tkvalue() -> String {
    read(ENHANCED).expect("constraints").to_tkvalue()
}

#[test]
fn published_constraints_say_what_is_said_of_them() {
    let enhanced = read(ENHANCED).expect("the constraints of RFC 9118");
    let said = json!({
        "mustInclude": ["confidence"],
        "permittedValues": [{ "claim": "confidence", "values": ["high", "medium"] }],
        "mustExclude": ["priority"],
    });
    assert_eq!(json!(enhanced), said);
    assert_eq!(enhanced.as_der(), hex(ENHANCED));

    let plain = fixtures::bytes("vectors/housley_rfc8226_jwtcc_pem_text.der");
    let plain = ClaimConstraints::from_der(&plain).expect("the constraints of RFC 8226");
    let said = json!({
        "mustInclude": ["foo"],
        "permittedValues": [
            { "claim": "foo", "values": ["foo1", "foo2", "foo3"] },
            { "claim": "bar", "values": ["bar1", "bar2"] },
        ],
    });
    assert_eq!(json!(plain), said);
    for known in [enhanced, plain] {
        let again = ClaimConstraints::new(known.says().clone()).expect("what was read");
        assert_eq!(again, known);
        let tkvalue = known.to_tkvalue();
        assert_eq!(ClaimConstraints::from_tkvalue(&tkvalue), Ok(known));
    }
}

#[test]
fn malformed_der_is_told_what_is_wrong() {
    for (der, why) in [
        ("", "the value is empty"),
        ("3000", "is empty; at least one of mustInclude"),
        ("3080a007300516037263640000", "indefinite length"),
        ("308109a00730051603726364", "shortest form"),
        ("3009a007300516037263", "runs past the end"),
        (&format!("{RCD}00"), "trailing bytes after the constraints"),
        ("3109a00730051603726364", "expected a SEQUENCE"),
        ("3009a00730051303726364", "expected an IA5String"),
        ("3009a00730050c03726364", "expected an IA5String"),
        ("3009a0073005160372e364", "printable ASCII"),
        ("3009a00730051603722064", "printable ASCII"),
        ("3006a00430021600", "printable ASCII"),
        ("3004a0023000", "mustInclude is empty"),
        ("3004a1023000", "permittedValues is empty"),
        ("3004a2023000", "mustExclude is empty"),
        ("3007a3053003160161", "mustExclude, each once"),
        ("300780053003160161", "mustExclude, each once"),
        ("3005a003160161", "expected a SEQUENCE"),
        (
            "300e a0053003160161 a0053003160162",
            "each once and in this order",
        ),
        (
            "300e a2053003160161 a0053003160162",
            "each once and in this order",
        ),
        (
            "300a a0083006160161160161",
            "mustInclude names `a` more than once",
        ),
        (
            "300e a0053003160161 a2053003160161",
            "which no PASSporT can satisfy",
        ),
        ("3009 a2073005160369 6174", "every PASSporT has"),
        ("300b a1093007300516016 13000", "a list of values is empty"),
        (
            "3009 a107300530031601 61",
            "expected a claim and the list of its values",
        ),
        (
            "3010 a10e300c300a1601613005 0c01780500",
            "expected a UTF8String",
        ),
        (
            "3011 a10f300d300b1601613006 0c01780c0178",
            "has a value of `a` more than once",
        ),
        (
            "300e a10c300a30081601613003 160178",
            "expected a UTF8String",
        ),
        ("300e a10c300a30081601613003 0c01ff", "is not UTF-8"),
        (
            "3018 a1163014 30081601613003 0c0178 30081601613003 0c0179",
            "permittedValues names `a` more than once",
        ),
        (
            "3010 a10e300c300a1601613003 0c01780500",
            "expected a claim and the list",
        ),
    ] {
        let der = der.replace(' ', "");
        let error = read(&der).expect_err(&der);
        assert!(error.contains(why), "{der}: {error}, not {why}");
    }
    let long = Constraints {
        permitted_values: vec![PermittedValues {
            claim: "rcd".parse().expect("a name"),
            values: vec!["x".repeat(MAX_LENGTH)],
        }],
        ..Constraints::default()
    };
    let error = ClaimConstraints::new(long).expect_err("too long");
    assert!(
        error.to_string().contains("at most 16384 are accepted"),
        "{error}"
    );
}

#[test]
fn the_command_line_reads_and_writes_them() {
    let run = |args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tn-authority"));
        let output = command.arg("claim-constraints").args(args).output();
        let output = output.expect("the command");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text").trim().to_owned();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let said = [
        "encode",
        "--must-include",
        "confidence",
        "--permit",
        "confidence=high",
        "--permit",
        "confidence=medium",
        "--must-exclude",
        "priority",
    ];
    let (status, made, _) = run(&said);
    assert_eq!((status, made.as_str()), (Some(0), tkvalue().as_str()));
    let (status, read, _) = run(&["decode", &made]);
    let read: Value = serde_json::from_str(&read).expect("JSON");
    assert_eq!(status, Some(0));
    assert_eq!(read["mustExclude"], json!(["priority"]));
    for (wrong, why) in [
        (&["encode"][..], "is empty; at least one of mustInclude"),
        (&["encode", "--must-exclude", "iat"], "every PASSporT has"),
        (&["decode", "MAA"], "is empty; at least one of mustInclude"),
        (&["decode", "MA=="], "base64url"),
    ] {
        let (status, _, told) = run(wrong);
        assert!(status == Some(1) && told.contains(why), "{wrong:?}: {told}");
    }
    let (status, _, told) = run(&["encode", "--permit", "confidence"]);
    assert!(
        status == Some(2) && told.contains("expected CLAIM=VALUE"),
        "{told}"
    );
}

fn name() -> impl Strategy<Value = ClaimName> {
    "[!-~]{1,8}".prop_map(|text| text.parse().expect("a name"))
}

fn constraints() -> impl Strategy<Value = Constraints> {
    let names = || prop::collection::btree_set(name(), 0..4);
    let values = prop::collection::btree_set("\\PC{0,8}", 1..4);
    let permitted = prop::collection::btree_map(name(), values, 0..4);
    (names(), permitted, names()).prop_map(|(include, permitted, exclude)| Constraints {
        must_exclude: exclude
            .into_iter()
            .filter(|claim| !include.contains(claim))
            .collect(),
        must_include: include.into_iter().collect(),
        permitted_values: permitted
            .into_iter()
            .map(|(claim, values)| PermittedValues {
                claim,
                values: values.into_iter().collect(),
            })
            .collect(),
    })
}

proptest! {
    #[test]
    fn all_constraints_go_both_ways(says in constraints()) {
        match ClaimConstraints::new(says.clone()) {
            Ok(made) => {
                let read = ClaimConstraints::from_tkvalue(&made.to_tkvalue()).expect("its own value");
                prop_assert_eq!(read.says(), &says);
                prop_assert_eq!(&read, &made);
            }
            Err(_) => prop_assert!(says == Constraints::default()
                || says.must_exclude.iter().any(|c| ["iat", "orig", "dest"].contains(&c.as_str()))),
        }
    }

    #[test]
    fn no_bytes_make_the_reader_fall(der in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(read) = ClaimConstraints::from_der(&der) {
            prop_assert_eq!(read.as_der(), der);
        }
    }
}

/// There is no second spelling: a changed byte makes other constraints, which are written with that byte, or none.
#[test]
fn a_changed_byte_is_refused_or_makes_other_constraints() {
    let der = hex(ENHANCED);
    let mut taken = 0;
    for (place, change) in
        (0..der.len()).flat_map(|place| (1..=255).map(move |change| (place, change)))
    {
        let mut changed = der.clone();
        changed[place] ^= change;
        if let Ok(read) = ClaimConstraints::from_der(&changed) {
            let again = ClaimConstraints::new(read.says().clone()).expect("what was read");
            assert_eq!(again.as_der(), changed, "byte {place} ^ {change:#04x}");
            taken += 1;
        }
    }
    assert!(taken > 1_000, "{taken}");
}
