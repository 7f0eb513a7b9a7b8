//! What the commands of effective control say to people who mistype or misconfigure them.

use std::process::Command;

use tempfile::TempDir;

use crate::acme::carrier::EXECUTABLE;
use crate::control_sip::agent::new_key_pem;
use crate::support::peers::Peer;
use crate::support::tls::TlsServer;
use crate::support::{Logged as _, write_private};

/// What a command says, and with which code it ends.
fn said(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(EXECUTABLE).args(args).logged_output();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// The text on one line, however the terminal breaks it.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_mistyped_id_is_told_what_an_id_is() {
    for command in [&["show", "nope"][..], &["confirm", "nope", "123456"]] {
        let (code, text) = said(&[&["control"], command].concat());
        assert_eq!(code, Some(2), "{text}");
        let text = plain(&text);
        assert!(text.contains("the id of a proof is a UUID"), "{text}");
        assert!(text.contains("`control list`"), "{text}");
        assert!(!text.contains("optional prefix"), "{text}");
    }
    let (_, help) = said(&["control", "list", "--help"]);
    let help = plain(&help);
    assert!(
        help.contains("<ACCOUNT> The account that the numbers are delegated to"),
        "{help}"
    );
}

#[test]
fn the_agent_says_what_is_wrong_with_its_arguments() {
    let with = |listen: &str, authority: &str, proxy: &[&str]| {
        let args = [
            "control-agent",
            "--account-key",
            "nowhere.pem",
            "--listen",
            listen,
            "--authority",
            authority,
        ];
        let (code, text) = said(&[&args, proxy].concat());
        assert_eq!(code, Some(2), "{text}");
        plain(&text)
    };
    let (udp, https, proxy) = (
        "udp:127.0.0.1:0",
        "https://a.example",
        ["--proxy", "192.0.2.1"],
    );
    let text = with(udp, "http://a.example", &proxy);
    assert!(text.contains("`http://` is not encrypted"), "{text}");
    let text = with("127.0.0.1:5060", https, &proxy);
    assert!(text.contains("such as `udp:0.0.0.0:5060`"), "{text}");
    // From everyone would be an invitation.
    let text = with(udp, https, &[]);
    assert!(text.contains("--proxy <IP>"), "{text}");
}

/// The agent's key is printed, and a certificate that it does not trust is named as such.
#[test]
fn the_agent_says_which_key_it_has_and_whom_it_does_not_trust() {
    let dir = TempDir::new().expect("a folder");
    let key = dir.path().join("account.pem");
    write_private(&key, &new_key_pem());
    let (_, fingerprint) = said(&["fingerprint", key.to_str().expect("a path")]);
    let server = TlsServer::new();
    let url = server.url();
    server.serve(|_| {});
    let mut command = Command::new(EXECUTABLE);
    command
        .args(["control-agent", "--listen", "udp:127.0.0.1:0"])
        .args(["--proxy", "127.0.0.1", "--authority", &url, "--account-key"])
        .arg(&key);
    let mut agent = Peer::start(&mut command, &dir.path().join("agent.log"));
    let address = agent.until(|agent| {
        let said = agent.said();
        let line = said
            .lines()
            .find_map(|line| line.strip_prefix("listening on "));
        line.map(str::to_owned)
    });
    let expected = format!("answering with the ACME account key {}", fingerprint.trim());
    assert!(agent.said().contains(&expected), "{}", agent.said());
    crate::control_sip::flood::sends_to(&address, "a-nonce");
    agent.until(|agent| {
        agent
            .said()
            .contains("name it by `--ca-file`")
            .then_some(())
    });
}
