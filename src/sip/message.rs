//! SIP messages: reads and writes them (RFC 3261 §7). Strict, since anyone can send what it reads.

use std::fmt::Write as _;

use thiserror::Error;

/// The largest message in bytes. A datagram cannot be much larger.
pub const MAX_MESSAGE: usize = 65_535;
/// The most header fields.
const MAX_HEADERS: usize = 100;

/// What begins the branch of every `Via` (RFC 3261 §8.1.1.7).
pub const BRANCH_START: &str = "z9hG4bK";

/// Why bytes are no SIP message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MalformedSip {
    #[error("longer than {MAX_MESSAGE} bytes, or with more than {MAX_HEADERS} header fields")]
    TooLong,
    #[error("without the empty line after the header fields")]
    NoEnd,
    #[error("with a malformed first line")]
    StartLine,
    #[error("with a malformed header field")]
    Header,
    #[error("with a wrong Content-Length")]
    Length,
}

/// The first line of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartLine {
    Request { method: String, uri: String },
    Response { status: u16 },
}

/// A request or a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SipMessage {
    pub start: StartLine,
    /// Names in lower case and in their long form, in their order.
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl SipMessage {
    /// A request without header fields.
    #[must_use]
    pub fn request(method: &str, uri: &str) -> Self {
        Self {
            start: StartLine::Request {
                method: method.to_owned(),
                uri: uri.to_owned(),
            },
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// The response to a request: with its `Via`, `From`, `To`, `Call-ID` and `CSeq` (RFC 3261
    /// §8.2.6.2). `To` gets a tag if it has none.
    #[must_use]
    pub fn response(&self, status: u16, tag: &str) -> Self {
        let copied = ["via", "from", "to", "call-id", "cseq"];
        let headers = self
            .headers
            .iter()
            .filter(|(name, _)| copied.contains(&name.as_str()));
        let headers = headers.map(|(name, value)| {
            let untagged = name == "to" && !value.to_ascii_lowercase().contains(";tag=");
            let value = if untagged {
                format!("{value};tag={tag}")
            } else {
                value.clone()
            };
            (name.clone(), value)
        });
        Self {
            start: StartLine::Response { status },
            headers: headers.collect(),
            body: Vec::new(),
        }
    }

    /// With one more header field, whose value must be on one line.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        debug_assert!(is_value(value), "a header field on several lines");
        self.headers
            .push((name.to_ascii_lowercase(), value.to_owned()));
        self
    }

    /// Puts a `Via` before all other header fields.
    pub fn put_via(&mut self, via: &str) {
        self.headers.insert(0, ("via".to_owned(), via.to_owned()));
    }

    /// The first value of a header field.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known == name);
        found.next().map(|(_, value)| value.as_str())
    }

    /// The topmost `Via`, which may be the first of several in one header field.
    #[must_use]
    pub fn top_via(&self) -> Option<&str> {
        let value = self.header("via")?;
        Some(value.split(',').next().unwrap_or(value).trim())
    }

    /// The branch of the topmost `Via`, which names the transaction.
    #[must_use]
    pub fn branch(&self) -> Option<&str> {
        parameter(self.top_via()?, "branch")
    }

    /// Puts parameters behind the topmost `Via`, such as `received` (RFC 3261 §18.2.1).
    pub fn mark_top_via(&mut self, parameters: &str) {
        let Some((_, value)) = self.headers.iter_mut().find(|(name, _)| name == "via") else {
            return;
        };
        let end = value.find(',').unwrap_or(value.len());
        let top = value[..end].trim_end();
        let (top, others) = (remove_empty_rport(top), &value[end..]);
        *value = format!("{top}{parameters}{others}");
    }

    /// The message as it is sent.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut head = match &self.start {
            StartLine::Request { method, uri } => format!("{method} {uri} SIP/2.0\r\n"),
            StartLine::Response { status } => format!("SIP/2.0 {status} {}\r\n", reason(*status)),
        };
        for (name, value) in &self.headers {
            let _ = write!(head, "{}: {value}\r\n", written(name));
        }
        let _ = write!(head, "Content-Length: {}\r\n\r\n", self.body.len());
        [head.into_bytes(), self.body.clone()].concat()
    }

    /// Reads a datagram. What follows the body is ignored (RFC 3261 §18.3).
    ///
    /// # Errors
    /// [`MalformedSip`], also if the body is shorter than `Content-Length` says.
    pub fn from_datagram(bytes: &[u8]) -> Result<Self, MalformedSip> {
        let (mut message, rest) = Self::head(bytes)?;
        let length = message.content_length()?.unwrap_or(rest.len());
        message.body = rest.get(..length).ok_or(MalformedSip::Length)?.to_vec();
        Ok(message)
    }

    /// Reads a message from the start of a stream, and how many bytes it has; `None` if more bytes
    /// have to come first.
    ///
    /// # Errors
    /// [`MalformedSip`]. A message on a stream needs a `Content-Length`.
    pub fn from_stream(bytes: &[u8]) -> Result<Option<(Self, usize)>, MalformedSip> {
        if head_end(bytes).is_none() {
            return if bytes.len() > MAX_MESSAGE {
                Err(MalformedSip::TooLong)
            } else {
                Ok(None)
            };
        }
        let (mut message, rest) = Self::head(bytes)?;
        let length = message.content_length()?.ok_or(MalformedSip::Length)?;
        let Some(body) = rest.get(..length) else {
            return if length > MAX_MESSAGE {
                Err(MalformedSip::TooLong)
            } else {
                Ok(None)
            };
        };
        message.body = body.to_vec();
        Ok(Some((message, bytes.len() - rest.len() + length)))
    }

    /// The message without its body, and the bytes behind its head.
    fn head(bytes: &[u8]) -> Result<(Self, &[u8]), MalformedSip> {
        let end = head_end(bytes).ok_or(MalformedSip::NoEnd)?;
        if end > MAX_MESSAGE {
            return Err(MalformedSip::TooLong);
        }
        let (head, rest) = bytes.split_at(end);
        let head = std::str::from_utf8(head).map_err(|_| MalformedSip::Header)?;
        let mut lines = head.strip_suffix("\r\n\r\n").unwrap_or(head).split("\r\n");
        let start = start_line(lines.next().unwrap_or_default())?;
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in lines {
            if !is_value(line) {
                return Err(MalformedSip::Header);
            }
            if let Some(folded) = line.strip_prefix([' ', '\t']) {
                let (_, value) = headers.last_mut().ok_or(MalformedSip::Header)?;
                value.push(' ');
                value.push_str(folded.trim());
                continue;
            }
            let (name, value) = line.split_once(':').ok_or(MalformedSip::Header)?;
            let name = name.trim_end();
            if name.is_empty() || !name.bytes().all(is_token_byte) {
                return Err(MalformedSip::Header);
            }
            if headers.len() == MAX_HEADERS {
                return Err(MalformedSip::TooLong);
            }
            headers.push((long_form(name), value.trim().to_owned()));
        }
        let body = Vec::new();
        Ok((
            Self {
                start,
                headers,
                body,
            },
            rest,
        ))
    }

    /// `None` if there is none; two that differ are malformed.
    fn content_length(&self) -> Result<Option<usize>, MalformedSip> {
        let mut found = None;
        for (_, value) in self
            .headers
            .iter()
            .filter(|(name, _)| name == "content-length")
        {
            let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
            let length: usize = value
                .parse()
                .ok()
                .filter(|_| digits)
                .ok_or(MalformedSip::Length)?;
            if found.is_some_and(|known| known != length) {
                return Err(MalformedSip::Length);
            }
            found = Some(length);
        }
        Ok(found)
    }
}

