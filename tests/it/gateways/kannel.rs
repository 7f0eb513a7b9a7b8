//! Kannel itself: bearerbox, smsbox, and the phones of its fake SMSC.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tn_authority::domain::control::proof::ProofState;
use tn_authority::domain::control::sending::{SendFailure, SendOutcome};
use tn_authority::gateways::{Gateway as _, KannelGateway, KannelSettings};

use super::asking::{asks, carrier, code_in, confirms, outgoing, proof, sends_over, state, until};
use crate::support::Kind;
use crate::support::peers::{Peer, free_port, libraries, peer};

both!(a_code_goes_out_over_kannel_and_comes_back);

const PASSWORD: &str = "open sesame";

struct Kannel {
    port: u16,
    phones: Peer,
    // In the order in which they end.
    _smsbox: Peer,
    _bearerbox: Peer,
    _dir: TempDir,
}

fn address(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

fn configuration(ports: [u16; 4]) -> String {
    let [admin, boxes, smsc, sendsms] = ports;
    format!(
        "group = core\nadmin-port = {admin}\nadmin-interface = 127.0.0.1\nadmin-password = {PASSWORD}\n\
         smsbox-port = {boxes}\nsmsbox-interface = 127.0.0.1\nbox-allow-ip = 127.0.0.1\nlog-level = 1\n\n\
         group = smsc\nsmsc = fake\nsmsc-id = fake\nport = {smsc}\nconnect-allow-ip = 127.0.0.1\n\n\
         group = smsbox\nbearerbox-host = 127.0.0.1\nsendsms-port = {sendsms}\nsendsms-interface = 127.0.0.1\n\
         global-sender = 70707\nlog-level = 1\n\n\
         group = sendsms-user\nusername = tn\npassword = {PASSWORD}\nmax-messages = 3\nconcatenation = true\n\n\
         group = sms-service\nkeyword = default\nmax-messages = 0\ntext = \"\"\n"
    )
}

impl Kannel {
    fn start() -> Self {
        let (folder, dir) = (peer("kannel"), TempDir::new().expect("a folder"));
        let ports = [(); 4].map(|()| free_port());
        let [admin, boxes, smsc, sendsms] = ports;
        let file = dir.path().join("kannel.conf");
        std::fs::write(&file, configuration(ports)).expect("a file");
        let run = |program: &str, log: &str| {
            let mut command = Command::new(folder.join(program));
            command.env("LD_LIBRARY_PATH", libraries(&folder));
            (command, dir.path().join(log))
        };
        let (mut command, log) = run("usr/sbin/bearerbox", "bearerbox.log");
        let mut bearerbox = Peer::start(command.arg(&file), &log);
        bearerbox.listens(address(admin));
        bearerbox.listens(address(boxes));
        let (mut command, log) = run("usr/sbin/smsbox", "smsbox.log");
        let mut smsbox = Peer::start(command.arg(&file), &log);
        smsbox.listens(address(sendsms));
        let (mut command, log) = run("usr/lib/kannel/test/fakesmsc", "phones.log");
        let fake = [
            "-H",
            "127.0.0.1",
            "-r",
            &smsc.to_string(),
            "-i",
            "0.01",
            "-m",
            "0",
            "1 2 text nop",
        ];
        let mut phones = Peer::start(command.args(fake), &log);
        phones.until(|phones| phones.said().contains("Connecting").then_some(()));
        Self {
            port: sendsms,
            phones,
            _smsbox: smsbox,
            _bearerbox: bearerbox,
            _dir: dir,
        }
    }

    fn gateway(&self, password: &str) -> KannelGateway {
        let settings = KannelSettings {
            target: format!("http://127.0.0.1:{}/cgi-bin/sendsms", self.port),
            username: "tn".to_owned(),
            password: password.into(),
            from: Some("CARRIER".to_owned()),
            ca_pem: None,
            allow_plain: false,
            timeout: Duration::from_secs(10),
        };
        KannelGateway::new(settings).expect("a gateway")
    }

    /// What the phones got: sender, number, kind and text.
    fn received(&mut self, count: usize) -> Vec<String> {
        self.phones.until(|phones| {
            let said = phones.said();
            let got = said
                .lines()
                .filter_map(|line| line.split_once("Got message "));
            let got = got.filter_map(|(_, rest)| rest.split_once('<'));
            let got: Vec<String> = got
                .map(|(_, text)| text.trim_end_matches('>').to_owned())
                .collect();
            (got.len() >= count).then_some(got)
        })
    }
}

fn a_code_goes_out_over_kannel_and_comes_back(kind: Kind) {
    let mut kannel = Kannel::start();
    let world = carrier(kind);
    let _threads = sends_over(&world, Box::new(kannel.gateway(PASSWORD)));
    let id = asks(&world, 1)[0].id;
    let got = kannel.received(1);
    let text = got[0]
        .strip_prefix("CARRIER +12125551000 text ")
        .expect("a text");
    let code = code_in(text);
    assert_eq!(
        text,
        format!("{code} is the code with which acme shows that it uses +12125551000.")
    );
    until("sent", || proof(&world, id).sent_at.is_some());
    assert!(
        confirms(&world, id, "").is_ok_and(|outcome| format!("{outcome:?}").contains("Refused"))
    );
    confirms(&world, id, &code).expect("confirmed");
    assert_eq!(state(&world, id), ProofState::Confirmed);
}

#[test]
fn kannel_gets_each_text_in_an_alphabet_that_has_it() {
    let mut kannel = Kannel::start();
    let gateway = kannel.gateway(PASSWORD);
    for text in ["123456 é @ € & =", "123456 жук"] {
        assert_eq!(
            gateway.send(&outgoing(text)),
            SendOutcome::Accepted,
            "{text}"
        );
    }
    let got = kannel.received(2);
    assert_eq!(got[0], "CARRIER +12125551001 text 123456 é @ € & =");
    // UTF-16, percent-encoded.
    assert!(
        got[1].starts_with("CARRIER +12125551001 ucs-2 %001%002%003"),
        "{got:?}"
    );
    assert!(got[1].ends_with("%00+%046%04C%04%3A"), "{got:?}");
}

#[test]
fn kannel_refuses_a_wrong_password() {
    let kannel = Kannel::start();
    let login = SendOutcome::Unclear(SendFailure::Login, None);
    assert_eq!(kannel.gateway("wrong").send(&outgoing("a")), login);
}
