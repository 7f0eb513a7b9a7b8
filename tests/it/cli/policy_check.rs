//! `policy check`, run as a security team runs it.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::authority::policies::folder;

pub const POLICIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/policies");
pub const OWN: &str = r#"@id("own")
permit (principal, action in [Action::"ask", Action::"mint"], resource)
when { principal.accounts.contains(resource) };
"#;
pub const CASE: &str = r#"[[case]]
name = "for itself"
caller = { role = "account", accounts = ["acme"] }
action = "mint"
account = "acme"
expect = "allow"
by = ["own"]
"#;

/// Whether it exits 0, and what it prints.
fn run(args: &[&str], env: &[(&str, &str)]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tn-authority"))
        .args(args)
        .envs(env.iter().copied())
        .output()
        .expect("the command");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.success(),
        text(&output.stdout) + &text(&output.stderr),
    )
}

pub fn check(dir: &Path) -> (bool, String) {
    run(&["policy", "check", &dir.display().to_string()], &[])
}

#[track_caller]
fn fails(files: &[(&str, &str)], line: &str) {
    let (sound, told) = check(folder(files).path());
    assert!(!sound, "{told}");
    assert!(
        told.lines()
            .any(|l| l.starts_with("FAILED  ") && l.contains(line)),
        "no `{line}` in:\n{told}"
    );
}

#[test]
fn the_built_in_policies_are_those_of_the_folder() {
    let (sound, built_in) = run(&["policy", "check"], &[]);
    assert!(sound, "{built_in}");
    let (sound, of_the_folder) = check(Path::new(POLICIES));
    assert!(sound, "{of_the_folder}");
    assert_eq!(built_in, of_the_folder);
    for line in [
        "ok      inventory.cedar: 3 policies",
        "ok      mint.cedar: 7 policies",
        "ok      tests/mint.toml: an account gets no tokens for another account",
    ] {
        assert!(built_in.lines().any(|l| l == line), "{line}: {built_in}");
    }
    let all_sound = built_in.lines().all(|line| !line.starts_with("warning"));
    assert!(all_sound, "{built_in}");
}

#[test]
fn the_example_is_taken_into_a_folder_of_ones_own() {
    let dir = TempDir::new().expect("a folder");
    let copy = |from: &str, to: &str| {
        let to = dir.path().join(to);
        fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        fs::copy(Path::new(POLICIES).join(from), to).expect("a file");
    };
    for file in [
        "inventory.cedar",
        "mint.cedar",
        "tests/inventory.toml",
        "tests/mint.toml",
    ] {
        copy(file, file);
    }
    copy("examples/office-hours.cedar", "office-hours.cedar");
    copy(
        "examples/tests/office-hours.toml",
        "tests/office-hours.toml",
    );
    let (sound, told) = check(dir.path());
    assert!(sound, "{told}");
    for line in [
        "ok      office-hours.cedar: 1 policy",
        "ok      1 policy for one account or caller, 10 for all",
        "ok      tests/office-hours.toml: not on Saturday at noon",
    ] {
        assert!(told.lines().any(|l| l == line), "{line}: {told}");
    }
    // The configuration may name it too.
    let named = dir.path().display().to_string();
    let (sound, same) = run(
        &["policy", "check"],
        &[("TN_AUTHORITY__POLICY__DIR", &named)],
    );
    assert!(sound);
    assert_eq!(same, told);
}

#[test]
fn faults_are_named_by_file_line_and_column() {
    fails(
        &[
            ("a.cedar", OWN),
            (
                "b.cedar",
                "// fine\n\nforbid principal, action, resource);\n",
            ),
        ],
        "b.cedar:3:8: unexpected token `principal`",
    );
    fails(
        &[("a.cedar", &OWN.replace("accounts", "acounts"))],
        "a.cedar:3:8: for policy `own`, attribute `acounts`",
    );
    fails(
        &[("a.cedar", &OWN.replace("\"mint\"", "\"melt\""))],
        "a.cedar:2:46: for policy `own`, unrecognized action `Action::\"melt\"`",
    );
    fails(
        &[(
            "a.cedar",
            "\npermit (principal == ?principal, action == Action::\"mint\", resource);",
        )],
        "a.cedar:2:22: templates",
    );
    fails(&[("a.cedar", "// nothing\n")], "no policy in");
    fails(&[], "no policy in");
    let (sound, told) = check(Path::new("/nowhere"));
    assert!(
        !sound && told.contains("FAILED  cannot read policies from `/nowhere`"),
        "{told}"
    );
    // All files are looked at.
    let (_, told) = check(folder(&[("a.cedar", "x"), ("b.cedar", "y")]).path());
    assert!(
        told.contains("FAILED  a.cedar:1:2") && told.contains("FAILED  b.cedar:1:2"),
        "{told}"
    );
}

