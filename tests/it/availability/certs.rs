//! Certificate chains are served from memory; what is not known is not denied.

use crate::support::service::Api;
use crate::support::{Kind, World};

const UNKNOWN: &str = "/certs/5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e.pem";

#[test]
fn while_the_database_is_away_known_chains_are_served_and_others_are_not_denied() {
    let world = World::from(Kind::Postgres);
    let api = Api::over(world);
    let signers = api.get(&api.admin, "/v1/signers").with(200);
    let x5u = signers["items"][0]["x5u"].as_str().expect("a URL");
    let known = x5u.trim_start_matches("https://authority.example");
    api.get("", UNKNOWN).problem(404, "not-found");
    // Whether there is one now is not known before the database is asked again.
    let again = api.get("", UNKNOWN);
    again.problem(503, "unavailable");
    assert_eq!(again.header("retry-after"), Some("1"));

    api.world.db.let_in(false);
    api.world.db.end_all_sessions();
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    assert_eq!(api.get("", known).status, 200);
    let away = api.get("", UNKNOWN);
    away.problem(503, "unavailable");
    assert_eq!(away.header("retry-after"), Some("1"));
    assert_eq!(api.get("", known).status, 200);
    api.get("", "/certs/none.pem").problem(404, "not-found");
    api.world.db.let_in(true);
}
