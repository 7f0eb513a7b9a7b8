//! A session with a CA: its directory, nonces, an account, and signed requests, with an overall
//! timeout.

use std::cell::RefCell;
use std::fmt;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::error::ProblemDocument;
use super::wait::Pause;
use super::wire::{self, DirectoryBody, Meta};
use super::{AccountKey, AcmeError, ExternalBinding};
use crate::domain::Clock;
use crate::domain::network::retry_after::RetryAfter;
use crate::domain::text::printable::printable;
use crate::domain::text::words::words;
use crate::outgoing::{HttpReply, HttpRequest, HttpsUrl, Outgoing, OutgoingError};

/// How often a request is sent if its nonce is refused. A correct CA accepts the second nonce.
const MAX_NONCE_ATTEMPTS: usize = 4;
/// How often a request is retried if the CA is temporarily unavailable.
const MAX_RETRIES: u32 = 3;
/// Bounds of the wait between two requests, regardless of `Retry-After`.
const MAX_WAIT: Duration = Duration::from_secs(60);
const MIN_WAIT: Duration = Duration::from_millis(250);
const MAX_NONCE: usize = 512;
const JOSE: &str = "application/jose+json";

/// The member of a challenge response that contains the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChallengeMember {
    /// RFC 9447 §3.
    #[default]
    Tkauth,
    /// The name that CAs from before the RFC expect.
    Atc,
}

words! {
    /// The name of the member.
    for ChallengeMember {
        Tkauth = "tkauth",
        Atc = "atc",
    }
}

/// The CA, the account, and the timeout.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    pub directory: HttpsUrl,
    /// URLs such as `mailto:numbers@example.com`.
    pub contacts: Vec<String>,
    /// Whether the operator agrees to the CA's terms of service.
    pub agrees_to_terms: bool,
    pub binding: Option<ExternalBinding>,
    pub member: ChallengeMember,
    /// The timeout of the whole session.
    pub timeout: Duration,
}

/// A session with a CA, using one account.
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
    deadline: Instant,
}

impl fmt::Debug for AcmeSession<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

