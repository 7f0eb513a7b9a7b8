//! Webhooks: who is notified of which events, and where.

mod delivery;

pub use delivery::{Delivery, DeliveryFailure, DeliveryState, TargetAnswer};

use std::net::IpAddr;
use std::str::FromStr;

use chrono::TimeDelta;
use serde::{Deserialize, Deserializer, de};
use thiserror::Error;
use uuid::Uuid;

use super::accounts::account::AccountId;
use super::clock::Time;
use super::network::web_url::{WebUrl, WebUrlError};
use crate::domain::text::words::words;

/// The most characters of a target URL.
const MAX_URL: usize = 2_048;
/// How long the previous secret signs too, after a rotation.
pub const OVERLAP: TimeDelta = TimeDelta::hours(24);

/// A kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventKind {
    /// Grants were withdrawn.
    GrantsWithdrawn,
    /// Proofs of control failed that the service started for renewal rights.
    ControlFailed,
}

words! {
    /// The name in the API, in events and in the database.
    impl FromStr, Deserialize for EventKind {
        GrantsWithdrawn = "grants.withdrawn",
        ControlFailed = "control.failed",
    }
}

/// A target URL: https, a host with only one reading, and a port that no well-known service uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetUrl {
    text: String,
    host: Host,
}

/// The host of a target URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    Name(String),
    Address(IpAddr),
}

/// Why a text is not a target URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TargetUrlError {
    #[error("is not a URL of at most {MAX_URL} printable ASCII characters")]
    Text,
    #[error("does not start with https://")]
    Scheme,
    #[error("has a user name or a password in it")]
    UserInfo,
    #[error("has a fragment, which is never sent")]
    Fragment,
    #[error("has a port that is neither 443 nor 1024 to 65535")]
    Port,
    #[error(
        "has a host that is neither a full domain name in lower case nor an IP address in its usual form"
    )]
    Host,
}

impl TargetUrl {
    /// The URL, as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }
}

impl FromStr for TargetUrl {
    type Err = TargetUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let printable = |b: u8| b.is_ascii_graphic() && !b"\\\"<>^`{|}".contains(&b);
        if text.len() > MAX_URL || !text.bytes().all(printable) {
            return Err(TargetUrlError::Text);
        }
        let url: WebUrl = text.parse()?;
        if !url.is_https() {
            return Err(TargetUrlError::Scheme);
        }
        if url.has_fragment() {
            return Err(TargetUrlError::Fragment);
        }
        if !matches!(url.port(), Some(443 | 1024..)) {
            return Err(TargetUrlError::Port);
        }
        // Only lower case is accepted, so that a target has one name in logs and lists.
        let is_written = |name: &str| {
            let rest = text.strip_prefix("https://");
            rest.is_some_and(|rest| rest.starts_with(name))
        };
        let host = match url.host() {
            Some(url::Host::Domain(name)) if is_full_name(name) && is_written(name) => {
                Host::Name(name.to_owned())
            }
            Some(url::Host::Domain(_)) | None => return Err(TargetUrlError::Host),
            Some(url::Host::Ipv4(address)) => Host::Address(address.into()),
            Some(url::Host::Ipv6(address)) => Host::Address(address.into()),
        };
        Ok(Self {
            text: text.to_owned(),
            host,
        })
    }
}

impl From<WebUrlError> for TargetUrlError {
    fn from(error: WebUrlError) -> Self {
        match error {
            WebUrlError::Text => Self::Text,
            WebUrlError::Scheme => Self::Scheme,
            WebUrlError::UserInfo => Self::UserInfo,
            WebUrlError::Port => Self::Port,
            WebUrlError::Host => Self::Host,
        }
    }
}

impl<'de> Deserialize<'de> for TargetUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// A full domain name of letters, digits and hyphens (RFC 1123 §2.1), whose last label cannot be
/// parsed as a number.
fn is_full_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let last = name.rsplit_once('.').map(|(_, last)| last);
    name.len() <= 253
        && name.split('.').all(is_label)
        && last.is_some_and(|last| !last.starts_with(|c: char| c.is_ascii_digit()))
}

/// A webhook: one subscription to events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    pub id: Uuid,
    /// The account whose events it gets; those of all accounts if `None`.
    pub account: Option<AccountId>,
    /// Whether it also gets the events of all accounts below. Not if the account itself created it,
    /// since an account does not manage its customers.
    pub below: bool,
    pub url: TargetUrl,
    pub kinds: Vec<EventKind>,
    /// The generation of the secret that signs.
    pub generation: i32,
    /// Until when the previous secret signs too.
    pub previous_until: Option<Time>,
    /// The last sequence number of the feed that a delivery covers.
    pub position: i64,
    pub created_at: Time,
    pub created_by: String,
    pub ended_at: Option<Time>,
    /// The name of what the secret of the newest generation is derived from; `None` if that was not
    /// recorded.
    pub derived_by: Option<String>,
}

