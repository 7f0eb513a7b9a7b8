//! What a service answers, and what can be said of it.

use std::collections::BTreeSet;

use serde_json::Value;

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn read(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, _) = text
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("no answer: {text}"));
        let mut lines = head.lines();
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1))
            .expect("a status");
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Self {
            status: status.parse().expect("a number"),
            headers,
            body: bytes[head.len() + 4..].to_vec(),
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body, put together if it came in chunks, all of which have to be there.
    #[track_caller]
    pub fn unchunked(&self) -> Vec<u8> {
        if self.header("transfer-encoding") != Some("chunked") {
            return self.body.clone();
        }
        let (mut whole, mut rest) = (Vec::new(), self.body.as_slice());
        loop {
            let end = rest.windows(2).position(|two| two == b"\r\n");
            let end = end.expect("the end of the size of a chunk");
            let size = std::str::from_utf8(&rest[..end]).expect("ASCII");
            let size = usize::from_str_radix(size, 16).expect("the size of a chunk");
            let chunk = &rest[end + 2..];
            if size == 0 {
                return whole;
            }
            whole.extend_from_slice(&chunk[..size]);
            rest = &chunk[size + 2..];
        }
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("not JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The JSON of an answer with this status.
    #[track_caller]
    pub fn with(&self, status: u16) -> Value {
        assert_eq!(
            self.status,
            status,
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        self.json()
    }

    /// The JSON of a problem document (RFC 9457) with this status and code.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Value {
        let problem = self.with(status);
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{problem}"
        );
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["type"], format!("urn:tn-authority:problem:{code}"));
        assert_eq!(problem["status"], status);
        assert!(problem["title"].is_string());
        let id = self.header("x-request-id").expect("an id");
        assert_eq!(problem["instance"], format!("urn:uuid:{id}"));
        assert_eq!(self.header("cache-control"), Some("no-store"));
        problem
    }

    /// Is what was answered before, byte for byte, in an exchange of its own.
    #[track_caller]
    pub fn repeats(&self, first: &Self) {
        let kept = [
            "content-type",
            "location",
            "content-length",
            "cache-control",
        ];
        let seen = |answer: &Self| {
            let headers = kept.map(|name| answer.header(name).map(str::to_owned));
            (answer.status, headers, answer.body.clone())
        };
        assert_eq!(seen(self), seen(first), "{}", self.text());
        assert_eq!(self.header("idempotency-replayed"), Some("true"));
        assert_eq!(first.header("idempotency-replayed"), None);
        assert_ne!(self.header("x-request-id"), first.header("x-request-id"));
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// What anybody can see of it but the time and the request's id. The order of the header fields is left to chance.
    pub fn without_id(&self) -> (u16, BTreeSet<(String, String)>, String) {
        let id = self.header("x-request-id").expect("an id");
        let headers = self
            .headers
            .iter()
            .filter(|(name, _)| name != "x-request-id" && name != "date");
        let body = String::from_utf8(self.body.clone())
            .expect("UTF-8")
            .replace(id, "ID");
        (self.status, headers.cloned().collect(), body)
    }
}
