//! A conversation with a CA: its directory, its nonces, an account, and signed requests, in a bounded time.

use std::cell::RefCell;
use std::fmt;
use std::time::{Duration, Instant};

use chrono::DateTime;
use serde_json::{Value, json};

use super::error::ProblemDocument;
use super::wait::Pause;
use super::wire::{self, DirectoryBody, Meta};
use super::{AccountKey, AcmeError, ExternalBinding};
use crate::domain::Clock;
use crate::domain::text::printable::printable;
use crate::domain::words::words;
use crate::outgoing::{HttpReply, HttpRequest, HttpsUrl, Outgoing, OutgoingError};

/// How often a request is repeated when its nonce is refused; an honest CA takes the second.
const NONCES: usize = 4;
/// How often a request is repeated when the CA cannot answer now.
const RETRIES: u32 = 3;
/// The longest and the shortest that a CA can make the client wait between two requests.
const MAX_WAIT: Duration = Duration::from_secs(60);
const MIN_WAIT: Duration = Duration::from_millis(250);
const MAX_NONCE: usize = 512;
const JOSE: &str = "application/jose+json";

/// The member of a challenge's answer that holds the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChallengeMember {
    /// RFC 9447 §3.
    #[default]
    Tkauth,
    /// What CAs of before the RFC take.
    Atc,
}

words! {
    /// The name of the member.
    for ChallengeMember {
        Tkauth = "tkauth",
        Atc = "atc",
    }
}

/// With whom, and as whom.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    pub directory: HttpsUrl,
    /// URLs such as `mailto:numbers@example.com`.
    pub contacts: Vec<String>,
    /// Whether somebody has read the CA's terms and agrees.
    pub agrees_to_terms: bool,
    pub binding: Option<ExternalBinding>,
    pub member: ChallengeMember,
    /// How long all of it may take.
    pub timeout: Duration,
}

/// A conversation with a CA, as an account.
pub struct AcmeSession<'a> {
    http: &'a Outgoing,
    key: &'a AccountKey,
    pause: &'a dyn Pause,
    pub(super) clock: &'a Clock,
    pub(super) member: ChallengeMember,
    pub(super) meta: Meta,
    pub(super) new_order: HttpsUrl,
    new_nonce: HttpsUrl,
    account: Option<HttpsUrl>,
    nonce: RefCell<Option<String>>,
    timeout: Duration,
    ends: Instant,
}

impl fmt::Debug for AcmeSession<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

impl<'a> AcmeSession<'a> {
    /// Reads the CA's directory, and finds the account of the key or makes it (RFC 8555 §7.3).
    ///
    /// # Errors
    /// [`AcmeError`] says what the CA asks for, or what is wrong with its answers.
    pub fn open(
        settings: &SessionSettings,
        http: &'a Outgoing,
        key: &'a AccountKey,
        clock: &'a Clock,
        pause: &'a dyn Pause,
    ) -> Result<Self, AcmeError> {
        let ends = Instant::now() + settings.timeout;
        let reply = http.send(&settings.directory, HttpRequest::Get, &[], settings.timeout)?;
        if reply.status != 200 {
            return Err(status("the request for its directory", &reply));
        }
        let directory: DirectoryBody = wire::read("the request for its directory", &reply.body)?;
        let new_account = wire::url("newAccount", &directory.new_account)?;
        let mut session = Self {
            http,
            key,
            pause,
            clock,
            member: settings.member,
            new_order: wire::url("newOrder", &directory.new_order)?,
            new_nonce: wire::url("newNonce", &directory.new_nonce)?,
            meta: directory.meta,
            account: None,
            nonce: RefCell::new(None),
            timeout: settings.timeout,
            ends,
        };
        session.account = Some(session.account(settings, &new_account)?);
        Ok(session)
    }

    /// The key of the account.
    #[must_use]
    pub const fn key(&self) -> &AccountKey {
        self.key
    }

    fn account(&self, settings: &SessionSettings, url: &HttpsUrl) -> Result<HttpsUrl, AcmeError> {
        if let Some(terms) = self.meta.terms_of_service.as_deref()
            && !settings.agrees_to_terms
        {
            return Err(AcmeError::Terms(printable(terms)));
        }
        let mut account = json!({ "contact": settings.contacts });
        if settings.agrees_to_terms {
            account["termsOfServiceAgreed"] = json!(true);
        }
        match &settings.binding {
            Some(binding) => account["externalAccountBinding"] = binding.bind(self.key, url)?,
            None if self.meta.external_account_required => return Err(AcmeError::NoBinding),
            None => {}
        }
        let what = "the request for an account";
        let reply = self.post(what, url, Some(&account))?;
        location(what, &reply)
    }

