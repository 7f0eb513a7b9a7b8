//! Policies of the carrier's own: read strictly at the start, and never in doubt for the asker.

use std::fs;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;
use tn_authority::authority::{Asked, IssueError, Issued, Policy, PolicyError, Question, Token};
use tn_authority::domain::{Caller, Role};

use crate::support::{Kind, Setup, World, account, clock_starts, code, numbers, request, wait};

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
const OWN: &str = r#"permit (principal, action in [Action::"ask", Action::"mint"], resource)
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

fn refused(files: &[(&str, &str)]) -> String {
    Policy::from_dir(folder(files).path())
        .expect_err("refused policies")
        .to_string()
}

fn world_of(kind: Kind, policies: &str) -> World {
    let text = format!("{PROVISIONING}\n{policies}");
    let policy = Policy::from_dir(folder(&[("own.cedar", &text)]).path()).expect("policies");
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
    let mut many = String::new();
    for n in 0..20 {
        many.push_str(&format!(
            "@id(\"extra-{n:02}\") {}\n",
            OWN.replace("Action::\"ask\", ", "")
        ));
    }
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
    let set = world.authority.policy.in_force().set().to_owned();
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

    let question = Question {
        account: account("acme"),
        numbers: vec![numbers("+12125551001")],
        ca: false,
        lifetime: Some(7200),
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

#[test]
fn policies_that_do_not_fit_are_refused_at_the_start() {
    let malformed = refused(&[("a.cedar", OWN), ("b.cedar", "permit (principal, action")]);
    assert!(
        malformed.starts_with("the policies are faulty: b.cedar:1:26: unexpected end of input"),
        "{malformed}"
    );
    for unknown in [
        r#"permit (principal, action == Action::"mint", resource) when { principal.name == "x" };"#,
        r#"permit (principal, action == Action::"mint", resource) when { context.colour == 1 };"#,
        r#"permit (principal, action == Action::"melt", resource);"#,
        r#"permit (principal, action == Action::"mint", resource) when { context.lifetime == "long" };"#,
    ] {
        let refused = refused(&[("a.cedar", unknown)]);
        assert!(
            refused.starts_with("the policies are faulty: a.cedar:1:"),
            "{refused}"
        );
    }
    // What can never apply is a mistake of whoever wrote it.
    for impossible in [
        r#"permit (principal, action == Action::"mint", resource) when { false };"#,
        r#"forbid (principal, action == Action::"mint", resource == Service::"tn-authority");"#,
        r#"forbid (principal == Account::"acme", action == Action::"mint", resource);"#,
    ] {
        let refused = refused(&[("a.cedar", OWN), ("b.cedar", impossible)]);
        assert!(refused.contains("b.cedar:1:1: "), "{refused}");
    }
    let template = refused(&[(
        "t.cedar",
        r#"permit (principal == ?principal, action == Action::"mint", resource);"#,
    )]);
    assert!(
        template.contains("templates are not used here"),
        "{template}"
    );
}

#[test]
fn a_folder_without_policies_is_refused() {
    let none = folder(&[("readme.txt", "nothing")]);
    assert!(matches!(
        Policy::from_dir(none.path()),
        Err(PolicyError::None(_))
    ));
    assert!(matches!(
        Policy::from_dir(Path::new("/nowhere")),
        Err(PolicyError::Read { .. })
    ));
}

#[test]
fn ids_codes_and_messages_are_words() {
    let same = format!("@id(\"own\")\n{OWN}");
    let twice = refused(&[("a.cedar", &same), ("b.cedar", &same)]);
    assert!(
        twice.contains("b.cedar: `@id(\"own\")` is that of another policy already, in `a.cedar`"),
        "{twice}"
    );
    let long = "x".repeat(65);
    let text = "y".repeat(301);
    for (annotation, why) in [
        ("@id(\"two words\")".to_owned(), "is not 1 to 64"),
        ("@id(\"a:1\")".to_owned(), "is not 1 to 64"),
        ("@id(\"a\\u{1b}[31m\")".to_owned(), "is not 1 to 64"),
        ("@id".to_owned(), "is not 1 to 64"),
        (format!("@id(\"{long}\")"), "is not 1 to 64"),
        ("@code(\"Not-Kebab\")".to_owned(), "the `@code` is not"),
        (format!("@code(\"{long}\")"), "the `@code` is not"),
        ("@code(\"not-authorized\")".to_owned(), "that of a rule"),
        ("@code(\"policy-error\")".to_owned(), "that of a rule"),
        ("@message(\"\")".to_owned(), "the `@message` is not"),
        ("@message(\"a\\nb\")".to_owned(), "the `@message` is not"),
        (format!("@message(\"{text}\")"), "the `@message` is not"),
    ] {
        let policy = format!(
            r#"{annotation} forbid (principal, action == Action::"mint", resource) when {{ context.ca }};"#
        );
        let refused = refused(&[("a.cedar", OWN), ("b.cedar", &policy)]);
        assert!(refused.contains(why), "{annotation}: {refused}");
        assert!(!refused.contains('\u{1b}'), "{refused}");
    }
    let nameless = Policy::from_dir(folder(&[("a.cedar", OWN)]).path()).expect("policies");
    assert_eq!(nameless.ids(), ["a.cedar:1"]);
    let warnings: Vec<String> = nameless
        .warnings()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(warnings[0].contains("has no `@id`"), "{warnings:?}");
    assert!(warnings[1].contains("no case"), "{warnings:?}");
}

#[test]
fn files_that_are_none_are_refused() {
    let dir = folder(&[("a.cedar", OWN)]);
    fs::write(dir.path().join("b.cedar"), b"// caf\xe9\n").expect("a file");
    let told = Policy::from_dir(dir.path())
        .expect_err("refused")
        .to_string();
    assert!(told.contains("b.cedar:1:7: is not UTF-8"), "{told}");
    fs::remove_file(dir.path().join("b.cedar")).expect("a file");

    // To read a pipe is to wait for ever.
    let pipe = dir.path().join("c.cedar");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo").success());
    let told = Policy::from_dir(dir.path())
        .expect_err("refused")
        .to_string();
    assert!(told.contains("c.cedar: is not a file"), "{told}");
    fs::remove_file(&pipe).expect("a file");

    let odd = dir.path().join("d e.cedar");
    fs::write(&odd, OWN).expect("a file");
    let told = Policy::from_dir(dir.path())
        .expect_err("refused")
        .to_string();
    assert!(told.contains("the name of a file has at most"), "{told}");
    fs::remove_file(&odd).expect("a file");

    std::os::unix::fs::symlink("/nowhere", dir.path().join("e.cedar")).expect("a link");
    assert!(matches!(
        Policy::from_dir(dir.path()),
        Err(PolicyError::Read { .. })
    ));
    fs::remove_file(dir.path().join("e.cedar")).expect("a file");

    // What editors leave behind is not looked at.
    fs::write(dir.path().join(".a.cedar.swp"), "x").expect("a file");
    fs::write(dir.path().join(".#a.cedar"), "x").expect("a file");
    assert!(Policy::from_dir(dir.path()).is_ok());
}

#[test]
fn policies_without_end_are_refused() {
    let deep = format!(
        r#"permit (principal, action == Action::"mint", resource) when {{ {}true{} }};"#,
        "(".repeat(100_000),
        ")".repeat(100_000)
    );
    let told = refused(&[("deep.cedar", &deep)]);
    assert!(told.contains("at most 50 open brackets"), "{told}");
    // As deep as may be, in every way.
    for (start, joint, end) in [
        ("true", " && true", ""),
        ("true", " || true", ""),
        ("1", "+1", " > 0"),
        ("1", "-1", " > 0"),
        ("context", ".ca", ""),
        ("true", " == true", ""),
        ("!", "!", "true"),
        ("", "if true then true else ", "true"),
        ("", "- ", "1 > 0"),
    ] {
        let levels = if joint.starts_with("if") {
            660
        } else {
            1_900 / joint.matches(['&', '|', '+', '-', '.', '=', '!']).count()
        };
        let text = format!(
            r#"{OWN} permit (principal, action == Action::"mint", resource) when {{ {start}{}{end} }};"#,
            joint.repeat(levels)
        );
        // What Cedar says of it, it says without falling over.
        if let Ok(policy) = Policy::from_dir(folder(&[("deep.cedar", &text)]).path()) {
            let acme = account("acme");
            let asked = Asked {
                account: &acme,
                is_carrier: false,
                token: Token::of(
                    &request(&["one:12125551001"], false, None),
                    3600,
                    clock_starts(),
                ),
            };
            let _ = policy.may_mint(&Caller::at_the_command_line(uuid::Uuid::nil()), &asked);
        }
    }
    let brackets = format!(
        r#"{OWN} permit (principal, action == Action::"mint", resource) when {{ {}true{} }};"#,
        "(".repeat(49),
        ")".repeat(49)
    );
    assert!(Policy::from_dir(folder(&[("deep.cedar", &brackets)]).path()).is_ok());
    let dir = folder(&[("a.cedar", OWN)]);
    let large = format!("// {}\n", "x".repeat(17 * 1024 * 1024));
    fs::write(dir.path().join("large.cedar"), large).expect("a file");
    let told = Policy::from_dir(dir.path())
        .expect_err("refused")
        .to_string();
    assert!(told.contains("more than 16777216 bytes"), "{told}");
}

#[test]
fn ten_thousand_policies_are_the_most() {
    let mut text = String::new();
    for n in 0..=10_000 {
        text.push_str(&format!(
            "@id(\"t{n}\") forbid (principal, action == Action::\"mint\", resource == Account::\"t{n}\");\n"
        ));
    }
    let refused = refused(&[("a.cedar", &text)]);
    assert!(
        refused.contains("a set has at most 10000 policies, and with `a.cedar` there are 10001"),
        "{refused}"
    );
    let (last, _) = text.trim_end().rsplit_once('\n').expect("lines");
    let most = Policy::from_dir(folder(&[("a.cedar", last)]).path()).expect("policies");
    assert_eq!(most.ids().len(), 10_000);
}
