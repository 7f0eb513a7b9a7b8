//! What `check` says about gateways. It sends nothing, and connects to nothing.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use crate::support::{Logged as _, write_private};

const EXECUTABLE: &str = env!("CARGO_BIN_EXE_tn-authority");

/// The lines of `check` about gateways, and everything else that it wrote.
fn checked(dir: &TempDir, sections: &str) -> (Vec<String>, String) {
    let file = dir.path().join("tn-authority.toml");
    let text = format!("[database]\nurl = \"sqlite:data.sqlite\"\n{sections}");
    fs::write(&file, text).expect("a file");
    let mut process = Command::new(EXECUTABLE);
    process
        .arg("check")
        .arg("--config")
        .arg(&file)
        .current_dir(dir.path());
    let output = process.logged_output();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let about = told.lines().filter(|line| line.contains(" gateways"));
    let about = about.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    let rest = String::from_utf8_lossy(&output.stderr).into_owned();
    (about.collect(), told.clone() + &rest)
}

fn folder() -> TempDir {
    let dir = TempDir::new().expect("a folder");
    write_private(&dir.path().join("secret"), "sesame\n");
    write_private(&dir.path().join("long"), "nine-char\n");
    write_private(&dir.path().join("empty"), "\n");
    write_private(&dir.path().join("no-ca"), "no certificate\n");
    dir
}

const SMPP: &str = "kind = \"smpp\"\nmethods = [\"sms\"]\nusername = \"u\"\n";
const KANNEL: &str = "kind = \"kannel\"\nmethods = [\"sms\"]\nusername = \"u\"\n";
const HTTP: &str = "kind = \"http\"\nmethods = [\"voice\"]\n";

#[test]
fn check_lists_gateways_that_can_be_used() {
    let dir = folder();
    let (lines, all) = checked(
        &dir,
        &format!(
            "[control.gateways.a]\n{KANNEL}target = \"http://127.0.0.1:1/\"\nsecret_file = \"secret\"\n\
             [control.gateways.b]\n{SMPP}target = \"smsc.invalid:2775\"\nsecret_file = \"secret\"\ntls = true\n\
             [control.gateways.c]\n{HTTP}target = \"https://x.invalid/?n={{digits}}&t={{text}}\"\n"
        ),
    );
    let lines: Vec<&String> = lines.iter().filter(|l| l.starts_with("ok")).collect();
    let expected = [
        "ok gateways: message",
        "ok gateways: `a`",
        "ok gateways: `b`",
        "ok gateways: `c`",
    ];
    assert_eq!(lines, expected, "{all}");
    assert!(!all.contains("sesame"), "{all}");
    let (none, _) = checked(&dir, "");
    assert_eq!(none, [""; 0]);
}

#[test]
fn check_says_what_is_wrong_with_a_gateway() {
    let dir = folder();
    for (section, part) in [
        (
            format!("{SMPP}target = \"h:2775\"\nsecret_file = \"missing\"\n"),
            "the `secret_file` `missing` cannot be read",
        ),
        (
            format!("{SMPP}target = \"h:2775\"\nsecret_file = \"empty\"\n"),
            "`empty` is empty",
        ),
        (
            format!("{SMPP}target = \"h:2775\"\nsecret_file = \"long\"\n"),
            "`secret_file` is not ASCII of at most 8 characters",
        ),
        (
            format!(
                "{SMPP}target = \"h:2775\"\nsecret_file = \"secret\"\ntls = true\nca_file = \"no-ca\"\n"
            ),
            "`ca_file`",
        ),
        (
            format!("{SMPP}target = \"ho st:2775\"\nsecret_file = \"secret\"\n"),
            "`target` must be `host:port`, the name",
        ),
        (
            format!("{KANNEL}target = \"http://kannel.example/\"\nsecret_file = \"secret\"\n"),
            "`target` is `http://`",
        ),
        (
            format!("{HTTP}target = \"https://x.invalid/?t={{txt}}\"\n"),
            "`target` names `{txt}`",
        ),
        (
            format!("{HTTP}target = \"https://x.invalid/?n={{digits}}#{{code}}\"\n"),
            "`target` has a `#`",
        ),
        (
            format!(
                "{HTTP}target = \"https://x.invalid/?n={{digits}}&t={{text}}\"\nheaders = {{ x-from = \"a\\r\\nb\" }}\n"
            ),
            "`headers` has a line break or another character that is not visible ASCII in the value of `x-from`",
        ),
        (
            format!("{HTTP}target = \"https://x.invalid/?n={{digits}}\"\n"),
            "names neither `{code}` nor `{text}`",
        ),
    ] {
        let (lines, all) = checked(&dir, &format!("[control.gateways.one]\n{section}"));
        let is_said = |line: &String| line.starts_with("FAILED gateways: control.gateways.one: ");
        let said = lines
            .iter()
            .find(|line| is_said(line) && line.contains(part));
        assert!(said.is_some(), "{part}: {all}");
    }
    let message = "[control]\nmessage = \"{code} {name}\"\n[control.gateways.one]\n";
    let section = format!("{KANNEL}target = \"http://127.0.0.1/\"\nsecret_file = \"secret\"\n");
    let (lines, all) = checked(&dir, &format!("{message}{section}"));
    assert!(lines[0].contains("control.message names `{name}`"), "{all}");
}

