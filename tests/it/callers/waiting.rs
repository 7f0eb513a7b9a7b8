//! Keys that end while a request waits: whatever it wanted is refused in the transaction that would have done it.
//!
//! Between the proof of a caller and the transaction the key ends here, always; in life that is a matter of luck.
#![expect(
    clippy::needless_pass_by_value,
    reason = "a scenario owns the service that it drives"
)]

use diesel::sql_types::{BigInt, Text};
use diesel::{QueryableByName, RunQueryDsl as _, sql_query};
use serde_json::json;
use tn_authority::authority::import::{ImportError, ImportOptions};
use tn_authority::callers::Credentials;
use tn_authority::domain::{Caller, Proof, Role};
use tn_authority::tables::{Format, TableRequest};
use uuid::Uuid;

use super::every_verb::{Tells as _, Told, command_line, every_verb};
use crate::support::service::Api;
use crate::support::{Raw, account, at_once, request, wait};

both!(
    a_revoked_key_changes_nothing,
    a_key_that_expires_changes_nothing,
    a_secret_that_is_rotated_away_changes_nothing,
    a_key_that_is_gone_changes_nothing,
    what_still_holds_is_let_through,
    neighbours_in_a_batch_are_told_apart,
    an_import_is_refused_when_its_key_has_ended,
);

/// A caller who is proven by a key of this role.
fn proven(api: &Api, role: Role, accounts: &[&str]) -> Caller {
    by_key(api, &api.key(role, accounts))
}

fn by_key(api: &Api, key: &str) -> Caller {
    let offered = Credentials {
        authorization: Some(format!("Bearer {key}")),
        from: None,
        certificate: None,
    };
    let proven = api
        .service
        .callers
        .authenticate(&offered, Uuid::from_u128(7));
    let caller = proven.expect("a caller");
    assert!(matches!(caller.proof, Proof::ApiKey { secret: 1 }));
    caller
}

