//! Several with one key at once: on one replica, and on two over one database.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::service::{Answer, Api, asking};
use crate::support::{Db, Kind, Setup, World, at_once};

both!(
    of_many_at_once_one_is_done,
    of_many_on_two_replicas_one_is_done,
);

const ROUNDS: usize = 12;
const AT_ONCE: usize = 6;

/// All that was answered 200 or 201 is one answer, and at most one of them is no repetition; the others are to come again.
fn one_answer(answers: &[Answer]) -> Option<&Answer> {
    let (done, rest): (Vec<_>, Vec<_>) = answers.iter().partition(|a| a.status < 300);
    for answer in rest {
        answer.problem(409, "idempotency-key-in-flight");
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    let first = done.first()?;
    assert!(done.iter().all(|one| one.body == first.body));
    let done_first = done
        .iter()
        .filter(|one| one.header("idempotency-replayed").is_none());
    assert!(done_first.count() <= 1);
    Some(first)
}

/// Many with one key on these replicas, round after round, and each one once more.
fn race(replicas: &[Api], path: &str, key: impl Fn(&Api) -> String + Sync, body: &Value) {
    for round in 0..ROUNDS {
        let name = format!("{path}-{round}");
        let send = |n: usize| {
            let api = &replicas[n % replicas.len()];
            api.once(&name, &key(api), path, body)
        };
        let answers = at_once(AT_ONCE, send);
        let first = one_answer(&answers).expect("one of them was done").clone();
        for n in 0..replicas.len() {
            let again = send(n);
            assert_eq!((again.status, &again.body), (first.status, &first.body));
            assert_eq!(again.header("idempotency-replayed"), Some("true"));
        }
    }
}

fn races(replicas: &[Api]) {
    let world = &replicas[0].world;
    let acme = |api: &Api| api.acme.clone();
    race(
        replicas,
        "/at/account/acme/token",
        acme,
        &asking(&["one:12125551001"]),
    );
    assert_eq!(world.grants().len(), ROUNDS);
    let requests: Vec<Value> = (0..20)
        .map(|n| {
            let mut one = asking(&[&format!("one:{}", 12_125_551_000_u64 + n)]);
            one["account"] = json!("acme");
            one
        })
        .collect();
    race(
        replicas,
        "/v1/tokens",
        acme,
        &json!({ "requests": requests }),
    );
    assert_eq!(world.grants().len(), ROUNDS * 21);

    // A key of no account is a tenant alone, so all use that of the first.
    let admin = replicas[0].admin.clone();
    let number = json!({ "start": "+12125551950", "count": 1, "reason": "reserved" });
    race(replicas, "/v1/exclusions", |_| admin.clone(), &number);
    assert_eq!(
        super::count(&world.db, "exclusions"),
        i64::try_from(ROUNDS).expect("a few")
    );
}

fn of_many_at_once_one_is_done(api: Api) {
    races(&[api]);
}

fn of_many_on_two_replicas_one_is_done(kind: Kind) {
    let db = Arc::new(Db::from(kind));
    let first = World::over(Arc::clone(&db), Setup::default());
    let signers = Some(first.signers.clone());
    let setup = Setup {
        signers,
        ..Setup::default()
    };
    let second = World::over(db, setup);
    races(&[Api::over(first), Api::beside(second)]);
}
