//! Any HTTP interface that sends a message for one request: URL, header fields and body are
//! templates of the carrier.

use std::time::Duration;

use super::error::GatewayError;
use super::gateway::{Gateway, OutgoingCode};
use super::http_reply::{ExpectedReply, outcome};
use super::literals::{is_body, is_field, is_query};
use super::template::{Place, Template, UnwritableValue, Values, Variable};
use crate::domain::Passphrase;
use crate::domain::control::sending::{SendFailure, SendOutcome};
use crate::outgoing::{OperatorClient, OperatorRequest, OperatorUrl};

/// The header field by which a gateway can tell that a request repeats an earlier one.
const REFERENCE: &str = "idempotency-key";

/// A gateway by HTTP, as the configuration describes it.
#[derive(Debug, Clone, Default)]
pub struct HttpSettings {
    /// The URL; its query can have variables.
    pub target: String,
    /// `GET`, `POST` or `PUT`; by default `POST` if there is a body.
    pub method: Option<String>,
    pub headers: Vec<(String, String)>,
    pub body: Option<String>,
    /// The status of success; by default 200 to 299.
    pub expected_status: Option<u16>,
    /// A text that is in the body of a success.
    pub expected_text: Option<String>,
    pub secret: Option<Passphrase>,
    /// CAs (PEM) in place of those of the system.
    pub ca_pem: Option<String>,
    pub allow_plain: bool,
    pub timeout: Duration,
}

/// A gateway by HTTP.
#[derive(Debug)]
pub struct HttpGateway {
    client: OperatorClient,
    method: String,
    /// The URL without its query.
    url: String,
    query: Option<Template>,
    headers: Vec<(String, Template)>,
    body: Option<(Template, Place)>,
    expected: ExpectedReply,
    secret: Option<Passphrase>,
}

impl HttpGateway {
    /// # Errors
    /// [`GatewayError`] if a template, the URL or the CAs cannot be used.
    pub fn new(settings: &HttpSettings) -> Result<Self, GatewayError> {
        let (url, query) = match settings.target.split_once('?') {
            Some((url, query)) => (url, Some(query)),
            None => (settings.target.as_str(), None),
        };
        let url = checked_url(url, settings.allow_plain)?;
        let parse = |key, text: &str| {
            let parsed = Template::parse(text, &Variable::ALL);
            parsed.map_err(|error| GatewayError::wrong(key, &error))
        };
        let query = query.map(|query| parse("target", query)).transpose()?;
        query.as_ref().map_or(Ok(()), is_query)?;
        let headers = settings.headers.iter();
        let headers = headers
            .map(|(name, value)| {
                let value = parse("headers", value)?;
                is_field(name, &value, settings.secret.as_ref())?;
                Ok((name.clone(), value))
            })
            .collect::<Result<Vec<_>, GatewayError>>()?;
        let body = settings.body.as_deref();
        let body = body
            .map(|body| {
                let body = parse("body", body)?;
                is_body(&body)?;
                Ok((body, place_of(&settings.headers)?))
            })
            .transpose()?;
        let templates = query
            .iter()
            .chain(headers.iter().map(|(_, value)| value))
            .chain(body.iter().map(|(body, _)| body));
        let templates: Vec<&Template> = templates.collect();
        let names = |variable| templates.iter().any(|template| template.names(variable));
        if !names(Variable::Code) && !names(Variable::Text) {
            let why = "names neither `{code}` nor `{text}`, and so does no other key";
            return Err(GatewayError::wrong("body", &why));
        }
        if !names(Variable::Number) && !names(Variable::Digits) {
            let why = "names neither `{number}` nor `{digits}`, and so does no other key";
            return Err(GatewayError::wrong("body", &why));
        }
        match (names(Variable::Secret), settings.secret.is_some()) {
            (true, false) => {
                let why = "is not set, although a template names `{secret}`, its content";
                return Err(GatewayError::wrong("secret_file", &why));
            }
            (false, true) => {
                let why = "is set, but no template names `{secret}`, its content; put it where the gateway expects \
                           it, or remove the key";
                return Err(GatewayError::wrong("secret_file", &why));
            }
            (true, true) | (false, false) => {}
        }
        let mut headers = headers;
        let is_reference = |(name, _): &(String, Template)| name.eq_ignore_ascii_case(REFERENCE);
        if !headers.iter().any(is_reference) {
            headers.push((REFERENCE.to_owned(), parse("headers", "{message_id}")?));
        }
        let by_body = if body.is_some() { "POST" } else { "GET" };
        let method = settings.method.as_deref().unwrap_or(by_body).to_owned();
        let client = OperatorClient::new(settings.ca_pem.as_deref(), settings.timeout);
        Ok(Self {
            client: client.map_err(|error| GatewayError::wrong("ca_file", &error))?,
            method,
            url,
            query,
            headers,
            body,
            expected: ExpectedReply {
                status: settings.expected_status,
                text: settings.expected_text.clone(),
            },
            secret: settings.secret.clone(),
        })
    }

