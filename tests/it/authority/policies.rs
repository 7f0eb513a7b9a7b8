//! Policies of the carrier's own: read strictly at the start, and never in doubt for the asker.

use std::fs;

use serde_json::json;
use tempfile::TempDir;
use tn_authority::authority::{ExplainRequest, IssueError, Issued, PolicySet};
use tn_authority::domain::{Caller, Role};

use crate::support::{Kind, Setup, World, account, code, numbers, request, wait};

both! {
    policies_of_a_folder_take_the_place_of_the_built_in_ones,
    a_policy_that_fails_denies,
    without_a_permit_the_answer_is_no,
    the_policies_that_decide_are_kept,
    a_permit_for_everybody_gives_nobody_more,
    time_is_what_the_clock_says,
}

const PROVISIONING: &str =
    r#"permit (principal, action in [Action::"manage", Action::"provision"], resource);"#;
pub const OWN: &str = r#"permit (principal, action in [Action::"ask", Action::"mint"], resource)
    when { principal.accounts.contains(resource) };"#;

/// A folder with these files; those of `tests/` stand below it.
pub fn folder(files: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new().expect("a folder");
    fs::create_dir(dir.path().join("tests")).expect("a folder");
    for (name, text) in files {
        fs::write(dir.path().join(name), text).expect("a file");
    }
    dir
}

fn world_of(kind: Kind, policies: &str) -> World {
    let text = format!("{PROVISIONING}\n{policies}");
    let policy = PolicySet::from_dir(folder(&[("own.cedar", &text)]).path()).expect("policies");
    let world = World::new(
        kind,
        Setup {
            policy,
            ..Setup::default()
        },
    );
    world.carrier_holds("1.212.555.1XXX");
    world.lends("acme", "1.212.555.1XXX");
    world
}

fn policies_of_a_folder_take_the_place_of_the_built_in_ones(kind: Kind) {
    let world = world_of(
        kind,
        &format!(
            r#"{OWN}
            @id("one-number") @code("one-number-only") @message("one number at a time")
            forbid (principal, action == Action::"mint", resource) when {{ context.numbers > 1 }};"#
        ),
    );
    assert!(
        world
            .mints_for("acme", &["one:12125551001"], 90_000)
            .is_ok(),
        "a lifetime that the built-in ones forbid"
    );
    let denied = world.mints("acme", &["range:12125551000+2"]);
    assert_eq!(code(&denied), "one-number-only");
    assert_eq!(
        denied.expect_err("a denial").to_string(),
        "one number at a time"
    );
    // Hard rules stay: no policy gives a number away.
    assert_eq!(
        code(&world.mints("acme", &["one:12125552001"])),
        "not-authorized"
    );
    assert_eq!(
        code(&world.mints_ca("acme", &["one:12125551001"])),
        "not-authorized"
    );
    assert_eq!(
        code(&world.mints_for("acme", &["one:12125551001"], 299)),
        "lifetime-not-allowed"
    );
    // Nobody may read here.
    let number = "+12125551001".parse().expect("a number");
    assert!(
        world
            .authority
            .look_up(&world.caller(Role::Admin, &[]), number, None)
            .is_err()
    );
}

fn a_policy_that_fails_denies(kind: Kind) {
    let overflows = "context.lifetime * 9223372036854775807 > 0";
    let nobody = "Account::\"nobody\".carrier";
    for (effect, condition) in [
        ("forbid", overflows),
        ("permit", overflows),
        ("forbid", nobody),
    ] {
        let failing = format!(
            r#"{OWN} @id("fails") @code("own-code") {effect} (principal, action == Action::"mint", resource)
            when {{ {condition} }};"#
        );
        let world = world_of(kind, &failing);
        let denied = world.mints("acme", &["one:12125551001"]);
        assert_eq!(code(&denied), "policy-error", "{failing}");
        assert_eq!(policies_of(&denied), ["fails"]);
        assert_eq!(world.grants(), []);
        let events = world.trail("acme");
        let event = events.last().expect("an event");
        assert_eq!(event.outcome, "policy-error");
        assert_eq!(
            (&event.detail["policies"], &event.detail["policies_failed"]),
            (&json!(["fails"]), &json!(true))
        );
        assert_eq!(
            world.count("denials_total{code=\"policy-error\"}"),
            1,
            "{failing}"
        );
    }
    // Who may not even ask learns nothing of it, and the trail does.
    let world = world_of(
        kind,
        &format!(
            r#"{OWN} @id("fails") forbid (principal, action in [Action::"ask", Action::"mint"], resource)
            when {{ {overflows} }};"#
        ),
    );
    let denied = world.mints("acme", &["one:12125551001"]);
    assert_eq!(code(&denied), "forbidden");
    assert_eq!(policies_of(&denied), Vec::<String>::new());
    let event = world.trail("acme").pop().expect("an event");
    assert_eq!(
        (event.outcome.as_str(), &event.detail["policies"]),
        ("forbidden", &json!(["fails"]))
    );
    assert_eq!(event.detail["policies_failed"], json!(true));
}

/// The policies that a denial names.
fn policies_of(outcome: &Result<Issued, IssueError>) -> Vec<String> {
    match outcome {
        Err(IssueError::Denied(denial)) => denial.policies().to_vec(),
        other => panic!("expected a denial, got {other:?}"),
    }
}

