//! The policies that decided, as callers see them over HTTP.

use serde_json::json;
use tn_authority::authority::PolicySet;

use crate::authority::policies::folder;
use crate::support::service::{Api, asking};
use crate::support::{Kind, Setup, World};

both!(
    the_policies_stand_in_grants_refusals_and_explanations,
    the_uniform_refusal_names_none,
);

fn the_policies_stand_in_grants_refusals_and_explanations(api: Api) {
    let issued = api.ask(&asking(&["one:12125551001"])).with(200);
    let path = format!("/v1/grants/{}", issued["jti"].as_str().expect("an id"));
    let grant = api.get(&api.auditor, &path).with(200);
    assert_eq!(grant["policies"], json!(["own-accounts"]));
    let set = api.world.authority.policies().in_force().set().to_owned();
    assert_eq!(grant["policy_set"], json!(set));
    assert_eq!(grant.get("policies_left_out"), None);

    let mut long = asking(&["one:12125551001", "spc:1234"]);
    long["lifetime"] = json!(90_000);
    let problem = api.ask(&long);
    let problem = problem.problem(403, "lifetime-not-allowed");
    assert_eq!(
        problem["policies"],
        json!(["longest-lifetime", "spc-for-the-carrier-alone"])
    );
    let bulk = json!({ "requests": [{
        "account": "acme", "tktype": "TNAuthList", "tkvalue": long["tkvalue"],
        "fingerprint": long["fingerprint"], "lifetime": 90_000,
    }] });
    let answers = api.post(&api.acme, "/v1/tokens", &bulk).with(200);
    assert_eq!(
        answers["items"][0]["problem"]["policies"], problem["policies"],
        "{answers}"
    );
    // What the configuration or a rule refuses, no policy does.
    let mut short = asking(&["one:12125551001"]);
    short["lifetime"] = json!(1);
    let problem = api.ask(&short);
    assert_eq!(
        problem.problem(403, "lifetime-not-allowed").get("policies"),
        None
    );
    let foreign = api.ask(&asking(&["one:12125551950"]));
    assert_eq!(foreign.problem(403, "not-authorized").get("policies"), None);

    let question = |lifetime: u32| json!({ "account": "acme", "numbers": [{ "start": "+12125551001", "count": 1 }], "lifetime": lifetime });
    let told = api
        .post(&api.acme, "/v1/explain", &question(3600))
        .with(200);
    assert_eq!(
        (&told["allowed"], &told["policies"]),
        (&json!(true), &json!(["own-accounts"]))
    );
    let told = api
        .post(&api.auditor, "/v1/explain", &question(90_000))
        .with(200);
    assert_eq!(told["denial"]["code"], "lifetime-not-allowed");
    assert_eq!(told["policies"], json!(["longest-lifetime"]));
}

fn the_uniform_refusal_names_none(kind: Kind) {
    let policies = r#"
        @id("provisioning") permit (principal, action in [Action::"manage", Action::"provision"], resource);
        @id("own") permit (principal, action in [Action::"ask", Action::"mint"], resource);
        @id("nobody-asks") @code("x") forbid (principal, action in [Action::"ask", Action::"mint"], resource == Account::"acme");
        @id("fails") forbid (principal, action in [Action::"ask", Action::"mint"], resource == Account::"other")
        when { context.lifetime * 9223372036854775807 > 0 };"#;
    let policy = PolicySet::from_dir(folder(&[("own.cedar", policies)]).path()).expect("policies");
    let setup = Setup {
        policy,
        ..Setup::default()
    };
    let api = Api::over(World::new(kind, setup));
    let other = api.key(tn_authority::domain::Role::Account, &["other"]);
    let asked = asking(&["one:12125551001"]);
    // Unknown, forbidden before the ask, and failing: nobody can tell.
    let mut too_long = asked.clone();
    too_long["lifetime"] = json!(90_000);
    let answers = [
        api.post(&api.acme, "/at/account/unknown/token", &asked),
        api.ask(&asked),
        api.post(&other, "/at/account/other/token", &asked),
        api.post(&other, "/at/account/other/token", &too_long),
        api.post(&api.admin, "/at/account/acme/token", &asked),
        api.post("tna_0000_wrong", "/at/account/acme/token", &asked),
    ];
    for answer in &answers {
        let problem = answer.problem(403, "forbidden");
        assert_eq!(problem.get("policies"), None);
        assert_eq!(answer.without_id(), answers[0].without_id());
    }
    let trail = |id: &str| api.world.trail(id).pop().expect("an event");
    // The trail knows.
    assert_eq!(trail("other").detail["policies"], json!(["fails"]));
    assert_eq!(trail("other").detail["policies_failed"], json!(true));
    assert_eq!(trail("acme").detail["policies"], json!(["nobody-asks"]));
}