    /// URL, header fields and body for one code.
    fn request(&self, code: &OutgoingCode) -> Result<RenderedRequest, UnwritableValue> {
        let values = Values {
            code: code.code.expose(),
            account: &code.account_name,
            number: code.number,
            minutes: code.minutes,
            text: &code.text,
            secret: self.secret.as_ref().map_or("", Passphrase::expose),
            message_id: code.proof,
        };
        let mut url = self.url.clone();
        if let Some(query) = &self.query {
            url.push('?');
            url.push_str(&query.render(&values, Place::Query)?);
        }
        let headers = self.headers.iter();
        let headers = headers
            .map(|(name, value)| Ok((name.clone(), value.render(&values, Place::Header)?)))
            .collect::<Result<_, _>>()?;
        let body = self.body.as_ref();
        let body = body.map(|(body, place)| body.render(&values, *place));
        Ok(RenderedRequest {
            url,
            headers,
            body: body.transpose()?,
        })
    }
}

/// A request with its values, among them secrets.
struct RenderedRequest {
    url: String,
    headers: Vec<(String, String)>,
    body: Option<String>,
}

impl Gateway for HttpGateway {
    fn send(&self, code: &OutgoingCode) -> SendOutcome {
        let Ok(request) = self.request(code) else {
            return SendOutcome::Refused(SendFailure::Unsendable);
        };
        let reply = self.client.send(OperatorRequest {
            method: &self.method,
            url: &request.url,
            headers: &request.headers,
            body: request.body.as_deref().map(str::as_bytes),
        });
        outcome(reply, &self.expected)
    }
}

/// A URL without variables that may be used.
pub(super) fn checked_url(url: &str, allow_plain: bool) -> Result<String, GatewayError> {
    let parsed: Result<OperatorUrl, _> = url.parse();
    let parsed = parsed.and_then(|url| url.require_tls(allow_plain));
    let parsed = parsed.map_err(|error| GatewayError::wrong("target", &error))?;
    if url.contains(['{', '}']) {
        let why = "has a variable before `?`; only the query can have them";
        return Err(GatewayError::wrong("target", &why));
    }
    Ok(parsed.as_str().to_owned())
}

