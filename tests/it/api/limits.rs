//! How often somebody may ask, over HTTP. The time of the limits is moved by hand.

use std::time::Duration;

use governor::clock::FakeRelativeClock;
use serde_json::{Value, json};
use tn_authority::authority::{LimitClock, Limits, Rate};
use tn_authority::domain::Role;

use crate::support::fixtures::{items, member};
use crate::support::service::{Answer, Api, asking};
use crate::support::{Kind, Setup, World};

both!(
    a_caller_that_asks_too_often_waits,
    an_account_that_asks_too_often_waits_and_no_stranger_uses_it_up,
    each_request_of_a_bulk_counts,
    a_peer_that_proves_nobody_is_slowed_down_and_others_are_not,
    a_proof_that_cannot_be_read_is_one_that_failed,
    a_peer_that_guesses_grants_is_slowed_down_and_a_ca_is_not,
);

/// An id that looks like one and is of no grant.
const NO_GRANT: &str = "00000000000000000000000000000000000000000000";

const NONE: Rate = Rate::NONE;

fn api(kind: Kind, caller: Rate, account: Rate, proof: Rate) -> (Api, FakeRelativeClock) {
    let clock = FakeRelativeClock::default();
    let limits = Limits::new(caller, account, proof, &LimitClock::Fake(clock.clone()));
    let setup = Setup {
        limits,
        ..Setup::default()
    };
    (Api::over(World::new(kind, setup)), clock)
}

const fn rate(per_second: u32, burst: u32) -> Rate {
    Rate { per_second, burst }
}

#[track_caller]
fn too_many(answer: &Answer) -> u64 {
    answer.problem(429, "too-many-requests");
    let seconds = answer.header("retry-after").expect("a time");
    seconds.parse().expect("whole seconds")
}

fn a_caller_that_asks_too_often_waits(kind: Kind) {
    let (api, clock) = api(kind, rate(1, 3), NONE, NONE);
    for _ in 0..3 {
        api.get(&api.auditor, "/v1/accounts").with(200);
    }
    assert_eq!(too_many(&api.get(&api.auditor, "/v1/accounts")), 1);
    assert_eq!(too_many(&api.get(&api.auditor, "/v1/grants")), 1);
    // Others have buckets of their own, and what is for everybody is not limited.
    api.get(&api.admin, "/v1/accounts").with(200);
    assert_eq!(api.get("", "/healthz").status, 200);
    clock.advance(Duration::from_secs(1));
    api.get(&api.auditor, "/v1/accounts").with(200);
    too_many(&api.get(&api.auditor, "/v1/accounts"));
    assert_eq!(
        api.world.count("limited_requests_total{limit=\"caller\"}"),
        3
    );
}

fn an_account_that_asks_too_often_waits_and_no_stranger_uses_it_up(kind: Kind) {
    let (api, clock) = api(kind, NONE, rate(1, 2), NONE);
    let other = api.key(Role::Account, &["other"]);
    for _ in 0..5 {
        let asked = asking(&["one:12125551001"]);
        api.post(&other, "/at/account/acme/token", &asked)
            .problem(403, "forbidden");
    }
    api.ask(&asking(&["one:12125551001"])).with(200);
    // A refusal counts as well.
    api.ask(&asking(&["one:12125551999"]))
        .problem(403, "not-authorized");
    let grants = api.world.grants().len();
    assert_eq!(too_many(&api.ask(&asking(&["one:12125551001"]))), 1);
    // By another key it is the same account.
    let portal = api.key(Role::Portal, &["acme", "other"]);
    let asked = asking(&["one:12125551001"]);
    too_many(&api.post(&portal, "/at/account/acme/token", &asked));
    api.post(&portal, "/at/account/other/token", &asked)
        .problem(403, "not-authorized");
    assert_eq!(api.world.grants().len(), grants);
    clock.advance(Duration::from_secs(1));
    api.ask(&asking(&["one:12125551001"])).with(200);
    assert_eq!(
        api.world.count("limited_requests_total{limit=\"account\"}"),
        2
    );
}

