//! `[control.gateways.NAME]`: which keys each kind of gateway has.

use super::ConfigError;
use super::bounds::{within, wrong};
use super::control::{Gateway, GatewayKind};
use crate::domain::control::proof::Method;

/// The longest name and password of SMPP (3.4 §4.1.1), and the longest system type.
const MAX_SYSTEM_ID: usize = 15;
const MAX_SYSTEM_TYPE: usize = 12;
/// Header fields that the client writes itself.
const OWN_FIELDS: [&str; 7] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "upgrade",
    "te",
    "expect",
];

/// A gateway, to be checked.
pub(super) struct GatewayWithName<'a> {
    pub name: &'a str,
    pub gateway: &'a Gateway,
}

impl GatewayKind {
    /// The keys that it has besides those of every gateway.
    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Http => &[
                "http_method",
                "headers",
                "body",
                "expected_status",
                "expected_text",
                "secret_file",
                "ca_file",
                "allow_plain",
            ],
            Self::Kannel => &["username", "secret_file", "from", "ca_file", "allow_plain"],
            Self::Smpp => &[
                "username",
                "secret_file",
                "from",
                "system_type",
                "tls",
                "ca_file",
            ],
            Self::Sip => &["from"],
        }
    }

    /// The keys that it cannot do without.
    const fn required(self) -> &'static [&'static str] {
        match self {
            Self::Http => &[],
            Self::Kannel | Self::Smpp => &["username", "secret_file"],
            Self::Sip => &["from"],
        }
    }

    /// How it can reach numbers.
    const fn methods(self) -> &'static [Method] {
        match self {
            Self::Http => &[Method::Sms, Method::Voice],
            Self::Kannel | Self::Smpp => &[Method::Sms],
            Self::Sip => &[Method::Sip],
        }
    }
}

