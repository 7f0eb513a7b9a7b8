//! A client that repeats a refused request does not fill the disk.

use serde_json::Value;

use crate::authority::idempotency::count;
use crate::support::fixtures::items;
use crate::support::service::{Api, asking};
use crate::support::wait;

both!(
    refusals_of_one_second_are_summed,
    answers_to_refusals_are_kept_for_ten_minutes
);

/// The events of this outcome.
fn events(api: &Api, outcome: &str) -> Vec<Value> {
    let path = format!("/v1/audit-events?limit=1000&outcome={outcome}");
    let page = api.get(&api.auditor, &path).with(200);
    items(&page["items"]).to_vec()
}

fn refusals_of_one_second_are_summed(api: Api) {
    for _ in 0..50 {
        api.ask(&asking(&["one:12125551999"]))
            .problem(403, "not-authorized");
    }
    for _ in 0..12 {
        api.ask(&asking(&["one:12125551001"])).with(200);
    }
    assert_eq!(events(&api, "not-authorized").len(), 10);
}

fn answers_to_refusals_are_kept_for_ten_minutes(api: Api) {
    let path = "/at/account/acme/token";
    let ask = |entry: &str, key: &str| api.once(key, &api.acme, path, &asking(&[entry]));
    ask("one:12125551001", "granted").with(200);
    ask("one:12125551999", "refused").problem(403, "not-authorized");
    let kept = || count(&api.world.db, "idempotency_keys");
    api.world.seconds_pass(599);
    while wait(api.world.authority.forget_keys()).expect("expired") {}
    assert_eq!(kept(), 2);
    api.world.seconds_pass(1);
    while wait(api.world.authority.forget_keys()).expect("expired") {}
    assert_eq!(kept(), 1);
}