fn each_request_of_a_bulk_counts(kind: Kind) {
    let (api, _) = api(kind, NONE, rate(1, 3), NONE);
    let mut one = asking(&["one:12125551001"]);
    one["account"] = json!("acme");
    let answer = api
        .post(
            &api.acme,
            "/v1/tokens",
            &json!({ "requests": vec![one; 5] }),
        )
        .with(200);
    let answers = items(&answer["items"]);
    assert!(answers[..3].iter().all(|item| item["token"].is_string()));
    for item in &answers[3..] {
        let problem: &Value = &item["problem"];
        assert_eq!(
            (&problem["code"], &problem["status"]),
            (&json!("too-many-requests"), &json!(429))
        );
    }
    assert_eq!(api.world.grants().len(), 3);
}

fn a_peer_that_proves_nobody_is_slowed_down_and_others_are_not(kind: Kind) {
    let (api, clock) = api(kind, NONE, NONE, rate(1, 4));
    let no_key = "tna_0123456789abcdef_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for _ in 0..2 {
        api.get("", "/v1/accounts").problem(401, "unauthorized");
        api.get(no_key, "/v1/accounts").problem(403, "forbidden");
    }
    too_many(&api.get("", "/v1/accounts"));
    assert_eq!(too_many(&api.get(no_key, "/v1/accounts")), 1);
    // Whoever has a valid key behind the same address goes on.
    api.get(&api.auditor, "/v1/accounts").with(200);
    clock.advance(Duration::from_secs(1));
    api.get("", "/v1/accounts").problem(401, "unauthorized");
    assert_eq!(
        api.world
            .count("unproven_total{proof=\"none\",reason=\"missing\"}"),
        4
    );
    assert_eq!(
        api.world
            .count("unproven_total{proof=\"api-key\",reason=\"unknown\"}"),
        3
    );
    assert_eq!(
        api.world.count("limited_requests_total{limit=\"proof\"}"),
        2
    );
    // Nothing of it is in the trail, which strangers cannot fill.
    let caller = api.world.caller(Role::Auditor, &[]);
    let page = tn_authority::authority::Page::new(1_000, None);
    let filter = tn_authority::authority::EventFilter::default();
    let trail = api.world.authority.audit_events(&caller, filter, &page);
    let trail = trail.expect("the trail").items;
    assert!(
        trail.iter().all(|event| event.outcome == "done"),
        "{trail:?}"
    );
}

fn a_proof_that_cannot_be_read_is_one_that_failed(kind: Kind) {
    let (api, _) = api(kind, NONE, NONE, rate(1, 3));
    let ask = |fields: &str| api.send("GET", "/v1/accounts", fields, b"");
    let twice = format!("authorization: Bearer {}\r\n", api.auditor).repeat(2);
    ask(&twice).problem(403, "forbidden");
    ask("authorization: Bearer \u{e4}\r\n").problem(403, "forbidden");
    ask(&twice).problem(403, "forbidden");
    too_many(&ask(&twice));
    too_many(&api.get("", "/v1/accounts"));
    api.get(&api.auditor, "/v1/accounts").with(200);
}

fn a_peer_that_guesses_grants_is_slowed_down_and_a_ca_is_not(kind: Kind) {
    let (api, clock) = api(kind, NONE, NONE, rate(1, 4));
    let issued = api.ask(&asking(&["one:12125551001"])).with(200);
    let status = |jti: &str| api.get("", &format!("/v1/grants/{jti}/status"));
    for _ in 0..2 {
        status(NO_GRANT).problem(404, "not-found");
        status("x").problem(404, "not-found");
    }
    assert_eq!(too_many(&status(NO_GRANT)), 1);
    assert_eq!(too_many(&status("x")), 1);
    // It is the bucket of all that prove nothing.
    too_many(&api.get("", "/v1/accounts"));
    // Whoever holds a token behind the same address goes on.
    for _ in 0..8 {
        status(member(&issued, "jti")).with(200);
    }
    clock.advance(Duration::from_secs(1));
    status(NO_GRANT).problem(404, "not-found");
    too_many(&status(NO_GRANT));
    assert_eq!(
        api.world.count("limited_requests_total{limit=\"proof\"}"),
        4
    );
}