impl GatewayWithName<'_> {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let gateway = self.gateway;
        within(self.key("timeout"), gateway.timeout.into(), 30)?;
        within(self.key("concurrency"), gateway.concurrency.into(), 32)?;
        if gateway.target.is_empty() {
            return wrong(self.key("target"), "is missing");
        }
        self.methods()?;
        let (kind, set) = (gateway.kind, self.set_keys());
        for key in &set {
            if !kind.keys().contains(key) {
                return wrong(
                    self.key(key),
                    format!("does not apply to kind `{}`; remove it", kind.as_str()),
                );
            }
        }
        for key in kind.required() {
            if !set.contains(key) {
                return wrong(
                    self.key(key),
                    format!("is missing; kind `{}` needs it", kind.as_str()),
                );
            }
        }
        match kind {
            GatewayKind::Http => self.http(),
            GatewayKind::Kannel => self.visible("username").and_then(|()| self.visible("from")),
            GatewayKind::Smpp => self.smpp(),
            GatewayKind::Sip => self.sip(),
        }
    }

    fn key(&self, key: &str) -> String {
        format!("control.gateways.{}.{key}", self.name)
    }

    /// The keys that are set, of those that not every gateway has.
    fn set_keys(&self) -> Vec<&'static str> {
        let gateway = self.gateway;
        let keys = [
            ("http_method", gateway.http_method.is_some()),
            ("headers", !gateway.headers.is_empty()),
            ("body", gateway.body.is_some()),
            ("expected_status", gateway.expected_status.is_some()),
            ("expected_text", gateway.expected_text.is_some()),
            ("username", gateway.username.is_some()),
            ("secret_file", gateway.secret_file.is_some()),
            ("from", gateway.from.is_some()),
            ("system_type", gateway.system_type.is_some()),
            ("tls", gateway.tls),
            ("ca_file", gateway.ca_file.is_some()),
            ("allow_plain", gateway.allow_plain),
        ];
        let set = keys.into_iter().filter(|(_, is_set)| *is_set);
        set.map(|(key, _)| key).collect()
    }

    fn methods(&self) -> Result<(), ConfigError> {
        let (kind, methods) = (self.gateway.kind, &self.gateway.methods);
        let able = kind.methods();
        let named: Vec<String> = able.iter().map(|method| format!("`{method}`")).collect();
        let named = named.join(" and ");
        if methods.is_empty() {
            let why = format!("is empty; kind `{}` can do {named}", kind.as_str());
            return wrong(self.key("methods"), why);
        }
        for method in methods {
            if !able.contains(method) {
                let why = format!(
                    "has `{method}`; kind `{}` can do {named} only",
                    kind.as_str()
                );
                return wrong(self.key("methods"), why);
            }
        }
        Ok(())
    }

    fn http(&self) -> Result<(), ConfigError> {
        let gateway = self.gateway;
        match gateway.http_method.as_deref() {
            None | Some("GET" | "POST" | "PUT") => {}
            Some(_) => return wrong(self.key("http_method"), "must be GET, POST or PUT"),
        }
        if gateway.http_method.as_deref() == Some("GET") && gateway.body.is_some() {
            return wrong(self.key("body"), "is for POST and PUT only");
        }
        if let Some(status) = gateway.expected_status
            && !(200..=299).contains(&status)
        {
            return wrong(self.key("expected_status"), "must be 200 to 299");
        }
        if gateway.expected_text.as_deref() == Some("") {
            return wrong(self.key("expected_text"), "is empty; remove it");
        }
        for name in gateway.headers.keys() {
            let is_token = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
            if name.is_empty() || !name.bytes().all(is_token) {
                return wrong(
                    self.key("headers"),
                    "has a name that is none of a header field",
                );
            }
            if OWN_FIELDS.contains(&name.to_ascii_lowercase().as_str()) {
                return wrong(
                    self.key("headers"),
                    format!("has `{name}`, which is set by the service"),
                );
            }
        }
        Ok(())
    }

    fn sip(&self) -> Result<(), ConfigError> {
        let target = &self.gateway.target;
        let is_uri = ["sip:", "sips:", "tel:"]
            .iter()
            .any(|scheme| target.starts_with(scheme));
        if is_uri || target.contains("://") {
            let why = "must be `udp:host:port` or `tcp:host:port`, and no URI";
            return wrong(self.key("target"), why);
        }
        Ok(())
    }

    fn smpp(&self) -> Result<(), ConfigError> {
        let gateway = self.gateway;
        for (key, value, most) in [
            ("username", &gateway.username, MAX_SYSTEM_ID),
            ("system_type", &gateway.system_type, MAX_SYSTEM_TYPE),
            ("from", &gateway.from, 20),
        ] {
            if value.as_ref().is_some_and(|value| value.len() > most) {
                return wrong(
                    self.key(key),
                    format!("has more than {most} characters, which SMPP cannot carry"),
                );
            }
            self.visible(key)?;
        }
        if gateway.ca_file.is_some() && !gateway.tls {
            return wrong(self.key("ca_file"), "needs `tls = true`");
        }
        if gateway.target.contains("://") {
            let why =
                "must be `host:port` alone, without `smpp://` or a path; `tls = true` asks for TLS";
            return wrong(self.key("target"), why);
        }
        let port = gateway.target.rsplit_once(':');
        let port = port.filter(|(host, _)| !host.is_empty());
        if port.is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
            return wrong(self.key("target"), "must be `host:port`");
        }
        Ok(())
    }

    /// What goes into a header field or a field of SMPP.
    fn visible(&self, key: &str) -> Result<(), ConfigError> {
        let value = match key {
            "username" => &self.gateway.username,
            "system_type" => &self.gateway.system_type,
            _ => &self.gateway.from,
        };
        let is_visible = |text: &String| {
            !text.is_empty() && text.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
        };
        if value.as_ref().is_some_and(|value| !is_visible(value)) {
            return wrong(self.key(key), "must be visible ASCII");
        }
        Ok(())
    }
}
