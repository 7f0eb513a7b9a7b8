//! How keys are had: from a file and from an endpoint, whatever the endpoint does and whoever floods it.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use governor::clock::FakeRelativeClock;
use serde_json::{Value, json};
use tn_authority::authority::{LimitClock, Limits, Rate};
use tn_authority::domain::credentials::jws_algorithm::Algorithm;

use super::endpoint::{Behaviour, Endpoint};
use super::{
    Key, claims, from_endpoint, from_file, get, key_set, not_loaded, public_jwk, refused, rsa,
    settings,
};
use crate::support::service::Api;
use crate::support::{Kind, Setup, World, at_once};

both!(
    a_new_key_is_fetched_when_it_is_first_used,
    a_flood_of_unknown_keys_makes_one_fetch,
    whoever_names_unknown_keys_is_slowed_down,
    while_an_endpoint_hangs_known_keys_go_on_working,
    the_service_starts_without_the_endpoint,
    no_answer_of_an_endpoint_is_taken_unseen,
    keys_that_cannot_be_confirmed_end,
    a_file_is_read_again_when_it_has_changed,
    one_bad_key_does_not_spoil_the_others,
);

struct Scene {
    api: Api,
    endpoint: Endpoint,
    key: Key,
}

impl From<World> for Scene {
    fn from(world: World) -> Self {
        let key = Key::new("k1", Algorithm::Es256);
        let endpoint = Endpoint::of(&world, Behaviour::Publish(key_set(&[&key])));
        let api = Api::trusting(world, |world| {
            from_endpoint(world, settings(), &endpoint.url)
        });
        let scene = Self { api, endpoint, key };
        scene.works();
        assert_eq!(scene.endpoint.requests(), 1);
        scene
    }
}

impl From<Kind> for Scene {
    fn from(kind: Kind) -> Self {
        World::from(kind).into()
    }
}

impl Scene {
    fn token(&self, key: &Key) -> String {
        key.token(&claims(&self.api.world))
    }

    /// The known key does, with a token that was not seen before.
    fn works(&self) {
        let mut fresh = claims(&self.api.world);
        fresh["jti"] = json!(format!("{:?}", Instant::now()));
        get(&self.api, &self.key.token(&fresh)).with(200);
    }

    fn outcome(&self, outcome: &str) -> u64 {
        let name = format!("key_sets_total{{issuer=\"corporate\",outcome=\"{outcome}\"}}");
        self.api.world.count(&name)
    }