/// How the values of a body are escaped, by its media type.
fn place_of(headers: &[(String, String)]) -> Result<Place, GatewayError> {
    let is_type = |(name, _): &&(String, String)| name.eq_ignore_ascii_case("content-type");
    let media_type = headers
        .iter()
        .find(is_type)
        .map(|(_, value)| value.as_str());
    let media_type = media_type.unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    match essence.to_ascii_lowercase().as_str() {
        "application/json" => Ok(Place::Json),
        "application/x-www-form-urlencoded" => Ok(Place::Query),
        "application/xml" | "text/xml" | "application/soap+xml" => Ok(Place::Xml),
        "text/plain" => Ok(Place::Text),
        _ => {
            let why = "needs the `content-type` of the body, by which values are escaped: \
                       application/json, application/x-www-form-urlencoded, application/xml, \
                       text/xml, application/soap+xml or text/plain";
            Err(GatewayError::wrong("headers", &why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(target: &str) -> HttpSettings {
        HttpSettings {
            target: target.to_owned(),
            timeout: Duration::from_secs(1),
            ..HttpSettings::default()
        }
    }

    fn code(account: &str) -> OutgoingCode {
        OutgoingCode {
            proof: uuid::Uuid::nil(),
            account: "acme".parse().expect("an id"),
            account_name: account.to_owned(),
            number: "+12125551001".parse().expect("a number"),
            code: crate::domain::control::codes::ControlCode::new("123456"),
            text: format!("123456 for {account}"),
            minutes: 10,
            expires_at: crate::domain::clock::from_unix(0),
        }
    }

    /// An account's name comes from others: it must not add a parameter, a member or a field.
    #[test]
    fn a_name_stays_inside_its_parameter() {
        let target = "https://sms.example/?to={digits}&text={text}&from={account}";
        let gateway = HttpGateway::new(&settings(target)).expect("a gateway");
        let request = gateway.request(&code("A&to=19005551234#{code}\r\nX: y"));
        assert_eq!(
            request.expect("a request").url,
            "https://sms.example/?to=12125551001&text=123456%20for%20A%26to%3D19005551234%23%7B\
             code%7D%0D%0AX%3A%20y&from=A%26to%3D19005551234%23%7Bcode%7D%0D%0AX%3A%20y"
        );
        let json = HttpSettings {
            headers: vec![("Content-Type".to_owned(), "application/json".to_owned())],
            body: Some(r#"{"to":"{number}","text":"{text}","n":{"a":1}}"#.to_owned()),
            ..settings("https://sms.example/")
        };
        let gateway = HttpGateway::new(&json).expect("a gateway");
        let name = "A\",\"to\":\"+19005551234\\\r\n{secret}";
        let body = gateway.request(&code(name)).expect("a request").body;
        let body: serde_json::Value = serde_json::from_str(&body.expect("a body")).expect("JSON");
        assert_eq!(body["to"], "+12125551001");
        assert_eq!(body["text"], format!("123456 for {name}"));
        let header = HttpSettings {
            headers: vec![("X-From".to_owned(), "{account}".to_owned())],
            ..settings("https://sms.example/?to={digits}&c={code}")
        };
        let gateway = HttpGateway::new(&header).expect("a gateway");
        assert!(gateway.request(&code("A\r\nX-To: b")).is_err());
        assert_eq!(
            gateway.send(&code("é")),
            SendOutcome::Refused(SendFailure::Unsendable)
        );
    }

    #[test]
    fn a_gateway_that_could_not_send_a_code_is_refused() {
        let refused = |settings: &HttpSettings| {
            let error = HttpGateway::new(settings).expect_err("an error");
            error.to_string()
        };
        for (target, part) in [
            (
                "https://sms.example/?to={number}",
                "`body` names neither `{code}`",
            ),
            (
                "https://sms.example/?c={code}",
                "`body` names neither `{number}`",
            ),
            ("https://sms.example/?c={coed}", "`target` names `{coed}`"),
            ("https://{account}/?c={code}", "`target` must be"),
            (
                "https://sms.example/{code}?n={number}",
                "`target` has a variable before `?`",
            ),
            (
                "http://sms.example/?c={code}&n={number}",
                "`target` is `http://`",
            ),
            (
                "https://sms.example/?n={number}#{code}",
                "`target` has a `#`",
            ),
            (
                "https://sms.example/?n={number}&t=my {code}",
                "`target` has a space",
            ),
            (
                "https://sms.example/?c={code}&n={number}&s={secret}",
                "`secret_file` is not set",
            ),
        ] {
            let message = refused(&settings(target));
            assert!(message.contains(part), "{target}: {message}");
        }
        let body = HttpSettings {
            body: Some("{code} {number}".to_owned()),
            ..settings("https://sms.example/")
        };
        assert!(refused(&body).contains("`headers` needs the `content-type`"));
        let target = "https://sms.example/?c={code}&n={number}";
        let field = HttpSettings {
            headers: vec![("x-from".to_owned(), "a\r\nx-to: b".to_owned())],
            ..settings(target)
        };
        assert!(refused(&field).contains("`headers` has a line break"));
        assert!(refused(&field).contains("`x-from`"));
        let secret = HttpSettings {
            headers: vec![("x-key".to_owned(), "{secret}".to_owned())],
            secret: Some("a\nb".into()),
            ..settings(target)
        };
        assert!(refused(&secret).contains("`secret_file` has a line break"));
        let body = HttpSettings {
            headers: vec![("content-type".to_owned(), "text/plain".to_owned())],
            body: Some("{code}\0{number}".to_owned()),
            ..settings("https://sms.example/")
        };
        assert!(refused(&body).contains("`body` has the control character U+0000"));
        let ca = HttpSettings {
            ca_pem: Some("no certificate".to_owned()),
            ..settings("https://sms.example/?c={code}&n={number}")
        };
        assert!(refused(&ca).contains("`ca_file`"));
    }
}
