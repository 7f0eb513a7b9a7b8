//! JWTClaimConstraints (RFC 8226 §8, RFC 9118): their DER, who may have a token for them, and how it is verified.

use proptest::prelude::*;
use serde_json::{Value, json};
use tn_authority::domain::claim_constraints::{
    ClaimConstraints, ClaimName, Constraints, LONGEST, PermittedValues,
};
use tn_authority::domain::{Dialect, Role, TkType, TkValue, TokenRequest};
use tn_authority::verifier::{Expectations, TrustList, verify};

use crate::fixtures::{self, hex, member};
use crate::service::{Answer, Api};
use crate::support::{Kind, Setup, World, code, fingerprint};

both!(
    they_are_off_unless_switched_on,
    the_carrier_gets_a_token_that_a_ca_accepts,
    nobody_else_does,
    malformed_constraints_are_a_400,
    without_a_certificate_there_is_no_token,
);

/// RFC 9118 §5, from the certificate that is printed there.
const ENHANCED: &str = "3040a00e300c160a636f6e666964656e6365a120301e301c160a636f6e666964656e6365300e0c04686967680c066d65\
                        6469756da20c300a16087072696f72697479";
/// `mustInclude` of `rcd`.
const RCD: &str = "3009a00730051603726364";

fn read(der: &str) -> Result<ClaimConstraints, String> {
    ClaimConstraints::from_der(&hex(der)).map_err(|e| e.to_string())
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
        ("3000", "says nothing"),
        ("3080a007300516037263640000", "indefinite length"),
        ("308109a00730051603726364", "shortest form"),
        ("3009a007300516037263", "runs past the end"),
        (&format!("{RCD}00"), "bytes follow behind the constraints"),
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
            "which no PASSporT can fulfil",
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
            values: vec!["x".repeat(LONGEST)],
        }],
        ..Constraints::default()
    };
    let error = ClaimConstraints::new(long).expect_err("too long");
    assert!(error.to_string().contains("more than the 16384"), "{error}");
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

fn switched_on(kind: Kind) -> Api {
    let setup = Setup {
        claim_constraints: true,
        ..Setup::default()
    };
    Api::over(World::new(kind, setup))
}

fn tkvalue() -> String {
    read(ENHANCED).expect("constraints").to_tkvalue()
}

fn asking(tkvalue: &str) -> Value {
    json!({ "tktype": "JWTClaimConstraints", "tkvalue": tkvalue, "ca": false, "fingerprint": fingerprint() })
}

fn carrier_asks(api: &Api, body: &Value) -> Answer {
    let carrier = api.key(Role::Account, &["carrier"]);
    api.post(&carrier, "/at/account/carrier/token", body)
}

fn they_are_off_unless_switched_on(api: Api) {
    carrier_asks(&api, &asking(&tkvalue())).problem(400, "unsupported-tktype");
    api.post(&api.admin, "/at/account/carrier/token", &asking(&tkvalue()))
        .problem(400, "unsupported-tktype");
    assert_eq!(api.world.grants(), []);
}

