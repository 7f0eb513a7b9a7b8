//! Policies of the carrier's own: read strictly at the start, and never in doubt for the asker.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use tn_authority::authority::{Policy, PolicyError};
use tn_authority::domain::Role;

use crate::support::{Kind, Setup, World, code, request};

both! {
    policies_of_a_folder_take_the_place_of_the_built_in_ones,
    a_policy_that_fails_denies,
    without_a_permit_the_answer_is_no,
}

const PROVISIONING: &str =
    r#"permit (principal, action in [Action::"manage", Action::"provision"], resource);"#;
const OWN: &str = r#"permit (principal, action in [Action::"ask", Action::"mint"], resource)
    when { principal.accounts.contains(resource) };"#;

fn folder(files: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new().expect("a folder");
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
    for failing in [
        format!(
            r#"{OWN} forbid (principal, action == Action::"mint", resource) when {{ {overflows} }};"#
        ),
        format!(
            r#"{OWN} permit (principal, action == Action::"mint", resource) when {{ {overflows} }};"#
        ),
    ] {
        let world = world_of(kind, &failing);
        assert_eq!(
            code(&world.mints("acme", &["one:12125551001"])),
            "policy",
            "{failing}"
        );
        assert_eq!(world.grants(), []);
        assert_eq!(
            world.trail("acme").last().expect("an event").outcome,
            "policy"
        );
    }
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
        malformed.starts_with("`b.cedar` is not a policy file"),
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
            refused.starts_with("the policies do not fit their schema"),
            "{refused}"
        );
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
fn two_files_may_use_the_same_names() {
    let same = format!("@id(\"own\")\n{OWN}");
    assert!(Policy::from_dir(folder(&[("a.cedar", &same), ("b.cedar", &same)]).path()).is_ok());
}
