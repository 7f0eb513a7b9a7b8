//! Refuses token requests before any work is done for them, while those that wait for the writer
//! already fill the time in which an answer is useful.
//!
//! A request that is refused here costs its head and one short answer: it is not authenticated, its
//! body is not parsed, and nothing is recorded. Changes, reads and health checks always pass.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::poll_fn;
use std::hash::{BuildHasher as _, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::HttpMessage as _;
use actix_web::dev::ServiceRequest;
use actix_web::http::{Method, header};
use actix_web::web::Data;
use futures_core::Stream as _;
use parking_lot::Mutex;

use crate::api::Service;
use crate::authority::ClientPresence;
use crate::telemetry::RepeatedLine;

/// A body of at most this size is skipped, so that the connection can be kept. After a longer one
/// it is closed, which costs less than to read it.
const MAX_SKIPPED_BYTES: u64 = 16 * 1024;

/// Decides which token requests are admitted.
#[derive(Debug)]
pub struct Door {
    /// Without it all are.
    max_wait: Option<Duration>,
    admitted: Arc<Mutex<InProgress>>,
    hasher: RandomState,
    line: RepeatedLine,
}

/// A token request that was admitted, until it is answered.
#[derive(Debug)]
pub(super) struct Admitted {
    all: Arc<Mutex<InProgress>>,
    credential: u64,
}

/// The token request is not admitted.
#[derive(Debug)]
pub(super) struct NotAdmitted;

/// The token requests that were admitted and are not answered yet, by their credentials.
#[derive(Debug, Default)]
struct InProgress {
    of: HashMap<u64, usize>,
    /// How many credentials have more requests than the index.
    with_more_than: Vec<usize>,
}

impl InProgress {
    /// How many requests the writer takes before the next one of this credential: callers take
    /// turns, so of each other one as many as of this one.
    fn ahead_of(&self, credential: u64) -> usize {
        let own = self.of.get(&credential).copied().unwrap_or_default();
        self.with_more_than.iter().take(own + 1).sum()
    }

    fn add(&mut self, credential: u64) {
        let own = self.of.entry(credential).or_default();
        match self.with_more_than.get_mut(*own) {
            Some(credentials) => *credentials += 1,
            None => self.with_more_than.push(1),
        }
        *own += 1;
    }

    fn remove(&mut self, credential: u64) {
        let Entry::Occupied(mut own) = self.of.entry(credential) else {
            return;
        };
        *own.get_mut() -= 1;
        let own_now = *own.get();
        if own_now == 0 {
            own.remove();
        }
        if let Some(credentials) = self.with_more_than.get_mut(own_now) {
            *credentials -= 1;
        }
    }
}

impl Door {
    /// Refuses requests that would wait for longer than this until their transaction begins.
    #[must_use]
    pub fn with_max_wait(max_wait: Option<Duration>) -> Self {
        Self {
            max_wait,
            admitted: Arc::default(),
            hasher: RandomState::new(),
            line: RepeatedLine::default(),
        }
    }

    /// `expected_wait` is how long a request waits that the writer takes after this number of
    /// others.
    fn admit(
        &self,
        credential: u64,
        expected_wait: impl FnOnce(usize) -> Duration,
    ) -> Option<Admitted> {
        let mut admitted = self.admitted.lock();
        let ahead = admitted.ahead_of(credential);
        if self
            .max_wait
            .is_some_and(|most| expected_wait(ahead) > most)
        {
            return None;
        }
        admitted.add(credential);
        let all = Arc::clone(&self.admitted);
        Some(Admitted { all, credential })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.all.lock().remove(self.credential);
    }
}

/// Admits the request, if it is one for tokens.
pub(super) fn enter(request: &ServiceRequest) -> Result<Option<Admitted>, NotAdmitted> {
    let service = match request.app_data::<Data<Service>>() {
        Some(service) if asks_for_tokens(request.method(), request.path()) => service,
        Some(_) | None => return Ok(None),
    };
    let metrics = service.authority.metrics();
    let door = &service.door;
    // Before authentication a credential is known by its bytes only. A client certificate that a
    // proxy forwards is not read here; the path has the account.
    let credential = if let Some(credential) = request.headers().get(header::AUTHORIZATION) {
        door.hasher.hash_one(credential.as_bytes())
    } else {
        let address = request.peer_addr().map(|address| address.ip());
        door.hasher.hash_one((address, request.path()))
    };
    let expected_wait = |ahead| service.authority.expected_wait(ahead);
    if let Some(admitted) = door.admit(credential, expected_wait) {
        return Ok(Some(admitted));
    }
    metrics.overload_refusals.inc();
    if let Some(left_out) = door.line.left_out(Instant::now()) {
        log::warn!(
            "overloaded: token requests are refused, since they would wait for longer than `writer.max_wait_ms`; \
             {left_out} more since the last such line"
        );
    }
    Err(NotAdmitted)
}

/// The client of the request's connection.
pub(super) fn client_of(request: &ServiceRequest) -> Option<ClientPresence> {
    request.conn_data::<ClientPresence>().cloned()
}

/// All routes that issue tokens end like this, and no others do.
fn asks_for_tokens(method: &Method, path: &str) -> bool {
    method == Method::POST && (path.ends_with("/token") || path.ends_with("/tokens"))
}

/// Reads the body of a refused request if it is short. Otherwise the HTTP library closes the
/// connection after the answer.
pub(super) async fn skip_body(request: &mut ServiceRequest) {
    let headers = request.headers();
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let is_short = length.is_some_and(|length| length <= MAX_SKIPPED_BYTES);
    if !is_short || headers.contains_key(header::EXPECT) {
        return;
    }
    let mut body = request.take_payload();
    while let Some(Ok(_)) = poll_fn(|cx| Pin::new(&mut body).poll_next(cx)).await {}
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_millis(100);

    #[test]
    fn requests_are_admitted_until_the_wait_is_too_long() {
        let door = Door::with_max_wait(Some(MAX));
        let first = door.admit(1, |_| MAX);
        assert!(first.is_some());
        assert!(door.admit(1, |_| MAX * 2).is_none());
        let open = Door::with_max_wait(None);
        assert!(open.admit(1, |_| Duration::MAX).is_some());
    }

    #[test]
    fn who_floods_the_service_is_refused_and_others_are_not() {
        let door = Door::with_max_wait(Some(MAX));
        let wait = |ahead: usize| MAX * u32::try_from(ahead).expect("few") / 50;
        let flood: Vec<_> = (0..100).map_while(|_| door.admit(1, wait)).collect();
        assert_eq!(flood.len(), 51);
        assert!(door.admit(1, wait).is_none());
        let calm = [door.admit(2, wait), door.admit(2, wait)];
        assert!(calm.iter().all(Option::is_some));
        // The next one of 1 comes after those of 2, and of 3 after one of each.
        let ahead = |credential| door.admitted.lock().ahead_of(credential);
        assert_eq!((ahead(1), ahead(2), ahead(3)), (53, 5, 2));
        drop(flood);
        assert_eq!((ahead(1), ahead(2)), (1, 2));
        assert!(door.admit(1, wait).is_some());
        drop(calm);
        assert!(door.admitted.lock().of.is_empty());
        assert_eq!(ahead(1), 0);
    }

    #[test]
    fn the_door_is_that_of_all_routes_that_issue_tokens_and_of_no_others() {
        let document: serde_json::Value =
            serde_json::from_str(crate::api::openapi::openapi()).expect("JSON");
        let paths = document["paths"].as_object().expect("paths");
        let is_behind = |path: &String| asks_for_tokens(&Method::POST, path);
        let mut behind: Vec<_> = paths.keys().filter(|path| is_behind(path)).collect();
        behind.sort();
        let issuing = [
            "/api/v1/account/{id}/token",
            "/at/account/{id}/token",
            "/v1/renewals/{id}/token",
            "/v1/tokens",
        ];
        assert_eq!(behind, issuing);
        assert!(!asks_for_tokens(&Method::GET, "/v1/tokens"));
    }
}
