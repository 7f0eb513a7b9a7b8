//! `api-key`, run as an operator runs it.

use std::process::Command;

use tempfile::TempDir;

const EXECUTABLE: &str = env!("CARGO_BIN_EXE_tn-authority");

/// Runs a command over a database in this folder; what it prints, or why not.
fn run(dir: &TempDir, args: &[&str]) -> Result<String, String> {
    let output = Command::new(EXECUTABLE)
        .args(args)
        .current_dir(dir.path())
        .env("RUST_LOG", "warn")
        .output()
        .expect("the command");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8").trim().to_owned();
    if output.status.success() {
        Ok(text(output.stdout))
    } else {
        Err(text(output.stderr))
    }
}

#[test]
fn keys_are_kept_at_the_command_line() {
    let dir = TempDir::new().expect("a folder");
    let api_key = |args: &[&str]| run(&dir, &[&["api-key"], args].concat());
    run(&dir, &["account", "create", "acme"]).expect("an account");
    let create = ["create", "--role", "account", "--account", "acme"];
    let more = ["--label", "orders", "--allow-from", "192.0.2.0/24"];
    let key = api_key(&[&create[..], &more].concat()).expect("a key");
    let id = key[4..20].to_owned();

    let listed = api_key(&["list"]).expect("keys");
    assert!(
        listed.starts_with(&format!(
            "{id} active account for acme from 192.0.2.0/24 created "
        )),
        "{listed}"
    );
    assert!(listed.ends_with("(orders)"), "{listed}");
    let again = api_key(&["rotate", &id, "--overlap", "60"]).expect("a key");
    assert!(again.starts_with(&format!("tna_{id}_")) && again != key);
    let told = api_key(&["expire", &id, "--at", "2099-01-01T00:00:00Z"]);
    assert_eq!(told, Ok("expires at 2099-01-01T00:00:00Z".to_owned()));
    assert_eq!(api_key(&["revoke", &id]), Ok("revoked".to_owned()));
    let listed = api_key(&["list"]).expect("keys");
    assert!(listed.starts_with(&format!("{id} revoked ")), "{listed}");
    for secret in [&key, &again].map(|key| key.splitn(3, '_').nth(2).expect("a secret")) {
        assert!(!listed.contains(secret));
    }

    // A whole key names its id; its secret is neither needed nor shown.
    let other = api_key(&["create", "--role", "admin"]).expect("a key");
    let rotated = api_key(&["rotate", &other]).expect("a key");
    assert!(rotated.starts_with(&other[..20]) && rotated != other);
    assert_eq!(api_key(&["revoke", &rotated]), Ok("revoked".to_owned()));
    let again = api_key(&["rotate", &rotated]).expect_err("it is revoked");
    let secret = &rotated[21..];
    assert!(
        again.contains(&format!(
            "note: the id `{}` would have been enough",
            &other[4..20]
        )) && !again.contains(secret),
        "{again}"
    );
    let cut = format!("tna_{secret}");
    for command in [
        &["rotate"][..],
        &["revoke"],
        &["expire", "--at", "2099-01-01T00:00:00Z"],
    ] {
        let said = api_key(&[command, &[cut.as_str()]].concat()).expect_err("no id");
        assert!(
            said.contains("give the 16 characters after `tna_`") && !said.contains(secret),
            "{said}"
        );
    }

    for (args, why) in [
        (&["rotate", id.as_str()][..], "the key is revoked"),
        (&["rotate", id.as_str(), "--overlap", "2592001"], "2592001"),
        (&["revoke", "0123456789abcdef"], "there is no API key"),
        (&["create", "--role", "account"], "exactly one account"),
        (
            &["create", "--role", "admin", "--allow-from", "192.0.2.1/24"],
            "the network is 192.0.2.0/24",
        ),
        (
            &[
                "create",
                "--role",
                "admin",
                "--expires-at",
                "2020-01-01T00:00:00Z",
            ],
            "is in the past",
        ),
    ] {
        let told = api_key(args).expect_err(why);
        assert!(told.contains(why), "{told}");
    }
}
