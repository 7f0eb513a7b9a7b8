//! Gateways: which keys each kind has.

use super::{from_toml, message};

const HTTP: &str =
    "kind = \"http\"\nmethods = [\"sms\"]\ntarget = \"https://sms.example/?c={code}&n={number}\"\n";
const KANNEL: &str = "kind = \"kannel\"\nmethods = [\"sms\"]\ntarget = \"http://127.0.0.1/\"\nusername = \"u\"\n\
                      secret_file = \"/s\"\n";
const SMPP: &str = "kind = \"smpp\"\nmethods = [\"sms\"]\ntarget = \"smsc.example:2775\"\nusername = \"u\"\n\
                    secret_file = \"/s\"\n";
const SIP: &str = "kind = \"sip\"\nmethods = [\"sip\"]\ntarget = \"udp:proxy.example:5060\"\nfrom = \"sip:a@b\"\n";

fn section(kind: &str, more: &str) -> String {
    format!("[control.gateways.one]\n{kind}{more}\n")
}

#[test]
fn each_kind_can_be_configured() {
    for kind in [HTTP, KANNEL, SMPP, SIP] {
        let config = from_toml(&section(kind, "")).expect(kind);
        let gateway = &config.control.gateways["one"];
        assert_eq!((gateway.timeout, gateway.concurrency), (10, 4));
    }
}

#[test]
fn a_key_of_another_kind_is_refused() {
    for (kind, keys) in [
        (
            HTTP,
            &[
                "username = \"u\"",
                "from = \"x\"",
                "tls = true",
                "system_type = \"x\"",
            ][..],
        ),
        (
            KANNEL,
            &[
                "tls = true",
                "body = \"x\"",
                "http_method = \"POST\"",
                "expected_status = 200",
                "expected_text = \"x\"",
                "headers = { a = \"b\" }",
                "system_type = \"x\"",
            ],
        ),
        (
            SMPP,
            &[
                "allow_plain = true",
                "body = \"x\"",
                "headers = { a = \"b\" }",
            ],
        ),
        (
            SIP,
            &[
                "system_type = \"x\"",
                "body = \"x\"",
                "expected_text = \"x\"",
            ],
        ),
    ] {
        for key in keys {
            let name = key.split(' ').next().expect("a key");
            let message = message(from_toml(&section(kind, key)));
            let part = format!("control.gateways.one.{name}");
            assert!(message.contains(&part), "{key}: {message}");
            assert!(
                message.contains("does not apply to kind"),
                "{key}: {message}"
            );
        }
    }
}

#[test]
fn what_a_kind_needs_cannot_be_left_out() {
    for (kind, key) in [
        (KANNEL, "username"),
        (KANNEL, "secret_file"),
        (SMPP, "username"),
        (SMPP, "secret_file"),
        (SIP, "from"),
        (HTTP, "target"),
        (HTTP, "methods"),
    ] {
        let rest = kind.lines().filter(|line| !line.starts_with(key));
        let rest: Vec<&str> = rest.collect();
        let message = message(from_toml(&section(&rest.join("\n"), "")));
        assert!(message.contains(key), "{key}: {message}");
    }
}

#[test]
fn values_that_cannot_work_are_refused() {
    for (kind, key, part) in [
        (HTTP, "http_method = \"DELETE\"", "GET, POST or PUT"),
        (
            HTTP,
            "http_method = \"GET\"\nbody = \"x\"",
            "POST and PUT only",
        ),
        (HTTP, "expected_status = 302", "200 to 299"),
        (HTTP, "expected_text = \"\"", "is empty"),
        (
            HTTP,
            "headers = { \"Content-Length\" = \"1\" }",
            "set by the service",
        ),
        (HTTP, "headers = { \"a b\" = \"1\" }", "header field"),
        (HTTP, "timeout = 31", "more than 30"),
        (HTTP, "timeout = 0", "at least 1"),
        (HTTP, "concurrency = 33", "more than 32"),
        (KANNEL, "from = \"é\"", "visible ASCII"),
        (KANNEL, "from = \"a\\r\\nb\"", "visible ASCII"),
        (SMPP, "ca_file = \"/x\"", "needs `tls = true`"),
        (SMPP, "system_type = \"more than twelve\"", "more than 12"),
        (SMPP, "from = \"123456789012345678901\"", "more than 20"),
    ] {
        let message = message(from_toml(&section(kind, key)));
        assert!(message.contains(part), "{key}: {message}");
    }
    for (kind, from, to, part) in [
        (HTTP, "\"sms\"", "\"sip\"", "has `sip`"),
        (KANNEL, "\"sms\"", "\"voice\"", "has `voice`"),
        (SIP, "[\"sip\"]", "[\"sms\"]", "has `sms`"),
        (SMPP, "smsc.example:2775", "smsc.example", "host:port"),
        (SMPP, "smsc.example:2775", ":2775", "host:port"),
        (SMPP, "\"u\"", "\"sixteen-letters-\"", "more than 15"),
    ] {
        let message = message(from_toml(&section(&kind.replace(from, to), "")));
        assert!(message.contains(part), "{to}: {message}");
    }
}