#[derive(QueryableByName)]
struct Content {
    #[diesel(sql_type = Text)]
    what: String,
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// How much there is of everything but events.
fn content(api: &Api) -> Vec<(String, i64)> {
    let tables = [
        "accounts",
        "suspensions",
        "horizon_accounts",
        "legacy_accounts",
        "allocations",
        "delegations",
        "exclusions",
        "grants",
        "grants WHERE withdrawn_at IS NOT NULL",
        "accounts WHERE name <> ''",
        "jobs",
        "api_keys",
        "api_keys WHERE revoked_at IS NOT NULL",
        "api_keys WHERE expires_at IS NOT NULL",
        "api_keys WHERE rotated_at IS NOT NULL",
        "signing_chains",
    ];
    let parts = tables.map(|from| {
        format!(
            "SELECT '{}' AS what, count(*) AS count FROM {from}",
            from.replace('\'', "")
        )
    });
    let all = sql_query(parts.join(" UNION ALL ") + " ORDER BY what");
    let rows: Vec<Content> = match api.world.db.connect() {
        Raw::Sqlite(mut c) => all.load(&mut c),
        Raw::Postgres(mut c) => all.load(&mut c),
    }
    .expect("counts");
    rows.into_iter().map(|row| (row.what, row.count)).collect()
}

/// The key ends by `end`, and then nothing that its caller wanted is done; the trail says of each what was wanted.
fn nothing_is_done(api: Api, reason: &str, end: impl Fn(&Api, &Caller)) {
    let by = proven(&api, Role::Admin, &[]);
    let before = api.world.trail(&by.id).len();
    end(&api, &by);
    let own = api.world.trail(&by.id).len() - before;
    // What the scenario sets up comes first, and changes the content.
    let told = every_verb(&api, &by, 1);
    let content_then = content(&api);
    for (verb, told) in &told {
        assert_eq!(*told, Told::Ended, "{verb}");
    }
    let trail = api.world.trail(&by.id);
    let refused: Vec<&str> = trail[before + own..]
        .iter()
        .inspect(|event| {
            assert_eq!(
                (event.caller.as_str(), event.outcome.as_str()),
                (by.id.as_str(), "forbidden")
            );
            assert_eq!(event.detail, json!({ "reason": reason }));
            assert_eq!(event.request_id, by.request_id);
        })
        .map(|event| event.action.as_str())
        .collect();
    let wanted = told.iter().map(|(verb, _)| *verb);
    let mut wanted: Vec<&str> = wanted.filter(|verb| *verb != "issue").collect();
    let mut refused = refused;
    wanted.sort_unstable();
    refused.sort_unstable();
    assert_eq!(refused, wanted);
    let issues = api.world.trail("acme");
    let issues = issues
        .iter()
        .filter(|e| e.action == "issue" && e.caller == by.id);
    assert!(issues.clone().count() == 3 && issues.into_iter().all(|e| e.outcome == "forbidden"));
    // Once more, with everything set up already: nothing at all changes but the trail.
    let (_, last) = (every_verb(&api, &by, 2), content(&api));
    let changed: Vec<_> = content_then
        .iter()
        .zip(&last)
        .filter(|(then, now)| then != now)
        .map(|(then, now)| (then.0.as_str(), now.1 - then.1))
        .collect();
    // The scenario itself: a block, a loan, two exclusions, a grant, a key, and an import of one more.
    for (what, more) in changed {
        let own = match what {
            "allocations" | "delegations" | "grants" | "api_keys" | "jobs" | "row_changes" => 1,
            "exclusions" => 3,
            _ => 0,
        };
        assert_eq!(more, own, "{what}");
    }
}

fn a_revoked_key_changes_nothing(api: Api) {
    nothing_is_done(api, "revoked", |api, by| {
        let keys = api.service.callers.api_keys();
        wait(keys.revoke(&command_line(), &by.id)).expect("revoked");
    });
}

fn a_key_that_expires_changes_nothing(api: Api) {
    nothing_is_done(api, "expired", |api, by| {
        let (keys, end) = (api.service.callers.api_keys(), api.world.in_seconds(5));
        wait(keys.expire(&command_line(), &by.id, end)).expect("an end");
        api.world.seconds_pass(5);
    });
}

fn a_secret_that_is_rotated_away_changes_nothing(api: Api) {
    nothing_is_done(api, "rotated", |api, by| {
        let keys = api.service.callers.api_keys();
        wait(keys.rotate(&command_line(), &by.id, 5)).expect("rotated");
        api.world.seconds_pass(5);
    });
}

fn a_key_that_is_gone_changes_nothing(api: Api) {
    nothing_is_done(api, "unknown", |api, by| {
        let sql = format!("DELETE FROM api_keys WHERE id = '{}'", by.id);
        api.world.db.execute(&sql);
    });
}

fn what_still_holds_is_let_through(api: Api) {
    let by = proven(&api, Role::Admin, &[]);
    let keys = api.service.callers.api_keys();
    wait(keys.rotate(&command_line(), &by.id, 100)).expect("rotated");
    wait(keys.expire(&command_line(), &by.id, api.world.in_seconds(100))).expect("an end");
    api.world.seconds_pass(99);
    for (verb, told) in every_verb(&api, &by, 1) {
        // A suspended account gets no tokens, which is the order of things here.
        let suspended = verb == "issue";
        assert!(told == Told::Done || suspended, "{verb}: {told:?}");
    }
}

/// Orders that the writer takes together: only those whose key has ended are refused.
fn neighbours_in_a_batch_are_told_apart(api: Api) {
    let ended = proven(&api, Role::Account, &["acme"]);
    let fine = by_key(&api, &api.acme);
    let keys = api.service.callers.api_keys();
    wait(keys.revoke(&command_line(), &ended.id)).expect("revoked");
    let outcomes = at_once(24, |n| {
        let by = [&ended, &fine][n % 2];
        let wanted = request(&["one:12125551001"], false, None);
        wait(api.world.authority.issue(by, account("acme"), wanted, None)).told()
    });
    for (n, told) in outcomes.into_iter().enumerate() {
        let expected = [Told::Ended, Told::Done].into_iter().nth(n % 2);
        assert_eq!(Some(told), expected, "{n}");
    }
    assert_eq!(api.world.grants().len(), 12);
}

/// The file is read while its job waits; the key ends before it is written.
fn an_import_is_refused_when_its_key_has_ended(api: Api) {
    let by = proven(&api, Role::Provisioner, &[]);
    let (keys, now) = (api.service.callers.api_keys(), api.world.now());
    let wanted = TableRequest {
        format: Format::Exclusions,
        ocns: std::collections::BTreeSet::new(),
        spc: None,
    };
    let table = "start,reason\n+12125551970,aging\n";
    let read = tn_authority::tables::read;
    let draft = read(table.as_bytes(), &wanted, now, &mut |_| true).expect("a table");
    let consent = ImportOptions {
        dry_run: false,
        confirm: false,
        force: false,
        max_ended_ppm: 100_000,
    };
    wait(keys.revoke(&command_line(), &by.id)).expect("revoked");
    let imported = wait(api.world.authority.import(&by, draft, consent, None));
    assert_eq!(
        imported.as_ref().err().map(ImportError::code),
        Some("forbidden")
    );
    assert_eq!(imported.told(), Told::Ended);
    assert!(
        api.world
            .looks_up("+12125551970", None)
            .exclusions
            .is_empty()
    );
}
