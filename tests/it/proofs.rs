//! The main job by each of the three kinds of proof, over TLS: each mints for its account, and none for another's.

use tn_authority::callers::Trust;
use tn_authority::domain::credentials::jws_algorithm::Algorithm;

use crate::client_certificates::{Tls, acme, trust};
use crate::fixtures::member;
use crate::oauth::{Key, claims, from_file, key_set, settings};
use crate::service::{Api, asking};
use crate::support::World;

both!(each_kind_of_caller_mints);

fn each_kind_of_caller_mints(world: World) {
    let key = Key::new("k1", Algorithm::Rs256);
    let api = Api::trusting(world, |world| Trust {
        issuers: from_file(world, settings(), &key_set(&[&key])).issuers,
        ..trust(world)
    });
    let tls = Tls::of(&api, false);
    let client = acme(&api.world);
    let bearer = |text: &str| format!("authorization: Bearer {text}\r\n");
    let token = bearer(&key.token(&claims(&api.world)));
    let api_key = bearer(&api.acme);
    let asked = asking(&["one:12125551001"]).to_string();
    let mut callers = Vec::new();
    for (client, head) in [
        (None, &api_key),
        (None, &token),
        (Some(&client), &String::new()),
    ] {
        let at = |account: &str| {
            let path = format!("/at/account/{account}/token");
            tls.post(client, &path, head, &asked).expect("an answer")
        };
        let issued = at("acme").with(200);
        at("other").problem(403, "forbidden");
        let grant = api.get(
            &api.auditor,
            &format!("/v1/grants/{}", member(&issued, "jti")),
        );
        let grant = grant.with(200);
        assert_eq!(grant["account"], "acme");
        callers.push(grant["caller"].clone());
    }
    let id = api.acme.split('_').nth(1).expect("an id");
    assert_eq!(
        callers,
        [id, "oauth:corporate:5f7c@clients", "certificate:acme"]
    );
}