    /// Waits until so many fetches have come to nothing.
    fn failed(&self, fetches: u64) {
        let start = Instant::now();
        while self.outcome("failed") < fetches {
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "no fetch has failed"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn a_new_key_is_fetched_when_it_is_first_used(scene: Scene) {
    let new = Key::new("k2", Algorithm::Ps256);
    // A second fetch so soon after the first would be one too many. Meanwhile nobody knows.
    not_loaded(&scene.api, &scene.token(&new), 30);
    scene.api.world.seconds_pass(10);
    not_loaded(&scene.api, &scene.token(&new), 20);
    // A token with wrong times is refused whatever its key.
    let mut long = claims(&scene.api.world);
    long["exp"] = json!(scene.api.world.in_seconds(90_000).timestamp());
    refused(&scene.api, &new.token(&long), "lifetime");
    assert_eq!(scene.endpoint.requests(), 1);
    scene
        .endpoint
        .now(Behaviour::Publish(key_set(&[&scene.key, &new])));
    scene.api.world.seconds_pass(20);
    get(&scene.api, &scene.token(&new)).with(200);
    assert_eq!(scene.endpoint.requests(), 2);
    scene.works();
    // A key that is gone is gone, also for tokens that were seen before.
    let old = scene.token(&scene.key);
    get(&scene.api, &old).with(200);
    scene.endpoint.now(Behaviour::Publish(key_set(&[&new])));
    scene.api.world.seconds_pass(31);
    refused(
        &scene.api,
        &scene.token(&Key::new("k3", Algorithm::Es256)),
        "unknown-key",
    );
    // So is a token that was signed long before the keys were loaded: no retry helps.
    refused(&scene.api, &old, "unknown-key");
    get(&scene.api, &scene.token(&new)).with(200);
    assert_eq!(scene.endpoint.requests(), 3);
    assert_eq!(scene.outcome("new"), 3);
}

fn a_flood_of_unknown_keys_makes_one_fetch(scene: Scene) {
    scene.api.world.seconds_pass(30);
    let answers = at_once(8, |n| {
        let kids = (0..10).map(|m| Key::new(&format!("unknown-{n}-{m}"), Algorithm::EdDsa));
        let all = kids.map(|key| get(&scene.api, &scene.token(&key)).status);
        all.collect::<Vec<_>>()
    });
    let refused = |status: &u16| matches!(status, 403 | 503);
    assert!(answers.iter().flatten().all(refused), "{answers:?}");
    assert_eq!(scene.endpoint.requests(), 2);
    assert_eq!(scene.outcome("unchanged"), 1);
    scene.works();
    assert_eq!(scene.endpoint.requests(), 2);
}

/// Anyone can name a key that is newer than all known ones, so that counts as a guess.
fn whoever_names_unknown_keys_is_slowed_down(kind: Kind) {
    let two = Rate {
        per_second: 1,
        burst: 2,
    };
    let clock = LimitClock::Fake(FakeRelativeClock::default());
    let setup = Setup {
        limits: Limits::new(Rate::NONE, Rate::NONE, two, &clock),
        ..Setup::default()
    };
    let scene = Scene::from(World::new(kind, setup));
    let unknown = scene.token(&Key::new("k2", Algorithm::Es256));
    for _ in 0..2 {
        not_loaded(&scene.api, &unknown, 30);
    }
    get(&scene.api, &unknown).problem(429, "too-many-requests");
    scene.works();
}

fn while_an_endpoint_hangs_known_keys_go_on_working(scene: Scene) {
    scene.endpoint.now(Behaviour::Hang);
    scene.api.world.seconds_pass(30);
    let unknown = Key::new("k2", Algorithm::Es256);
    let took = at_once(24, |n| {
        let start = Instant::now();
        if n % 2 == 0 {
            scene.works();
        } else {
            get(&scene.api, &scene.token(&unknown)).problem(503, "unavailable");
        }
        (n, start.elapsed())
    });
    for (n, took) in took {
        // Two seconds of patience with the endpoint, and room for a machine with much to do.
        assert!(took < Duration::from_secs(8), "{n} took {took:?}");
    }
    assert_eq!(scene.endpoint.requests(), 2);
    // When the keys are due, they are asked for, and nobody waits for that.
    scene.failed(1);
    scene.api.world.seconds_pass(600);
    let start = Instant::now();
    scene.works();
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(scene.outcome("failed"), 1);
}

fn the_service_starts_without_the_endpoint(world: World) {
    let key = Key::new("k1", Algorithm::Es256);
    let endpoint = Endpoint::of(
        &world,
        Behaviour::Say(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n".to_vec()),
    );
    let api = Api::trusting(world, |world| {
        from_endpoint(world, settings(), &endpoint.url)
    });
    let token = key.token(&claims(&api.world));
    let answer = get(&api, &token);
    answer.problem(503, "unavailable");
    assert!(answer.header("retry-after").is_some());
    // Whose keys are not needed goes on.
    get(&api, &api.acme).with(200);
    endpoint.now(Behaviour::Publish(key_set(&[&key])));
    get(&api, &token).problem(503, "unavailable");
    api.world.seconds_pass(30);
    get(&api, &token).with(200);
}

fn no_answer_of_an_endpoint_is_taken_unseen(scene: Scene) {
    let elsewhere = Endpoint::of(&scene.api.world, Behaviour::Publish(key_set(&[&scene.key])));
    let redirect = |status: &str| {
        let url = &elsewhere.url;
        let head =
            format!("HTTP/1.1 {status} Moved\r\nlocation: {url}\r\ncontent-length: 0\r\n\r\n");
        Behaviour::Say(head.into_bytes())
    };
    let symmetric = json!({ "kty": "oct", "k": "AAAA", "kid": "k2", "alg": "HS256" });
    let mut private = scene.key.jwk();
    private["d"] = json!("AAAA");
    let mut small = public_jwk(&rsa(1024));
    small["kid"] = json!("k2");
    let publish = |keys: Vec<Value>| Behaviour::Publish(json!({ "keys": keys }));
    let many = vec![scene.key.jwk(); 65];
    let said = |text: &str| {
        let length = text.len();
        Behaviour::Say(
            format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{text}").into_bytes(),
        )
    };
    let behaviours = [
        redirect("302"),
        redirect("308"),
        Behaviour::Long(100_000_000),
        Behaviour::Drip,
        Behaviour::Say(b"SSH-2.0-OpenSSH\r\n".to_vec()),
        Behaviour::Say(Vec::new()),
        said(""),
        said("null"),
        said("{}"),
        said("{\"keys\":[],\"keys\":[]}"),
        said("{\"keys\":{}}"),
        said("<html>"),
        publish(vec![]),
        publish(vec![symmetric]),
        publish(vec![private]),
        publish(vec![small]),
        publish(many),
        Behaviour::Say(b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n".to_vec()),
    ];
    let unknown = Key::new("k2", Algorithm::Rs256);
    for (behaviour, n) in behaviours.into_iter().zip(1..) {
        let shown = format!("{behaviour:?}");
        scene.endpoint.now(behaviour);
        scene.api.world.seconds_pass(30);
        not_loaded(&scene.api, &scene.token(&unknown), 30);
        scene.failed(n);
        // What was known stays.
        scene.works();
        assert_eq!(scene.endpoint.requests(), n as usize + 1, "{shown}");
    }
    assert_eq!(elsewhere.requests(), 0);
    assert!(
        scene.endpoint.sent() < 20_000_000,
        "{} bytes were taken",
        scene.endpoint.sent()
    );
}

fn keys_that_cannot_be_confirmed_end(scene: Scene) {
    scene.endpoint.now(Behaviour::Say(Vec::new()));
    scene.api.world.seconds_pass(3_599);
    scene.works();
    scene.failed(1);
    scene.api.world.seconds_pass(1);
    let token = scene.token(&scene.key);
    get(&scene.api, &token).problem(503, "unavailable");
    get(&scene.api, &scene.api.acme).with(200);
    scene
        .endpoint
        .now(Behaviour::Publish(key_set(&[&scene.key])));
    scene.api.world.seconds_pass(30);
    get(&scene.api, &token).with(200);
}

fn a_file_is_read_again_when_it_has_changed(world: World) {
    let (old, new) = (
        Key::new("k1", Algorithm::Es256),
        Key::new("k2", Algorithm::Es384),
    );
    let api = Api::trusting(world, |world| {
        from_file(world, settings(), &key_set(&[&old]))
    });
    let (mine, theirs) = (
        old.token(&claims(&api.world)),
        new.token(&claims(&api.world)),
    );
    get(&api, &mine).with(200);
    // For an unknown key the file is read at once, but not twice.
    refused(&api, &theirs, "unknown-key");
    not_loaded(&api, &theirs, 30);
    let path = api.world.dir.path().join("issuer.jwks.json");
    std::fs::write(&path, key_set(&[&new]).to_string()).expect("a file");
    api.world.seconds_pass(31);
    get(&api, &theirs).with(200);
    refused(&api, &mine, "unknown-key");
    // The service looks for a new file itself, so that a key that left it ends without a request.
    std::fs::write(&path, key_set(&[&old]).to_string()).expect("a file");
    let issuer = &api.service.callers.trust().issuers[0];
    issuer.read_file_again(false);
    get(&api, &mine).with(200);
    std::fs::write(&path, key_set(&[&new]).to_string()).expect("a file");
    issuer.read_file_again(false);
    get(&api, &theirs).with(200);
    refused(&api, &mine, "unknown-key");
    api.world.seconds_pass(31);
    // A file that is being written, or gone, is no reason to forget. It is said each time.
    let failed = || {
        let name = "key_sets_total{issuer=\"corporate\",outcome=\"failed\"}";
        api.world.count(name)
    };
    for (text, n) in ["", "{\"keys\":[", "junk", "{\"keys\":[]}"]
        .into_iter()
        .zip(1..)
    {
        std::fs::write(&path, text).expect("a file");
        api.world.seconds_pass(30);
        get(&api, &theirs).with(200);
        assert_eq!(failed(), n, "{text}");
    }
    std::fs::remove_file(&path).expect("removed");
    api.world.seconds_pass(30);
    get(&api, &theirs).with(200);
    // Opening a pipe would wait for a writer.
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.expect("mkfifo").success());
    api.world.seconds_pass(30);
    get(&api, &theirs).with(200);
    assert_eq!(failed(), 6);
}

fn one_bad_key_does_not_spoil_the_others(world: World) {
    let good = Key::new("good", Algorithm::Rs256);
    let named = |kid: &str, change: &dyn Fn(&mut Value)| {
        let key = Key::new(kid, Algorithm::Es256);
        let mut jwk = key.jwk();
        change(&mut jwk);
        (key, jwk)
    };
    let bad = [
        named("use", &|jwk| jwk["use"] = json!("enc")),
        named("ops", &|jwk| jwk["key_ops"] = json!(["sign"])),
        named("ops-type", &|jwk| jwk["key_ops"] = json!("verify")),
        named("alg", &|jwk| jwk["alg"] = json!("ES384")),
        named("curve", &|jwk| jwk["crv"] = json!("P-384")),
        named("unknown-curve", &|jwk| jwk["crv"] = json!("secp256k1")),
        named("type", &|jwk| jwk["kty"] = json!("XYZ")),
        named("no-x", &|jwk| jwk["x"] = json!("")),
        named("off-curve", &|jwk| {
            jwk["x"] = json!(URL_SAFE_NO_PAD.encode([1; 32]))
        }),
        named("private", &|jwk| jwk["d"] = json!("AAAA")),
        named("number", &|jwk| jwk["x"] = json!(7)),
        named("good", &|jwk| jwk["crv"] = json!("P-384")),
    ];
    let mut exponent = good.jwk();
    exponent["kid"] = json!("exponent");
    exponent["e"] = json!("AQ");
    let mut keys = vec![json!(7), json!(null), exponent, good.jwk()];
    keys.extend(bad.iter().map(|(_, jwk)| jwk.clone()));
    let set = json!({ "keys": keys });
    let api = Api::trusting(world, |world| from_file(world, settings(), &set));
    get(&api, &good.token(&claims(&api.world))).with(200);
    for (key, _) in &bad {
        let reason = if key.kid == "good" {
            "unsuited-key"
        } else {
            "unknown-key"
        };
        // Signed before the keys were loaded.
        let mut claims = claims(&api.world);
        claims["iat"] = json!(api.world.in_seconds(-60).timestamp());
        refused(&api, &key.token(&claims), reason);
    }
    assert_eq!(api.world.count("issuer_keys{issuer=\"corporate\"}"), 1);
}
