//! `signer distrust`: beside a service that runs, and what other commands say afterwards.

use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Child;

use serde_json::{Value, json};
use tn_authority::domain::TnAuthList;

use crate::crash::kill::{Carrier, free_port, read_answer};
use crate::support::{Db, Logged as _, fingerprint};

both!(
    a_stolen_key_is_distrusted_beside_a_service,
    what_is_wrong_distrusts_nothing,
);

/// A service that is killed at the end.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Exit code, and all that it printed.
fn said(carrier: &Carrier, args: &[&str]) -> (Option<i32>, String) {
    let output = carrier.command(args).logged_output();
    let both = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8(both).expect("text").trim().to_owned(),
    )
}

fn asks_for_a_token(carrier: &Carrier, at: SocketAddr) -> Value {
    let list = TnAuthList::from_entries(vec!["one:12125551001".parse().expect("an entry")]);
    let body = json!({
        "tktype": "TNAuthList", "tkvalue": list.expect("a list").to_tkvalue(), "fingerprint": fingerprint(),
    })
    .to_string();
    let mut connection = TcpStream::connect(at).expect("a connection");
    let head = format!(
        "POST /at/account/acme/token HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        carrier.api_key,
        body.len()
    );
    connection.write_all(head.as_bytes()).expect("a request");
    read_answer(&mut BufReader::new(connection)).expect("an answer")
}

fn a_stolen_key_is_distrusted_beside_a_service(db: Db) {
    let carrier = Carrier::over(&db);
    let at = free_port();
    let serving = Serving(carrier.serve(at));
    assert!(asks_for_a_token(&carrier, at)["token"].is_string());
    let listed = carrier.run(&["signer", "list"]);
    let chain = listed.split(' ').nth(1).expect("a chain").to_owned();
    assert!(
        listed.starts_with(&format!("active {chain} `CN=SHAKEN 1234")),
        "{listed}"
    );

    let distrust = ["signer", "distrust", &chain, "--reason", "a stolen laptop"];
    let told = carrier.run(&distrust);
    for part in [
        &*format!("chain {chain} is distrusted since 20"),
        ": a stolen laptop",
        "could still accept: 1, until 20",
        "all are withdrawn",
    ] {
        assert!(told.contains(part), "{told}");
    }
    // The service has polled nothing since.
    let refused = asks_for_a_token(&carrier, at);
    assert_eq!(refused["code"], "key-distrusted", "{refused}");
    assert_eq!(carrier.run(&distrust), told, "it can be repeated");

    let listed = carrier.run(&["signer", "list"]);
    assert!(
        listed.starts_with(&format!("distrusted {chain} ")),
        "{listed}"
    );
    assert!(listed.contains(": a stolen laptop"), "{listed}");
    let (code, checked) = said(&carrier, &["check"]);
    assert_eq!(code, Some(1), "{checked}");
    let line = checked.lines().find(|line| line.contains("signing key"));
    let line = line.expect("a line");
    assert!(
        line.starts_with("FAILED  signing key and chain: `CN=SHAKEN 1234")
            && line.contains("the key is distrusted since 20")
            && line.contains("(a stolen laptop); make a new key and certificate"),
        "{line}"
    );

    // The database is asked if a configuration is named.
    let file = |name: &str| carrier.dir.path().join(name).display().to_string();
    std::fs::write(file("tn-authority.toml"), "").expect("a file");
    let (config, chain_file) = (file("tn-authority.toml"), file("chain.pem"));
    let inspect = ["certificate", "inspect", &chain_file];
    for (config, usable) in [(&["--config", &config][..], false), (&[], true)] {
        let args = [config, &inspect].concat();
        let (code, line) = said(&carrier, &args);
        let line: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(code, Some(0), "{line}");
        assert_eq!(line["usable_for_signing"], usable, "{line}");
        assert_eq!(line.to_string().contains("a stolen laptop"), !usable);
    }

    // A restart with the same files changes nothing.
    drop(serving);
    let at = free_port();
    let _serving = Serving(carrier.serve(at));
    let refused = asks_for_a_token(&carrier, at);
    assert_eq!(refused["code"], "key-distrusted", "{refused}");
}

fn what_is_wrong_distrusts_nothing(db: Db) {
    let carrier = Carrier::over(&db);
    let chain = "0".repeat(64);
    for (args, exit, reason) in [
        (
            &["signer", "distrust", &chain, "--reason", "stolen"][..],
            1,
            "there is no certificate chain with this id",
        ),
        (&["signer", "distrust", &chain], 2, "--reason"),
        (
            &["signer", "distrust", &chain, "--reason", ""],
            2,
            "say why the key is distrusted",
        ),
        (
            &["signer", "distrust", &chain, "--reason", &"x".repeat(257)],
            2,
            "has more than 256 characters",
        ),
    ] {
        let (code, told) = said(&carrier, args);
        assert_eq!(code, Some(exit), "{args:?}: {told}");
        assert!(told.contains(reason), "{args:?}: {told}");
    }
    assert_eq!(carrier.run(&["signer", "list"]), "");
}