impl<'a> AcmeSession<'a> {
    /// Fetches the CA's directory, and finds or creates the account of the key (RFC 8555 §7.3).
    ///
    /// # Errors
    /// [`AcmeError`] says what the CA requires, or what is wrong with its responses.
    pub fn open(
        settings: &SessionSettings,
        http: &'a Outgoing,
        key: &'a AccountKey,
        clock: &'a Clock,
        pause: &'a dyn Pause,
    ) -> Result<Self, AcmeError> {
        let deadline = Instant::now() + settings.timeout;
        let reply = http.send(&settings.directory, HttpRequest::Get, &[], settings.timeout)?;
        if reply.status != 200 {
            return Err(status("the directory request", &reply));
        }
        let directory: DirectoryBody = wire::read("the directory request", &reply.body)?;
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
            deadline,
        };
        session.account = Some(session.account(settings, &new_account)?);
        Ok(session)
    }

    /// The account key.
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
        let what = "the account request";
        let reply = self.post(what, url, Some(&account))?;
        location(what, &reply)
    }

    /// Sends a signed request, with retries, until the CA answers 200 or 201. Without a payload it
    /// is a POST-as-GET (RFC 8555 §6.3).
    ///
    /// Only for requests that may be processed twice. Use [`post_while`](Self::post_while) for
    /// those that only one state of a resource allows.
    pub(super) fn post(
        &self,
        what: &'static str,
        url: &HttpsUrl,
        payload: Option<&Value>,
    ) -> Result<HttpReply, AcmeError> {
        let mut retries = 0;
        loop {
            let failure = match self.attempt(what, url, payload) {
                Ok(reply) => return Ok(reply),
                Err(failure) => failure,
            };
            if !self.waits_before_retry(what, &failure, &mut retries)? {
                return Err(failure.error);
            }
        }
    }

    /// Sends a request that only one state of a resource allows (RFC 8555 §7.1.6), and that the CA
    /// may have processed although its answer is a 5xx or lost. So `is_allowed`, which asks for the
    /// state, is called after such a failure: the request is repeated only if the state still
    /// allows it. The caller has asked before the first attempt.
    ///
    /// Returns `None` if the CA has processed the request, but its answer is not known.
    pub(super) fn post_while(
        &self,
        what: &'static str,
        url: &HttpsUrl,
        payload: &Value,
        is_allowed: &dyn Fn() -> Result<bool, AcmeError>,
    ) -> Result<Option<HttpReply>, AcmeError> {
        let mut retries = 0;
        loop {
            let failure = match self.attempt(what, url, Some(payload)) {
                Ok(reply) => return Ok(Some(reply)),
                Err(failure) => failure,
            };
            let waits = self.waits_before_retry(what, &failure, &mut retries)?;
            // A refusal of the first attempt is one of the request, not of a second copy of it.
            if !failure.is_temporary && retries == 0 {
                return Err(failure.error);
            }
            match is_allowed() {
                Ok(false) => return Ok(None),
                Ok(true) if waits => {}
                Ok(true) => return Err(failure.error),
                Err(error) => return Err(error.explained_by(failure.error)),
            }
        }
    }

    /// Sends a request once. A refused nonce is replaced, as the CA has not processed the request
    /// (RFC 8555 §6.5).
    fn attempt(
        &self,
        what: &'static str,
        url: &HttpsUrl,
        payload: Option<&Value>,
    ) -> Result<HttpReply, FailedAttempt> {
        for _ in 0..MAX_NONCE_ATTEMPTS {
            let reply = self.post_once(what, url, payload)?;
            if matches!(reply.status, 200 | 201) {
                return Ok(reply);
            }
            let problem = ProblemDocument::read(&reply.body);
            let says = |name| problem.as_ref().is_some_and(|problem| problem.is(name));
            if reply.status == 400 && says("badNonce") {
                continue;
            }
            // The order can have moved on (RFC 8555 §7.4), or not yet be ready on another replica.
            let may_change = says("orderNotReady");
            let is_busy = matches!(reply.status, 429 | 500 | 502..=504);
            return Err(FailedAttempt {
                is_temporary: is_busy || may_change,
                retry_after: self.retry_after(&reply),
                error: status(what, &reply),
            });
        }
        Err(AcmeError::Nonces.into())
    }

    /// Waits before a retry; `false` if the failure is permanent, or the last one.
    fn waits_before_retry(
        &self,
        what: &'static str,
        failure: &FailedAttempt,
        retries: &mut u32,
    ) -> Result<bool, AcmeError> {
        if !failure.is_temporary || *retries >= MAX_RETRIES {
            return Ok(false);
        }
        let default = Duration::from_secs(1 << *retries);
        *retries += 1;
        self.wait(what, failure.retry_after.unwrap_or(default))?;
        Ok(true)
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
        let request = HttpRequest::Post {
            media_type: JOSE,
            body: &body,
        };
        let accept = [(
            "Accept",
            "application/pem-certificate-chain, application/json, */*;q=0.1",
        )];
        let reply = self.http.send(url, request, &accept, self.left(what)?);
        let reply = reply.map_err(|error| self.failed(what, error))?;
        *self.nonce.borrow_mut() = nonce_of(&reply);
        Ok(reply)
    }

    /// Requests a nonce (RFC 8555 §7.2).
    fn fresh_nonce(&self, what: &'static str) -> Result<String, AcmeError> {
        let left = self.left(what)?;
        let reply = self
            .http
            .send(&self.new_nonce, HttpRequest::Head, &[], left);
        let reply = reply.map_err(|error| self.failed(what, error))?;
        nonce_of(&reply).ok_or_else(|| AcmeError::Malformed {
            what: "the nonce request",
            why: format!("status {} without a base64url `Replay-Nonce`", reply.status),
        })
    }

    /// Waits between two requests; an error if the session would time out meanwhile.
    pub(super) fn wait(&self, what: &'static str, time: Duration) -> Result<(), AcmeError> {
        let time = time.clamp(MIN_WAIT, MAX_WAIT);
        if time >= self.left(what)? {
            return Err(self.late(what));
        }
        Ok(self.pause.pause(time)?)
    }

    /// The `Retry-After` of a response: seconds, or a date (RFC 9110 §10.2.3).
    pub(super) fn retry_after(&self, reply: &HttpReply) -> Option<Duration> {
        let now = self.clock.now();
        let next =
            RetryAfter::parse(reply.header("Retry-After")?)?.instant(now, TimeDelta::days(1));
        Some((next - now).to_std().unwrap_or(MIN_WAIT))
    }

    fn left(&self, what: &'static str) -> Result<Duration, AcmeError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            Err(self.late(what))
        } else {
            Ok(left)
        }
    }

    /// If the session as a whole has timed out, reports that instead of a timeout of its last
    /// request.
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

/// Why a request failed, and whether the same request can succeed later.
struct FailedAttempt {
    error: AcmeError,
    is_temporary: bool,
    retry_after: Option<Duration>,
}

impl From<AcmeError> for FailedAttempt {
    fn from(error: AcmeError) -> Self {
        // A lost answer does not say whether the CA has processed the request.
        let is_temporary = matches!(
            error,
            AcmeError::Outgoing(OutgoingError::Late { .. } | OutgoingError::Failed { .. })
        );
        Self {
            error,
            is_temporary,
            retry_after: None,
        }
    }
}

/// The URL of a created resource.
pub(super) fn location(what: &'static str, reply: &HttpReply) -> Result<HttpsUrl, AcmeError> {
    let text = reply.header("Location").ok_or(AcmeError::Malformed {
        what,
        why: "it has no `Location`".to_owned(),
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

/// RFC 8555 §6.5.1: a nonce that is not base64url is ignored.
fn nonce_of(reply: &HttpReply) -> Option<String> {
    let nonce = reply.header("Replay-Nonce")?;
    let is_base64url = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    let is_valid = !nonce.is_empty() && nonce.len() <= MAX_NONCE && nonce.bytes().all(is_base64url);
    is_valid.then(|| nonce.to_owned())
}