impl Webhook {
    /// The generations of the secrets that sign at an instant, newest first.
    #[must_use]
    pub fn generations(&self, now: Time) -> Vec<i32> {
        let mut all = vec![self.generation];
        if self.previous_until.is_some_and(|until| now < until) {
            all.push(self.generation - 1);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_one_meaning() {
        for valid in [
            "https://hooks.example.com",
            "https://hooks.example.com/",
            "https://a-1.example.com:8443/x?y=z%20",
            "https://8.8.8.8/",
            "https://[2606:4700::1111]:443/x",
            "https://xn--bcher-kva.example/",
            "https://127.0.0.1/",
            "https://[::FFFF:127.0.0.1]/",
            "https://hooks.example.com?x=@:/..",
            "https://hooks.example.com/a/../%zz",
        ] {
            assert!(valid.parse::<TargetUrl>().is_ok(), "{valid}");
        }
        for (wrong, why) in [
            ("", TargetUrlError::Scheme),
            ("http://hooks.example.com/", TargetUrlError::Scheme),
            ("HTTPS://hooks.example.com/", TargetUrlError::Scheme),
            ("ftp://hooks.example.com/", TargetUrlError::Scheme),
            ("https:/hooks.example.com/", TargetUrlError::Scheme),
            ("https://user@hooks.example.com/", TargetUrlError::UserInfo),
            (
                "https://user:word@hooks.example.com/",
                TargetUrlError::UserInfo,
            ),
            (
                "https://hooks.example.com@127.0.0.1/",
                TargetUrlError::UserInfo,
            ),
            ("https://hooks.example.com/#x", TargetUrlError::Fragment),
            ("https://hooks.example.com:22/", TargetUrlError::Port),
            ("https://hooks.example.com:80/", TargetUrlError::Port),
            ("https://hooks.example.com:0443/", TargetUrlError::Port),
            ("https://hooks.example.com:/", TargetUrlError::Port),
            ("https://hooks.example.com:+443/", TargetUrlError::Port),
            ("https://hooks.example.com:70000/", TargetUrlError::Port),
            ("https://localhost/", TargetUrlError::Host),
            ("https://2130706433/", TargetUrlError::Host),
            ("https://0x7f000001/", TargetUrlError::Host),
            ("https://0x7f.0.0.1/", TargetUrlError::Host),
            ("https://017700000001/", TargetUrlError::Host),
            ("https://0177.0.0.1/", TargetUrlError::Host),
            ("https://127.1/", TargetUrlError::Host),
            ("https://127.0.0.1./", TargetUrlError::Host),
            ("https://hooks.example.com./", TargetUrlError::Host),
            ("https://hooks..example.com/", TargetUrlError::Host),
            ("https://Hooks.example.com/", TargetUrlError::Host),
            (
                "https://Hooks.example.com/hooks.example.com",
                TargetUrlError::Host,
            ),
            ("https://hooks_.example.com/", TargetUrlError::Host),
            ("https://hooks.1example/", TargetUrlError::Host),
            ("https://hooks.example.com\u{ff0f}", TargetUrlError::Text),
            ("https://xn--a.example/", TargetUrlError::Host),
            ("https://-a.example.com/", TargetUrlError::Host),
            ("https://%31%32%37.0.0.1/", TargetUrlError::Host),
            ("https://[::1/", TargetUrlError::Host),
            ("https://[fe80::1%25eth0]/", TargetUrlError::Host),
            ("https://[127.0.0.1]/", TargetUrlError::Host),
            ("https://", TargetUrlError::Host),
            ("https:///x", TargetUrlError::Host),
            (
                "https://hooks.example.com\\@evil.example/",
                TargetUrlError::Text,
            ),
            ("https://hooks.example.com/ x", TargetUrlError::Text),
            ("https://hooks.example.com/\r\nx: y", TargetUrlError::Text),
            ("https://h\u{f6}oks.example.com/", TargetUrlError::Text),
        ] {
            assert_eq!(wrong.parse::<TargetUrl>(), Err(why), "{wrong}");
        }
        let long = format!("https://hooks.example.com/{}", "x".repeat(MAX_URL));
        assert_eq!(long.parse::<TargetUrl>(), Err(TargetUrlError::Text));
    }
}
