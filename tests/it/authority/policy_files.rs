//! Files that are no policies, or no sound ones: each is refused with its reason, in a bounded time.

use std::fs;
use std::path::Path;

use tn_authority::authority::{MintContext, PolicyError, PolicySet, TokenContext};
use tn_authority::domain::Caller;

use super::policies::{OWN, folder};
use crate::support::{account, clock_starts, request};

fn refused(files: &[(&str, &str)]) -> String {
    PolicySet::from_dir(folder(files).path())
        .expect_err("refused policies")
        .to_string()
}

#[test]
fn policies_that_do_not_fit_are_refused_at_the_start() {
    let malformed = refused(&[("a.cedar", OWN), ("b.cedar", "permit (principal, action")]);
    assert!(
        malformed.starts_with("invalid policies: b.cedar:1:26: unexpected end of input"),
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
            refused.starts_with("invalid policies: a.cedar:1:"),
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
        template.contains("templates (`?principal`, `?resource`) are not supported"),
        "{template}"
    );
}

#[test]
fn a_folder_without_policies_is_refused() {
    let none = folder(&[("readme.txt", "nothing")]);
    assert!(matches!(
        PolicySet::from_dir(none.path()),
        Err(PolicyError::None(_))
    ));
    assert!(matches!(
        PolicySet::from_dir(Path::new("/nowhere")),
        Err(PolicyError::Read { .. })
    ));
}

#[test]
fn ids_codes_and_messages_are_words() {
    let same = format!("@id(\"own\")\n{OWN}");
    let twice = refused(&[("a.cedar", &same), ("b.cedar", &same)]);
    assert!(
        twice.contains("b.cedar: `@id(\"own\")` is already used by another policy, in `a.cedar`"),
        "{twice}"
    );
    let long = "x".repeat(65);
    let text = "y".repeat(301);
    for (annotation, why) in [
        ("@id(\"two words\")".to_owned(), "must be 1 to 64"),
        ("@id(\"a:1\")".to_owned(), "must be 1 to 64"),
        ("@id(\"a\\u{1b}[31m\")".to_owned(), "must be 1 to 64"),
        ("@id".to_owned(), "must be 1 to 64"),
        (format!("@id(\"{long}\")"), "must be 1 to 64"),
        ("@code(\"Not-Kebab\")".to_owned(), "the `@code` must be"),
        (format!("@code(\"{long}\")"), "the `@code` must be"),
        (
            "@code(\"not-authorized\")".to_owned(),
            "reserved for a rule",
        ),
        ("@code(\"policy-error\")".to_owned(), "reserved for a rule"),
        ("@message(\"\")".to_owned(), "the `@message` must be"),
        ("@message(\"a\\nb\")".to_owned(), "the `@message` must be"),
        (format!("@message(\"{text}\")"), "the `@message` must be"),
    ] {
        let policy = format!(
            r#"{annotation} forbid (principal, action == Action::"mint", resource) when {{ context.ca }};"#
        );
        let refused = refused(&[("a.cedar", OWN), ("b.cedar", &policy)]);
        assert!(refused.contains(why), "{annotation}: {refused}");
        assert!(!refused.contains('\u{1b}'), "{refused}");
    }
    let nameless = PolicySet::from_dir(folder(&[("a.cedar", OWN)]).path()).expect("policies");
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
    let told = PolicySet::from_dir(dir.path())
        .expect_err("refused")
        .to_string();
    assert!(told.contains("b.cedar:1:7: is not UTF-8"), "{told}");
    fs::remove_file(dir.path().join("b.cedar")).expect("a file");

    // To read a pipe is to wait for ever.
    let pipe = dir.path().join("c.cedar");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo").success());
    let told = PolicySet::from_dir(dir.path())
        .expect_err("refused")
        .to_string();
    assert!(told.contains("c.cedar: is not a file"), "{told}");
    fs::remove_file(&pipe).expect("a file");

    let odd = dir.path().join("d e.cedar");
    fs::write(&odd, OWN).expect("a file");
    let told = PolicySet::from_dir(dir.path())
        .expect_err("refused")
        .to_string();
    assert!(told.contains("a file name has at most"), "{told}");
    fs::remove_file(&odd).expect("a file");

    std::os::unix::fs::symlink("/nowhere", dir.path().join("e.cedar")).expect("a link");
    assert!(matches!(
        PolicySet::from_dir(dir.path()),
        Err(PolicyError::Read { .. })
    ));
    fs::remove_file(dir.path().join("e.cedar")).expect("a file");

    // What editors leave behind is not looked at.
    fs::write(dir.path().join(".a.cedar.swp"), "x").expect("a file");
    fs::write(dir.path().join(".#a.cedar"), "x").expect("a file");
    assert!(PolicySet::from_dir(dir.path()).is_ok());
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
        if let Ok(policy) = PolicySet::from_dir(folder(&[("deep.cedar", &text)]).path()) {
            let acme = account("acme");
            let asked = MintContext {
                account: &acme,
                is_carrier: false,
                token: TokenContext::of(
                    &request(&["one:12125551001"], false, None),
                    3600,
                    clock_starts(),
                ),
                rows: None,
            };
            let _ = policy.may_mint(&Caller::at_the_command_line(uuid::Uuid::nil()), &asked);
        }
    }
    let brackets = format!(
        r#"{OWN} permit (principal, action == Action::"mint", resource) when {{ {}true{} }};"#,
        "(".repeat(49),
        ")".repeat(49)
    );
    assert!(PolicySet::from_dir(folder(&[("deep.cedar", &brackets)]).path()).is_ok());
    let dir = folder(&[("a.cedar", OWN)]);
    let large = format!("// {}\n", "x".repeat(17 * 1024 * 1024));
    fs::write(dir.path().join("large.cedar"), large).expect("a file");
    let told = PolicySet::from_dir(dir.path())
        .expect_err("refused")
        .to_string();
    assert!(told.contains("more than 16777216 bytes"), "{told}");
}

#[test]
fn ten_thousand_policies_are_the_most() {
    let one = |n| {
        format!(
            "@id(\"t{n}\") forbid (principal, action == Action::\"mint\", resource == Account::\"t{n}\");\n"
        )
    };
    let text: String = (0..=10_000).map(one).collect();
    let refused = refused(&[("a.cedar", &text)]);
    assert!(
        refused.contains("a set has at most 10000 policies; with `a.cedar` there are 10001"),
        "{refused}"
    );
    let (last, _) = text.trim_end().rsplit_once('\n').expect("lines");
    let most = PolicySet::from_dir(folder(&[("a.cedar", last)]).path()).expect("policies");
    assert_eq!(most.ids().len(), 10_000);
}