/// The value of a parameter, such as `branch`, without quotes.
#[must_use]
pub fn parameter<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    value.split(';').skip(1).find_map(|parameter| {
        let (known, value) = parameter.split_once('=')?;
        known
            .trim()
            .eq_ignore_ascii_case(name)
            .then(|| value.trim())
    })
}

/// A client asks for the port by an empty `rport`, which the answer fills in (RFC 3581 §4).
fn remove_empty_rport(via: &str) -> String {
    let kept = via
        .split(';')
        .filter(|part| !part.trim().eq_ignore_ascii_case("rport"));
    kept.collect::<Vec<_>>().join(";")
}

/// Where the body begins.
fn head_end(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(end + 4)
}

fn start_line(line: &str) -> Result<StartLine, MalformedSip> {
    let mut words = line.splitn(3, ' ');
    let (first, second) = (words.next().unwrap_or_default(), words.next());
    let (second, third) = (second.ok_or(MalformedSip::StartLine)?, words.next());
    if first == "SIP/2.0" {
        let is_status = second.len() == 3 && second.bytes().all(|b| b.is_ascii_digit());
        let status = second.parse().ok().filter(|_| is_status);
        let status = status.filter(|status| (100..700).contains(status));
        return Ok(StartLine::Response {
            status: status.ok_or(MalformedSip::StartLine)?,
        });
    }
    let is_request = third == Some("SIP/2.0")
        && !first.is_empty()
        && first.bytes().all(is_token_byte)
        && !second.is_empty()
        && second.bytes().all(|b| b.is_ascii_graphic());
    if !is_request {
        return Err(MalformedSip::StartLine);
    }
    Ok(StartLine::Request {
        method: first.to_owned(),
        uri: second.to_owned(),
    })
}

fn is_token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b)
}

fn is_value(text: &str) -> bool {
    text.chars().all(|c| c == '\t' || !c.is_control())
}

/// The long form of a name (RFC 3261 §7.3.3), in lower case.
fn long_form(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    let long = match name.as_str() {
        "v" => "via",
        "f" => "from",
        "t" => "to",
        "i" => "call-id",
        "m" => "contact",
        "c" => "content-type",
        "e" => "content-encoding",
        "l" => "content-length",
        "s" => "subject",
        "k" => "supported",
        _ => return name,
    };
    long.to_owned()
}

/// A name as RFC 3261 writes it.
fn written(name: &str) -> String {
    match name {
        "call-id" => return "Call-ID".to_owned(),
        "cseq" => return "CSeq".to_owned(),
        _ => {}
    }
    let capitalized = name.split('-').map(|word| {
        let (first, rest) = word.split_at(usize::from(!word.is_empty()));
        first.to_ascii_uppercase() + rest
    });
    capitalized.collect::<Vec<_>>().join("-")
}

const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        400 => "Bad Request",
        403 => "Forbidden",
        405 => "Method Not Allowed",
        415 => "Unsupported Media Type",
        480 => "Temporarily Unavailable",
        503 => "Service Unavailable",
        _ => "Answer",
    }
}
