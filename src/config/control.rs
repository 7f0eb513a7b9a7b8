//! `[control]`: how it is proven that an account controls its numbers, and over which gateways.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::ConfigError;
use super::bounds::{check_name, within, wrong};
use super::gateway_keys::GatewayWithName;
use super::lists::{list, table};
use crate::domain::control::proof::Method;
use crate::domain::text::words::words;

/// How codes are sent to numbers, and the gateways that do it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Control {
    /// Digits of a code, 6 to 8.
    pub digits: u32,
    /// Seconds in which a code can be confirmed.
    pub valid: u32,
    /// Wrong codes after which a proof fails.
    pub tries: u32,
    /// How many numbers stand for the long ranges of a list; 0: every number has to be proven.
    pub sample: u32,
    /// Proofs that can be started in an hour and a day: of one number,
    pub per_number_hour: u32,
    pub per_number_day: u32,
    /// of all numbers of one account,
    pub per_account_hour: u32,
    /// and over one gateway.
    pub per_gateway_hour: u32,
    /// Wrong codes in a day for one account; ten times as many for a customer of the carrier with
    /// all accounts below.
    pub wrong_codes_per_account_day: u32,
    /// The text of a message: `{code}`, `{account}`, `{number}`, `{minutes}`.
    pub message: String,
    pub gateways: BTreeMap<String, Gateway>,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            digits: 6,
            valid: 600,
            tries: 5,
            sample: 0,
            per_number_hour: 3,
            per_number_day: 10,
            per_account_hour: 200,
            per_gateway_hour: 10_000,
            wrong_codes_per_account_day: 100,
            message: "{code} is the code with which {account} shows that it uses {number}. Valid for {minutes} minutes. Never pass it on to anyone who asks you for it."
                .to_owned(),
            gateways: BTreeMap::new(),
        }
    }
}

/// What speaks to the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GatewayKind {
    /// Any HTTP interface, by templates.
    Http,
    /// The `sendsms` interface of Kannel.
    Kannel,
    /// SMPP 3.4.
    Smpp,
    /// SIP `MESSAGE` through the carrier's proxy.
    Sip,
}

words! {
    /// The name in the configuration.
    impl FromStr, Deserialize for GatewayKind {
        Http = "http",
        Kannel = "kannel",
        Smpp = "smpp",
        Sip = "sip",
    }
}

/// One gateway. Which keys apply depends on its kind.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gateway {
    pub kind: GatewayKind,
    /// What it can do; of several gateways for a method, the first by name is used.
    #[serde(default, deserialize_with = "list")]
    pub methods: Vec<Method>,
    /// Of a HTTP interface: `https://host/path`, and templates in its query. Of SMPP and SIP:
    /// `host:port`, or for SIP `udp:host:port` or `tcp:host:port`.
    pub target: String,
    /// `http`: the method, header fields and body, all with templates.
    #[serde(default)]
    pub http_method: Option<String>,
    #[serde(default, deserialize_with = "table")]
    pub headers: BTreeMap<String, String>,
    #[serde(default)]
    pub body: Option<String>,
    /// `http`: the status of success; default 200 to 299.
    #[serde(default)]
    pub expected_status: Option<u16>,
    /// `http`: a text that the body of a success contains, for gateways that answer 200 always.
    #[serde(default)]
    pub expected_text: Option<String>,
    /// `kannel`, `smpp`: the name to log in with.
    #[serde(default)]
    pub username: Option<String>,
    /// A file with the password, or with the secret that `{secret}` stands for.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// Who the message is from: a number or a name; for SIP, a SIP URI.
    #[serde(default)]
    pub from: Option<String>,
    /// `smpp`: the type of system that the carrier's SMSC knows this service as.
    #[serde(default)]
    pub system_type: Option<String>,
    /// Whether TLS is used with SMPP.
    #[serde(default)]
    pub tls: bool,
    /// `http`, `kannel`: whether `http://` is accepted for a host that is not this one.
    #[serde(default)]
    pub allow_plain: bool,
    /// CAs (PEM) for TLS, in place of those of the system.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Seconds for one attempt.
    #[serde(default = "default_timeout")]
    pub timeout: u32,
    /// Messages sent at one time.
    #[serde(default = "default_concurrency")]
    pub concurrency: u32,
}

const fn default_timeout() -> u32 {
    10
}

const fn default_concurrency() -> u32 {
    4
}

impl Control {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if !(6..=8).contains(&self.digits) {
            return wrong("control.digits", "must be 6, 7 or 8");
        }
        for (name, value, most) in [
            ("valid", self.valid, 3_600),
            ("tries", self.tries, 10),
            ("per_number_hour", self.per_number_hour, 1_000),
            ("per_number_day", self.per_number_day, 10_000),
            ("per_account_hour", self.per_account_hour, 1_000_000),
            ("per_gateway_hour", self.per_gateway_hour, 10_000_000),
            (
                "wrong_codes_per_account_day",
                self.wrong_codes_per_account_day,
                100_000,
            ),
        ] {
            within(format!("control.{name}"), value.into(), most)?;
        }
        if self.sample > 1_000 {
            return wrong("control.sample", "is more than 1000");
        }
        if !self.message.contains("{code}") {
            return wrong("control.message", "does not contain `{code}`");
        }
        let is_control = |c: &char| c.is_control() && *c != '\n';
        if let Some(control) = self.message.chars().find(is_control) {
            let why = format!(
                "has the control character U+{:04X}, which gateways cannot carry",
                u32::from(control)
            );
            return wrong("control.message", why);
        }
        for (name, gateway) in &self.gateways {
            check_name(name, "control.gateways")?;
            GatewayWithName { name, gateway }.validate()?;
        }
        Ok(())
    }
}
