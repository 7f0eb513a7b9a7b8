//! Tokens for JWTClaimConstraints: who may have one, and how a CA reads it.

use serde_json::{Value, json};
use tn_authority::domain::{Dialect, Role, TkType, TkValue, TokenRequest};
use tn_authority::verifier::{Expectations, TrustList, verify};

use crate::domain::claim_constraints::{ENHANCED, read, tkvalue};
use crate::support::fixtures::member;
use crate::support::service::{Answer, Api};
use crate::support::{Kind, Setup, World, code, fingerprint};

both!(
    they_are_off_unless_switched_on,
    the_carrier_gets_a_token_that_a_ca_accepts,
    nobody_else_does,
    malformed_constraints_are_a_400,
    without_a_certificate_there_is_no_token,
);

fn switched_on(kind: Kind) -> Api {
    let setup = Setup {
        claim_constraints: true,
        ..Setup::default()
    };
    Api::over(World::new(kind, setup))
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
