//! Webhooks: who is told of what, and where.

mod delivery;

pub use delivery::{Answer, Delivery, DeliveryFailure, DeliveryState};

use std::net::IpAddr;
use std::str::FromStr;

use chrono::TimeDelta;
use serde::{Deserialize, Deserializer, de};
use thiserror::Error;
use uuid::Uuid;

use super::accounts::account::AccountId;
use super::clock::Time;
use super::inventory::WordError;

/// The longest URL of a target.
const LONGEST_URL: usize = 2_048;
/// How long the secret before the newest one signs too.
pub const OVERLAP: TimeDelta = TimeDelta::hours(24);

/// A kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventKind {
    /// Grants were taken back.
    GrantsWithdrawn,
}

impl EventKind {
    /// All kinds.
    pub const ALL: [Self; 1] = [Self::GrantsWithdrawn];

    /// The word of the API, of the events and of the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GrantsWithdrawn => "grants.withdrawn",
        }
    }
}

impl FromStr for EventKind {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut all = Self::ALL.into_iter();
        all.find(|kind| kind.as_str() == text)
            .ok_or(WordError("grants.withdrawn"))
    }
}

impl<'de> Deserialize<'de> for EventKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// Where to: https, a host that has one meaning only, and a port that is no other service's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetUrl {
    text: String,
    host: Host,
}

/// A host as it stands in the URL of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    Name(String),
    Address(IpAddr),
}

/// Why a text is no URL of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TargetUrlError {
    #[error("is no URL of at most {LONGEST_URL} printable ASCII characters")]
    Text,
    #[error("does not start with https://")]
    Scheme,
    #[error("has a user or a password in it")]
    UserInfo,
    #[error("has a fragment, which is never sent")]
    Fragment,
    #[error("has a port that is neither 443 nor 1024 to 65535")]
    Port,
    #[error(
        "has a host that is neither a full name in lower-case letters, digits and hyphens nor an address as it is usually written"
    )]
    Host,
}

impl TargetUrl {
    /// The URL as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its host.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }
}

impl FromStr for TargetUrl {
    type Err = TargetUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let printable = |b: u8| b.is_ascii_graphic() && !b"\\\"<>^`{|}".contains(&b);
        if text.len() > LONGEST_URL || !text.bytes().all(printable) {
            return Err(TargetUrlError::Text);
        }
        let rest = text
            .strip_prefix("https://")
            .ok_or(TargetUrlError::Scheme)?;
        if rest.contains('#') {
            return Err(TargetUrlError::Fragment);
        }
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err(TargetUrlError::UserInfo);
        }
        let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
            let (host, port) = rest.split_once(']').ok_or(TargetUrlError::Host)?;
            let address = host.parse().map_err(|_| TargetUrlError::Host)?;
            (Host::Address(IpAddr::V6(address)), port)
        } else {
            let end = authority.find(':').unwrap_or(authority.len());
            let (host, port) = authority.split_at(end);
            (self::host(host)?, port)
        };
        must_be_a_port(port)?;
        Ok(Self {
            text: text.to_owned(),
            host,
        })
    }
}

impl<'de> Deserialize<'de> for TargetUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// A name or an address. What other software may read as an address is no name: `2130706433`, `0x7f.1`, `127.1`.
fn host(text: &str) -> Result<Host, TargetUrlError> {
    let labels: Vec<&str> = text.split('.').collect();
    let last = labels.last().copied().unwrap_or_default();
    if last.starts_with(|c: char| c.is_ascii_digit()) {
        let address = text.parse().map_err(|_| TargetUrlError::Host)?;
        return Ok(Host::Address(IpAddr::V4(address)));
    }
    let is_label = |label: &&str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    };
    if labels.len() < 2 || text.len() > 253 || !labels.iter().all(is_label) {
        return Err(TargetUrlError::Host);
    }
    Ok(Host::Name(text.to_owned()))
}

fn must_be_a_port(text: &str) -> Result<(), TargetUrlError> {
    if text.is_empty() {
        return Ok(());
    }
    let digits = text.strip_prefix(':').filter(|port| !port.starts_with('0'));
    let digits = digits.filter(|port| port.bytes().all(|b| b.is_ascii_digit()));
    match digits.and_then(|port| port.parse::<u16>().ok()) {
        Some(443 | 1024..) => Ok(()),
        Some(_) | None => Err(TargetUrlError::Port),
    }
}

/// A subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    pub id: Uuid,
    /// It is told of this account; of everybody when there is none.
    pub account: Option<AccountId>,
    /// Whether it is told of all below the account too: not if the account itself has made it, which does not keep its
    /// customers.
    pub below: bool,
    pub url: TargetUrl,
    pub kinds: Vec<EventKind>,
    /// Which secret signs.
    pub generation: i32,
    /// Until when the secret before it signs too.
    pub previous_until: Option<Time>,
    /// The last place of the feed that a delivery was made of.
    pub position: i64,
    pub created_at: Time,
    pub created_by: String,
    pub ended_at: Option<Time>,
}

impl Webhook {
    /// The generations of the secrets that sign at an instant, the newest first.
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
        for good in [
            "https://hooks.example.com",
            "https://hooks.example.com/",
            "https://a-1.example.com:8443/x?y=z%20",
            "https://8.8.8.8/",
            "https://[2606:4700::1111]:443/x",
            "https://xn--bcher-kva.example/",
            "https://127.0.0.1/",
        ] {
            assert!(good.parse::<TargetUrl>().is_ok(), "{good}");
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
            ("https://hooks_.example.com/", TargetUrlError::Host),
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
        let long = format!("https://hooks.example.com/{}", "x".repeat(LONGEST_URL));
        assert_eq!(long.parse::<TargetUrl>(), Err(TargetUrlError::Text));
    }
}