#[test]
fn cases_are_read_strictly() {
    for (wrong, why) in [
        (
            CASE.replace("by =", "bye ="),
            "tests/a.toml:7:1: unknown field `bye`",
        ),
        (
            CASE.replace("account = \"acme\"", ""),
            "tests/a.toml:1:1: `for itself`: `account` is missing",
        ),
        (
            CASE.replace("\"account\",", "\"owner\","),
            "`for itself`: a role is admin",
        ),
        (
            CASE.replace("\"mint\"", "\"melt\""),
            "tests/a.toml:4:10: unknown variant `melt`",
        ),
        (
            CASE.replace("\"mint\"", "\"read\""),
            "go with `ask`, `mint` and `mint-claim-constraints`",
        ),
        (
            CASE.replace("\"allow\"", "\"deny\""),
            "`code` is missing: the code of the refusal",
        ),
        (
            format!("{CASE}code = \"x\"\n"),
            "`code` goes with `expect = \"deny\"`",
        ),
        (
            format!("{CASE}token = {{ lifetme = 1 }}\n"),
            "unknown field `lifetme`",
        ),
        (
            format!("{CASE}token = {{ lifetime = \"1\" }}\n"),
            "invalid type: string",
        ),
        (
            format!("{CASE}token = {{ lifetime = -1 }}\n"),
            "tests/a.toml:8:",
        ),
        (
            format!("{CASE}token = {{ largest = 2 }}\n"),
            "`largest` is at most `numbers`",
        ),
        (
            format!("{CASE}at = \"noon\"\n"),
            "`at`: a time is written as in RFC 3339",
        ),
        (
            format!("{CASE}{CASE}"),
            "tests/a.toml:8:1: another case is named `for itself`",
        ),
        (
            CASE.replace("for itself", " "),
            "`name` must say what the case shows",
        ),
        (
            CASE.replace("[[case]]", "[[cases]]"),
            "tests/a.toml:1:3: unknown field `cases`",
        ),
        (CASE.replace("= \"mint\"", "="), "tests/a.toml:4:"),
    ] {
        fails(&[("a.cedar", OWN), ("tests/a.toml", &wrong)], why);
    }
    let dir = folder(&[("a.cedar", OWN)]);
    fs::write(dir.path().join("tests/a.toml"), b"# \xff").expect("a file");
    let (sound, told) = check(dir.path());
    assert!(
        !sound && told.contains("tests/a.toml:1:3: is not UTF-8"),
        "{told}"
    );
}

#[test]
fn a_case_that_differs_fails() {
    let differing = CASE.replace("account = \"acme\"", "account = \"other\"");
    fails(
        &[("a.cedar", OWN), ("tests/a.toml", &differing)],
        "tests/a.toml: `for itself`: expected allow by `own`, but the decision is deny with `forbidden` by no policy",
    );
    let differing = CASE.replace("by = [\"own\"]", "by = []");
    fails(
        &[("a.cedar", OWN), ("tests/a.toml", &differing)],
        "expected allow by no policy, but the decision is allow by `own`",
    );
    let overflows = format!(
        "{OWN}@id(\"erring\") forbid (principal, action == Action::\"mint\", resource)\n\
         when {{ context.lifetime * 9223372036854775807 > 0 }};\n"
    );
    fails(
        &[("a.cedar", &overflows), ("tests/a.toml", CASE)],
        "but the decision is deny with `policy-error` by `erring`",
    );
}

#[test]
fn what_should_be_looked_at_is_a_warning() {
    let (sound, told) = check(folder(&[("a.cedar", OWN), ("own.cedarschema", "// ours")]).path());
    assert!(sound, "{told}");
    for line in [
        "warning no case in `tests/*.toml`, so nothing shows what the policies do",
        "warning own.cedarschema: differs from the service's own schema, which is used instead",
    ] {
        assert!(told.lines().any(|l| l == line), "{line}: {told}");
    }
    let unseen = format!(
        "{OWN}@id(\"no-ca\") @code(\"no-ca\") forbid (principal, action == Action::\"mint\", resource)\nwhen {{ context.ca }};\n\
         @code(\"x\") permit (principal, action == Action::\"read\", resource);"
    );
    let files = [
        ("a.cedar", unseen.as_str()),
        ("tests/a.toml", CASE),
        ("tests/b.json", "{}"),
    ];
    let (sound, told) = check(folder(&files).path());
    assert!(sound, "{told}");
    for line in [
        "warning no case is decided by `no-ca`",
        "warning a.cedar: policy 3 has no `@id`, so it is named `a.cedar:3`, which changes when policies are moved",
        "warning a.cedar: `a.cedar:3`: a `permit` needs no `@code` or `@message`: they are never shown",
        "warning tests/b.json: ignored, since it is not `*.toml`",
    ] {
        assert!(told.lines().any(|l| l == line), "{line}: {told}");
    }
}

#[test]
fn check_and_serve_refuse_what_policy_check_refuses() {
    let wrong = CASE.replace("allow", "deny") + "code = \"x\"\n";
    let dir = folder(&[("a.cedar", OWN), ("tests/a.toml", &wrong)]);
    let named = dir.path().display().to_string();
    let database = format!("sqlite:{named}/x.sqlite");
    let env = [
        ("TN_AUTHORITY__POLICY__DIR", named.as_str()),
        ("TN_AUTHORITY__DATABASE__URL", &database),
    ];
    let differs = "the policies fail their test cases: tests/a.toml: `for itself`";
    let (sound, told) = run(&["check"], &env);
    assert!(
        !sound && told.contains(&format!("FAILED  policies: {differs}")),
        "{told}"
    );
    let (sound, told) = run(&["explain", "acme", "+12125551001"], &env);
    assert!(!sound && told.contains(differs), "{told}");
}

#[test]
fn the_help_shows_a_policy_and_its_case() {
    let (_, told) = run(&["policy", "check", "--help"], &[]);
    for part in [
        "[[case]]",
        "expect = \"deny\"",
        "tests/*.toml",
        "Exits with 1",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    // What it shows is true.
    let shown = |from: &str, to: &str| -> String {
        let (_, rest) = told.split_once(from).expect(from);
        let (text, _) = rest.split_once(to).expect(to);
        text.lines().map(str::trim).collect::<Vec<_>>().join("\n")
    };
    let policy = format!("{OWN}{}", shown("A policy:\n", "\nIts case:"));
    let case = shown("Its case:\n", "\nA token has");
    let files = [("a.cedar", policy.as_str()), ("tests/a.toml", &case)];
    let (sound, told) = check(folder(&files).path());
    assert!(sound, "{told}");
}
