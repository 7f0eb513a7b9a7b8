//! What a reseller learns beside the walk: that a name is taken, and its own part of a grant.

use serde_json::{Value, json};
use tn_authority::domain::Role;

use super::two_tenants;
use crate::support::Kind as Database;
use crate::support::fixtures::{items, member};
use crate::support::service::{Api, asking};

both!(
    a_taken_name_is_all_that_a_reseller_can_find_out,
    a_reseller_sees_its_own_part_of_a_grant,
);

/// Names of accounts are one for the whole carrier, so whoever may make one finds out that it is taken; and nothing else.
fn a_taken_name_is_all_that_a_reseller_can_find_out(kind: Database) {
    let api = Api::with_facade(kind.into());
    two_tenants(&api);
    let key = api.key(Role::Provisioner, &["wholesale"]);
    let put = |id: &str, body: &Value| api.put(&key, &format!("/v1/accounts/{id}"), body);
    let good = json!({ "parent": "wholesale" });
    api.post(
        &api.admin,
        "/v1/accounts/tenant-foreign/suspend",
        &json!({}),
    )
    .with(200);
    let below = json!({ "parent": "tenant-foreign" });
    api.put(&api.admin, "/v1/accounts/tenant-below--", &below)
        .with(201);
    let taken = put("tenant-foreign", &good);
    taken.problem(409, "parent-change");
    for other in ["tenant-below--", "carrier", "acme"] {
        assert_eq!(
            put(other, &good).without_id(),
            taken.without_id(),
            "{other}"
        );
    }
    // Who could not make it anyhow is not told even that.
    for body in [
        json!({}),
        json!({ "parent": "acme" }),
        json!({ "parent": "nobody" }),
    ] {
        let [known, none] = ["tenant-foreign", "tenant-missing"].map(|id| put(id, &body));
        assert_eq!(known.without_id(), none.without_id(), "{body}");
        assert!((400..500).contains(&known.status));
    }
    // Each try that would have been one leaves an account behind, by which it is seen.
    put("tenant-missing", &good).with(201);
    let trail = api.world.trail("tenant-missing");
    let made = trail.iter().filter(|event| event.outcome == "done");
    assert_eq!(made.count(), 1);
}

fn a_reseller_sees_its_own_part_of_a_grant(kind: Database) {
    let api = Api::with_facade(kind.into());
    let (_, askers) = two_tenants(&api);
    let reseller = &askers.iter().find(|asker| asker.name == "a reseller");
    let reseller = &reseller.expect("a reseller").key;
    let lent = json!({ "start": "+12125551902", "count": 1 });
    let lent = api
        .post(reseller, "/v1/accounts/shop/delegations", &lent)
        .with(201);
    let shop = api.key(Role::Account, &["shop"]);
    let wanted = asking(&["one:12125551902"]);
    let path = "/at/account/shop/token";
    let by_shop = api.post(&shop, path, &wanted).with(200);
    let by_admin = api.post(&api.admin, path, &wanted).with(200);
    let grants = api.get(reseller, "/v1/grants").with(200);
    let known = api.get(reseller, "/v1/numbers/+12125551902").with(200);
    let ended = api.post(
        reseller,
        &format!("/v1/delegations/{}/end", member(&lent, "id")),
        &json!({}),
    );
    let ended = ended.with(200);
    for list in [
        &grants["items"],
        &known["grants"],
        &ended["outstanding_grants"],
    ] {
        let of = |jti: &Value| {
            let grant = items(list).iter().find(|grant| grant["jti"] == *jti);
            grant.expect("a grant").clone()
        };
        let (own, foreign) = (of(&by_shop["jti"]), of(&by_admin["jti"]));
        assert_eq!(own["caller"], shop[4..20]);
        assert_eq!(foreign["caller"], "");
        for grant in [own, foreign] {
            let rows = items(&grant["justified_by"]).iter();
            let mut kinds: Vec<&str> = rows.map(|row| member(row, "kind")).collect();
            kinds.sort_unstable();
            assert_eq!(kinds, ["allocation", "delegation", "delegation"], "{grant}");
        }
    }
    // The customer of a reseller of a reseller: what stands above the one who asks is not shown.
    let auditor = api.key(Role::Auditor, &["shop"]);
    let grants = api.get(&auditor, "/v1/grants").with(200);
    let rows = &items(&grants["items"])[0]["justified_by"];
    let loans = items(rows).iter().filter(|row| row["kind"] == "delegation");
    let loans: Vec<&Value> = loans.map(|row| &row["id"]).collect();
    assert_eq!(loans, [&lent["id"]]);
}
