//! The carrier's proxy and a phone: Kamailio and `sipp` from Debian's packages.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tn_authority::sip::client::send;
use tn_authority::sip::message::SipMessage;

use crate::support::peers::{Peer, libraries, peer};

/// A phone that hears everything and answers nothing.
const SILENT_PHONE: &str = r#"<?xml version="1.0"?>
<scenario name="a phone that does not answer">
  <recv request="MESSAGE"/>
  <pause milliseconds="60000"/>
</scenario>
"#;

/// A UDP port of the loopback interface that is free now.
pub fn free_udp_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.local_addr().expect("an address").port()
}

/// A proxy that knows where each number is.
pub struct Proxy {
    _kamailio: Peer,
    pub address: SocketAddr,
}

impl Proxy {
    /// Starts Kamailio, on UDP and TCP. `numbers` says where each number is; it knows no others.
    pub fn start(dir: &Path, numbers: &[(&str, SocketAddr)]) -> Self {
        let folder = peer("kamailio");
        let modules = format!("{}/kamailio", libraries(&folder));
        let port = free_udp_port();
        let routes: Vec<String> = numbers
            .iter()
            .map(|(number, at)| {
                format!("  if ($rU == \"{number}\") {{ $du = \"sip:{at}\"; t_relay(); exit; }}\n")
            })
            .collect();
        let config = dir.join("kamailio.cfg");
        let text = format!(
            "#!KAMAILIO\ndebug=1\nlog_stderror=yes\nchildren=1\ntcp_children=1\nauto_aliases=no\n\
             listen=udp:127.0.0.1:{port}\nlisten=tcp:127.0.0.1:{port}\nmpath=\"{modules}/modules/\"\n\
             loadmodule \"tm.so\"\nloadmodule \"sl.so\"\nloadmodule \"pv.so\"\nloadmodule \"maxfwd.so\"\n\
             loadmodule \"textops.so\"\nmodparam(\"tm\", \"fr_timer\", 1500)\n\
             request_route {{\n\
             \x20 if (!mf_process_maxfwd_header(\"10\")) {{ sl_send_reply(\"483\", \"Too Many Hops\"); exit; }}\n\
             \x20 if (is_method(\"OPTIONS\")) {{ sl_send_reply(\"200\", \"OK\"); exit; }}\n{}\
             \x20 sl_send_reply(\"404\", \"Not Found\");\n}}\n",
            routes.concat()
        );
        std::fs::write(&config, text).expect("a file");
        let mut command = Command::new(folder.join("usr/sbin/kamailio"));
        command
            .args(["-DD", "-E", "-m", "16", "-M", "4", "-f"])
            .arg(&config)
            .arg("-Y")
            .arg(dir)
            .arg("-w")
            .arg(dir)
            .env(
                "LD_LIBRARY_PATH",
                format!("{}:{modules}", libraries(&folder)),
            );
        let mut kamailio = Peer::start(&mut command, &dir.join("kamailio.log"));
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        kamailio.until(|_| answers(address).then_some(()));
        Self {
            _kamailio: kamailio,
            address,
        }
    }
}

/// A phone that hears each message and answers none.
pub struct SilentPhone {
    sipp: Peer,
    pub address: SocketAddr,
}

impl SilentPhone {
    pub fn start(dir: &Path) -> Self {
        let folder = peer("sipp");
        let scenario = dir.join("silent.xml");
        std::fs::write(&scenario, SILENT_PHONE).expect("a file");
        let port = free_udp_port();
        let mut command = Command::new(folder.join("usr/bin/sipp"));
        command
            .arg("-sf")
            .arg(scenario)
            .args(["-i", "127.0.0.1", "-nostdin", "-trace_msg", "-message_file"])
            .arg(dir.join("heard.log"))
            .args(["-p", &port.to_string()])
            .env("LD_LIBRARY_PATH", libraries(&folder))
            .env("TERM", "dumb");
        let mut sipp = Peer::start(&mut command, &dir.join("sipp.log"));
        // It has the port as soon as nobody else can have it.
        sipp.until(|_| UdpSocket::bind(("127.0.0.1", port)).is_err().then_some(()));
        Self {
            sipp,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
        }
    }

    /// Waits until a message for this number has arrived.
    pub fn hears(&mut self, dir: &Path, number: &str) {
        let log = dir.join("heard.log");
        let heard = || std::fs::read_to_string(&log).unwrap_or_default();
        self.sipp.until(|_| heard().contains(number).then_some(()));
    }
}

fn answers(proxy: SocketAddr) -> bool {
    let target = format!("udp:{proxy}").parse().expect("a target");
    let request = SipMessage::request("OPTIONS", "sip:carrier.example")
        .with("From", "<sip:test@carrier.example>;tag=1")
        .with("To", "<sip:carrier.example>")
        .with("Call-ID", "up@carrier.example")
        .with("CSeq", "1 OPTIONS")
        .with("Max-Forwards", "70");
    send(&target, &request, Duration::from_secs(1), "up").is_ok_and(|status| status == 200)
}
