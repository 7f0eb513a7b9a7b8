//! A client that repeats a refused request does not fill the disk.

use serde_json::Value;
use tn_authority::domain::Role;
use tn_authority::domain::clock::rfc3339;

use crate::authority::idempotency::count;
use crate::support::fixtures::items;
use crate::support::service::{Api, asking};
use crate::support::wait;

both!(
    refusals_of_one_second_are_summed,
    accounts_that_are_invented_are_summed_together,
    sums_outlive_a_moment_without_the_database,
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
    let done = events(&api, "done");
    let issued = done.iter().filter(|event| event["action"] == "issue");
    assert_eq!(issued.count(), 12);

    // The second is over.
    let start = api.world.now();
    api.world.seconds_pass(1);
    write_sums(&api, false);
    let all = events(&api, "not-authorized");
    let (sum, singles) = all.split_last().expect("events");
    assert!(
        singles
            .iter()
            .all(|event| event["detail"]["count"].is_null())
    );
    assert_eq!(singles.len(), 10);
    assert_eq!(sum["subject"], "acme");
    assert_eq!(sum["account"], "acme");
    let detail = &sum["detail"];
    assert_eq!(detail["count"], 40);
    for time in ["first", "last"] {
        assert_eq!(detail[time], rfc3339(&start));
    }
    assert!(detail["tkvalue"].is_null(), "{detail}");
    write_sums(&api, true);
    assert_eq!(events(&api, "not-authorized").len(), 11);
}

fn write_sums(api: &Api, all: bool) {
    let store = api.world.authority.store();
    wait(store.write_refusal_sums(api.world.now(), all)).expect("written");
}

fn accounts_that_are_invented_are_summed_together(api: Api) {
    for n in 0..30 {
        let path = format!("/at/account/invented-{n}/token");
        api.post(&api.acme, &path, &asking(&["one:12125551001"]))
            .problem(403, "forbidden");
    }
    // At the stop of the service, in the same second.
    write_sums(&api, true);
    let all = events(&api, "forbidden");
    assert_eq!(all.len(), 11);
    assert_eq!(all[10]["subject"], "*");
    assert_eq!(all[10]["detail"]["count"], 20);
    // Of another key, they are counted separately.
    let other = api.key(Role::Account, &["other"]);
    let path = "/at/account/acme/token";
    api.post(&other, path, &asking(&["one:12125551001"]))
        .problem(403, "forbidden");
    assert_eq!(events(&api, "forbidden").len(), 12);
}

fn sums_outlive_a_moment_without_the_database(api: Api) {
    for _ in 0..15 {
        api.ask(&asking(&["one:12125551999"]))
            .problem(403, "not-authorized");
    }
    let rename = |from: &str, to: &str| {
        let sql = format!("ALTER TABLE {from} RENAME TO {to}");
        api.world.db.execute(&sql);
    };
    rename("audit_events", "gone");
    let store = api.world.authority.store();
    assert!(wait(store.write_refusal_sums(api.world.now(), true)).is_err());
    rename("gone", "audit_events");
    write_sums(&api, true);
    let all = events(&api, "not-authorized");
    assert_eq!((all.len(), &all[10]["detail"]["count"]), (11, &5.into()));
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
