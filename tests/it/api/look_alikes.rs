//! Names that look alike differ by characters that can be seen.

use serde_json::json;

use crate::support::fingerprint;
use crate::support::service::{Api, asking};

both!(
    what_no_one_can_see_is_refused_wherever_people_write,
    a_name_from_before_can_be_read,
);

fn what_no_one_can_see_is_refused_wherever_people_write(api: Api) {
    let delegation = api.world.lends("acme", "+12125551950");
    let grant = api.ask(&asking(&["one:12125551001"])).with(200);
    let jti = grant["jti"].as_str().expect("a jti").to_owned();
    for hidden in [
        "Acme\u{feff}",
        "Acme\u{e0001}",
        "Acme\u{200b}",
        "Ac\u{ad}me",
        "Acme\u{3164}",
        "Acme\u{a0}Inc",
        "Acme\u{fe0f}",
        "Acme ",
        " Acme",
        "Acme  Inc",
    ] {
        let name = json!({ "name": hidden });
        api.put(&api.provisioner, "/v1/accounts/umbrella", &name)
            .problem(400, "malformed-member");
        let key = json!({ "role": "account", "accounts": ["acme"], "label": hidden });
        api.post(&api.admin, "/v1/api-keys", &key)
            .problem(400, "malformed-member");
        let lent = json!({
            "start": "+12125551960", "count": 1, "reference": hidden,
        });
        api.post(&api.provisioner, "/v1/accounts/acme/delegations", &lent)
            .problem(400, "malformed-member");
        let path = format!("/v1/grants/{jti}/withdraw");
        api.post(&api.provisioner, &path, &json!({ "reason": hidden }))
            .problem(400, "malformed-member");
        let renewal = json!({
            "account": "acme", "delegation": delegation.row.id, "tkvalue": "MAo", "lifetime": 600,
            "fingerprint": fingerprint().to_string(), "caller": hidden,
        });
        api.post(&api.provisioner, "/v1/renewals", &renewal)
            .problem(400, "malformed-member");
    }
    let name = json!({ "name": "Société “Acme”, 日本" });
    api.put(&api.provisioner, "/v1/accounts/umbrella", &name)
        .with(201);
}

fn a_name_from_before_can_be_read(api: Api) {
    api.world
        .db
        .execute("UPDATE accounts SET name = 'Acme\u{feff} ' WHERE id = 'acme'");
    let known = api.get(&api.auditor, "/v1/accounts/acme").with(200);
    assert_eq!(known["name"], "Acme\u{feff} ");
}