fn the_carrier_gets_a_token_that_a_ca_accepts(kind: Kind) {
    let api = switched_on(kind);
    let issued = carrier_asks(&api, &asking(&tkvalue())).with(200);
    let token = member(&issued, "token");

    let grant = api.get(
        &api.auditor,
        &format!("/v1/grants/{}", member(&issued, "jti")),
    );
    let grant = grant.with(200);
    assert_eq!(grant["tktype"], "JWTClaimConstraints");
    assert_eq!(grant["tkvalue"], tkvalue());
    assert_eq!(
        (&grant["numbers"], &grant["spcs"]),
        (&json!([]), &json!([]))
    );
    let listed = api
        .get(&api.auditor, "/v1/grants?account=carrier")
        .with(200);
    assert_eq!(listed["items"], json!([grant]));

    let chain = std::fs::read_to_string(api.world.signers.join("chain.pem")).expect("a chain");
    let mut trust = TrustList::default();
    trust.trust_pem(&chain).expect("certificates");
    let of = |tktype, text: &str| TkValue::read(tktype, text, Dialect::Strict).expect("a value");
    let expected = Expectations {
        trust,
        fingerprint: fingerprint(),
        tktype: TkType::JwtClaimConstraints,
        dialect: Dialect::Strict,
        identifier: Some(of(TkType::JwtClaimConstraints, &tkvalue())),
        ca: Some(false),
        audience: None,
    };
    let now = api.world.now();
    let report = verify(token, &expected, now);
    assert!(report.accepted(), "{report}");
    assert_eq!(report.claims().expect("claims")["atc"], asking(&tkvalue()));

    let other = read("3009a00730051603726364").expect("constraints");
    let failed = |expected: &Expectations| -> Vec<usize> {
        let report = verify(token, expected, now);
        report.failures().map(|step| step.number).collect()
    };
    let others = Expectations {
        identifier: Some(other.into()),
        ..expected.clone()
    };
    assert_eq!(failed(&others), [6]);
    // A CA that expects numbers does not take it for numbers.
    let numbers = Expectations {
        tktype: TkType::TnAuthList,
        identifier: None,
        ..expected
    };
    assert_eq!(failed(&numbers), [5, 6]);
}

fn nobody_else_does(kind: Kind) {
    let api = switched_on(kind);
    let asked = asking(&tkvalue());
    api.ask(&asked)
        .problem(403, "claim-constraints-not-allowed");
    api.post(&api.admin, "/at/account/acme/token", &asked)
        .problem(403, "claim-constraints-not-allowed");
    // Who may not ask at all learns nothing.
    api.post(&api.acme, "/at/account/carrier/token", &asked)
        .problem(403, "forbidden");
    let long = json!({
        "tktype": "JWTClaimConstraints", "tkvalue": tkvalue(), "fingerprint": fingerprint(), "lifetime": 86_401,
    });
    carrier_asks(&api, &long).problem(403, "lifetime-not-allowed");
    assert_eq!(api.world.grants(), []);
    let refused = api.world.trail("acme");
    let refused = refused.last().expect("a refusal in the trail");
    assert_eq!(refused.outcome, "claim-constraints-not-allowed");
    assert_eq!(refused.detail["tktype"], "JWTClaimConstraints");

    api.world.suspends("carrier");
    carrier_asks(&api, &asked).problem(403, "forbidden");
}

fn malformed_constraints_are_a_400(kind: Kind) {
    let api = switched_on(kind);
    let list = "MAigBhYEMTIzNA";
    for wrong in [list, "", "MAA", "MAAA", "!", &tkvalue()[..20]] {
        carrier_asks(&api, &asking(wrong)).problem(400, "malformed-tkvalue");
    }
    // Constraints are no list of numbers either.
    let mut as_list = asking(&tkvalue());
    as_list["tktype"] = json!("TNAuthList");
    carrier_asks(&api, &as_list).problem(400, "malformed-tkvalue");
    for tktype in ["jwtclaimconstraints", "EnhancedJWTClaimConstraints", ""] {
        let mut body = asking(&tkvalue());
        body["tktype"] = json!(tktype);
        carrier_asks(&api, &body).problem(400, "unsupported-tktype");
    }
}

fn without_a_certificate_there_is_no_token(kind: Kind) {
    let setup = Setup {
        certificate_lasts: 600,
        claim_constraints: true,
        ..Setup::default()
    };
    let world = World::new(kind, setup);
    world.knows("carrier");
    let ask = || {
        let constraints = read(ENHANCED).expect("constraints");
        let request = TokenRequest::new(constraints, false, fingerprint(), None);
        let carrier = world.caller(Role::Account, &["carrier"]);
        world.mints_as(&carrier, "carrier", request.expect("a request"))
    };
    let issued = ask().expect("a token");
    // The certificate ends before the token would.
    assert!(issued.expires <= world.in_seconds(600));
    world.seconds_pass(400);
    assert_eq!(code(&ask()), "ends-too-soon");
    world.seconds_pass(400);
    assert_eq!(code(&ask()), "no-certificate");
}