/// What is read before anything else names the key, too.
#[test]
fn what_no_gateway_could_use_is_an_error_of_the_configuration() {
    let dir = folder();
    for (section, part) in [
        (
            format!(
                "[control.gateways.one]\n{SMPP}target = \"smpp://smsc.invalid:2775\"\nsecret_file = \"secret\"\n"
            ),
            "`control.gateways.one.target` must be `host:port` alone, without `smpp://`",
        ),
        (
            "[control.gateways.one]\nkind = \"sip\"\nmethods = [\"sip\"]\nfrom = \"sip:a@b\"\n\
             target = \"sip:proxy.invalid\"\n"
                .to_owned(),
            "`control.gateways.one.target` must be `udp:host:port` or `tcp:host:port`, and no URI",
        ),
        (
            "[control]\nmessage = \"{code}\\u0000\"\n".to_owned(),
            "`control.message` has the control character U+0000",
        ),
    ] {
        let (_, all) = checked(&dir, &section);
        assert!(all.contains(part), "{part}: {all}");
    }
}

#[test]
fn check_warns_of_gateways_that_do_not_do_what_they_seem_to() {
    let dir = folder();
    let secret = "secret_file = \"secret\"\n";
    let (lines, all) = checked(
        &dir,
        &format!(
            "[control.gateways.a]\n{SMPP}target = \"smsc.invalid:2775\"\n{secret}\
             [control.gateways.b]\n{SMPP}target = \"127.0.0.1:2775\"\n{secret}\
             [control.gateways.c]\n{SMPP}target = \"smsc.invalid:2775\"\n{secret}tls = true\n\
             [control.gateways.d]\n{HTTP}target = \"https://x.invalid/?n={{digits}}&t={{text}}\"\n"
        ),
    );
    let warnings: Vec<&String> = lines.iter().filter(|l| l.starts_with("warning")).collect();
    let expected = [
        ("`control.gateways.a` sends its password", "tls = true"),
        ("`control.gateways.b` is never used", "first by name"),
        ("`control.gateways.c` is never used", "first by name"),
    ];
    assert_eq!(warnings.len(), expected.len(), "{all}");
    for (warning, (what, help)) in warnings.iter().zip(expected) {
        assert!(
            warning.contains(what) && warning.contains(help),
            "{warning}"
        );
    }
    // A policy that asks for control, and no way to prove it.
    let root = env!("CARGO_MANIFEST_DIR");
    let policies = dir.path().join("policies");
    fs::create_dir(&policies).expect("a folder");
    for name in ["mint", "inventory", "claim-constraints", "examples/control"] {
        let file = name.rsplit('/').next().expect("a name");
        let to = policies.join(format!("{file}.cedar"));
        fs::copy(format!("{root}/policies/{name}.cedar"), to).expect("a copy");
    }
    let policy = "[policy]\ndir = \"policies\"\n";
    let (lines, all) = checked(&dir, policy);
    assert!(
        lines[0].contains("`context.control`, but no gateway"),
        "{all}"
    );
    let gateway = format!("[control.gateways.b]\n{SMPP}target = \"127.0.0.1:2775\"\n{secret}");
    let (lines, all) = checked(&dir, &format!("{policy}{gateway}"));
    assert_eq!(lines, ["ok gateways: message", "ok gateways: `b`"], "{all}");
}