fn the_policies_that_decide_are_kept(kind: Kind) {
    let mint = OWN.replace("Action::\"ask\", ", "");
    let many = (0..20).map(|n| format!("@id(\"extra-{n:02}\") {mint}\n"));
    let many: String = many.collect();
    let world = world_of(
        kind,
        &format!(
            r#"@id("own") {OWN} {many}
            @id("b-short") @code("too-long") forbid (principal, action == Action::"mint", resource)
            when {{ context.lifetime > 3600 }};
            @id("a-acme") @code("acme-too-long") forbid (principal, action == Action::"mint", resource == Account::"acme")
            when {{ context.lifetime > 3600 }};
            @id("of-a-key") forbid (principal == Caller::"key-of-account", action == Action::"mint", resource)
            when {{ context.ca }};"#
        ),
    );
    let set = world.authority.policies().in_force().set().to_owned();
    let issued = world.mints("acme", &["one:12125551001"]).expect("a token");
    let grant = world.grant_of(&issued);
    assert_eq!(grant.policies.ids().len(), 16);
    assert_eq!(grant.policies.ids()[0], "extra-00");
    assert_eq!(grant.policies.left_out(), 5);
    assert_eq!(grant.policies.set(), Some(set.as_str()));
    let event = world.trail("acme").pop().expect("an event");
    assert_eq!(event.outcome, "done");
    assert_eq!(event.detail["policies"], json!(grant.policies.ids()));
    assert_eq!(event.detail["policies_left_out"], 5);
    assert_eq!(event.detail["policy_set"], json!(set));

    let denied = world.mints_for("acme", &["one:12125551001"], 7200);
    assert_eq!(code(&denied), "acme-too-long");
    assert_eq!(policies_of(&denied), ["a-acme", "b-short"]);
    let event = world.trail("acme").pop().expect("an event");
    assert_eq!(event.detail["policies"], json!(["a-acme", "b-short"]));
    let denied = world.mints_ca("acme", &["one:12125551001"]);
    assert_eq!(
        (code(&denied).as_str(), policies_of(&denied)),
        ("policy", vec!["of-a-key".to_owned()])
    );
    // A rule that is no policy's names none; the trail tells which ones permitted.
    let denied = world.mints("acme", &["one:12125552001"]);
    assert_eq!(policies_of(&denied), Vec::<String>::new());
    let event = world.trail("acme").pop().expect("an event");
    assert_eq!(
        (event.outcome.as_str(), &event.detail["policies"]),
        ("not-authorized", &json!(grant.policies.ids()))
    );

    let question = ExplainRequest {
        account: account("acme"),
        numbers: vec![numbers("+12125551001")],
        ca: false,
        lifetime: Some(7200),
        fingerprint: None,
    };
    let caller = world.caller(Role::Account, &["acme"]);
    let told = world.authority.explain(&caller, &question).expect("told");
    assert_eq!(told.policies.ids(), ["a-acme", "b-short"]);
}

/// Whatever policies permit: a role stays what it is, and a caller with accounts stays with them.
fn a_permit_for_everybody_gives_nobody_more(kind: Kind) {
    let world = world_of(kind, "permit (principal, action, resource);");
    world.knows("other");
    world.carrier_holds("1.212.555.2XXX");
    world.lends("other", "1.212.555.2XXX");
    for role in Role::ALL {
        let own = world.caller(role, &["acme"]);
        let foreign = world.mints_as(&own, "other", request(&["one:12125552001"], false, None));
        assert_eq!(code(&foreign), "forbidden", "{role}");
    }
    assert_eq!(world.grants(), []);
    let auditor = world.caller(Role::Auditor, &[]);
    let put = |caller: Caller| {
        wait(
            world
                .authority
                .put_account(&caller, account("x"), None, None),
        )
        .is_ok()
    };
    assert!(!put(auditor));
    assert!(!put(world.caller(Role::Account, &["acme"])));
    assert!(put(world.provisioner()));
}

fn time_is_what_the_clock_says(kind: Kind) {
    // Every world starts on Thursday, 1 January 2026, at midnight.
    let world = world_of(
        kind,
        &format!(
            r#"{OWN}
            @id("hours") @code("outside-office-hours") forbid (principal, action == Action::"mint", resource)
            unless {{ context.weekday <= 5 && context.hour >= 8 && context.hour < 18 }};
            @id("in-2027") @code("not-any-more") forbid (principal, action == Action::"mint", resource)
            when {{ context.time >= 1798761600 }};"#
        ),
    );
    let mint = || world.mints("acme", &["one:12125551001"]);
    assert_eq!(code(&mint()), "outside-office-hours");
    world.seconds_pass(8 * 3600 - 1);
    assert_eq!(code(&mint()), "outside-office-hours");
    world.seconds_pass(1);
    assert!(mint().is_ok());
    world.seconds_pass(10 * 3600 - 1);
    assert!(mint().is_ok());
    world.seconds_pass(1);
    assert_eq!(code(&mint()), "outside-office-hours");
    // Saturday, at noon.
    world.seconds_pass(42 * 3600);
    assert_eq!(code(&mint()), "outside-office-hours");
}

fn without_a_permit_the_answer_is_no(kind: Kind) {
    let world = world_of(
        kind,
        r#"permit (principal, action == Action::"ask", resource);"#,
    );
    assert_eq!(code(&world.mints("acme", &["one:12125551001"])), "policy");
    let world = world_of(kind, "");
    assert_eq!(
        code(&world.mints("acme", &["one:12125551001"])),
        "forbidden"
    );
    let admin = world.caller(Role::Admin, &["acme"]);
    let denied = world.mints_as(&admin, "acme", request(&["one:12125551001"], false, None));
    assert_eq!(code(&denied), "forbidden");
}