    /// A signed request that the CA answers with 200 or 201. Without a payload it is a POST-as-GET (RFC 8555 §6.3).
    pub(super) fn post(
        &self,
        what: &'static str,
        url: &HttpsUrl,
        payload: Option<&Value>,
    ) -> Result<HttpReply, AcmeError> {
        let mut nonces = 0;
        let mut retries = 0;
        loop {
            let reply = self.post_once(what, url, payload)?;
            if matches!(reply.status, 200 | 201) {
                return Ok(reply);
            }
            let refused_nonce = reply.status == 400
                && ProblemDocument::read(&reply.body).is_some_and(|p| p.is("badNonce"));
            if refused_nonce {
                nonces += 1;
                if nonces >= NONCES {
                    return Err(AcmeError::Nonces);
                }
            } else if matches!(reply.status, 429 | 500 | 502..=504) && retries < RETRIES {
                let usual = Duration::from_secs(1 << retries);
                retries += 1;
                self.wait(what, self.retry_after(&reply).unwrap_or(usual))?;
            } else {
                return Err(status(what, &reply));
            }
        }
    }

    fn post_once(
        &self,
        what: &'static str,
        url: &HttpsUrl,
        payload: Option<&Value>,
    ) -> Result<HttpReply, AcmeError> {
        let nonce = match self.nonce.take() {
            Some(nonce) => nonce,
            None => self.fresh_nonce(what)?,
        };
        let body = self.key.sign(url, &nonce, self.account.as_ref(), payload)?;
        let ask = HttpRequest::Post {
            media_type: JOSE,
            body: &body,
        };
        let accept = [(
            "Accept",
            "application/pem-certificate-chain, application/json, */*;q=0.1",
        )];
        let reply = self.http.send(url, ask, &accept, self.left(what)?);
        let reply = reply.map_err(|error| self.failed(what, error))?;
        *self.nonce.borrow_mut() = nonce_of(&reply);
        Ok(reply)
    }

    /// RFC 8555 §7.2.
    fn fresh_nonce(&self, what: &'static str) -> Result<String, AcmeError> {
        let left = self.left(what)?;
        let reply = self
            .http
            .send(&self.new_nonce, HttpRequest::Head, &[], left);
        let reply = reply.map_err(|error| self.failed(what, error))?;
        nonce_of(&reply).ok_or_else(|| AcmeError::Malformed {
            what: "the request for a nonce",
            why: format!(
                "status {}, and no `Replay-Nonce` in base64url",
                reply.status
            ),
        })
    }

    /// Waits, but not beyond the end of the conversation.
    pub(super) fn wait(&self, what: &'static str, time: Duration) -> Result<(), AcmeError> {
        let time = time.clamp(MIN_WAIT, MAX_WAIT);
        if time >= self.left(what)? {
            return Err(self.late(what));
        }
        Ok(self.pause.pause(time)?)
    }

    /// RFC 9110 §10.2.3: seconds, or a date.
    pub(super) fn retry_after(&self, reply: &HttpReply) -> Option<Duration> {
        let text = reply.header("Retry-After")?.trim();
        if let Ok(seconds) = text.parse::<u32>() {
            return Some(Duration::from_secs(seconds.into()));
        }
        let date = DateTime::parse_from_rfc2822(text).ok()?.to_utc();
        Some((date - self.clock.now()).to_std().unwrap_or(MIN_WAIT))
    }

    fn left(&self, what: &'static str) -> Result<Duration, AcmeError> {
        let left = self.ends.saturating_duration_since(Instant::now());
        if left.is_zero() {
            Err(self.late(what))
        } else {
            Ok(left)
        }
    }

    /// An answer that came too late for the conversation as a whole is no fault of the last request.
    fn failed(&self, what: &'static str, error: OutgoingError) -> AcmeError {
        match error {
            OutgoingError::Late { .. } if self.left(what).is_err() => self.late(what),
            other => other.into(),
        }
    }

    fn late(&self, what: &'static str) -> AcmeError {
        AcmeError::Late {
            what,
            seconds: self.timeout.as_secs(),
        }
    }
}

/// The URL of what a request has made.
pub(super) fn location(what: &'static str, reply: &HttpReply) -> Result<HttpsUrl, AcmeError> {
    let text = reply.header("Location").ok_or(AcmeError::Malformed {
        what,
        why: "there is no `Location` in it".to_owned(),
    })?;
    wire::url("Location", text)
}

pub(super) fn status(what: &'static str, reply: &HttpReply) -> AcmeError {
    AcmeError::Status {
        what,
        status: reply.status,
        problem: ProblemDocument::read(&reply.body),
    }
}

/// RFC 8555 §6.5.1: a nonce that is not base64url is passed over.
fn nonce_of(reply: &HttpReply) -> Option<String> {
    let nonce = reply.header("Replay-Nonce")?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    let fits = !nonce.is_empty() && nonce.len() <= MAX_NONCE && nonce.bytes().all(plain);
    fits.then(|| nonce.to_owned())
}
