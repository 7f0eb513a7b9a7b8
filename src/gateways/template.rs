//! Templates of the carrier, such as `{code} is your code`. Each value is escaped for the place
//! that it is put into. Values are never templates: a template is split once, before there is any
//! value.

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use thiserror::Error;
use uuid::Uuid;

use crate::domain::Tn;
use crate::domain::text::words::words;

/// Everything but the unreserved characters of RFC 3986 §2.3.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// The most characters of an account's name in a message: enough to know who asks, too few for a
/// text of its own.
const MAX_NAME: usize = 40;

/// What a template can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variable {
    Code,
    /// The name of the account for people.
    Account,
    /// The number with `+`.
    Number,
    /// The number without `+`.
    Digits,
    /// Minutes in which the code can be confirmed.
    Minutes,
    /// The message, as `control.message` says it.
    Text,
    /// The content of the gateway's `secret_file`.
    Secret,
    /// The same for each attempt to send one code.
    MessageId,
}

words! {
    /// The name in a template.
    for Variable {
        Code = "code",
        Account = "account",
        Number = "number",
        Digits = "digits",
        Minutes = "minutes",
        Text = "text",
        Secret = "secret",
        MessageId = "message_id",
    }
}

/// What can be in a message to a person.
pub const IN_MESSAGES: &[Variable] = &[
    Variable::Code,
    Variable::Account,
    Variable::Number,
    Variable::Digits,
    Variable::Minutes,
];

/// Where values are put, which says how they are escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A query or a form: percent-encoded UTF-8.
    Query,
    /// A string of JSON (RFC 8259 §7).
    Json,
    /// Text or an attribute of XML.
    Xml,
    /// A header field: not escaped, but refused unless it is visible ASCII.
    Header,
    /// Text for people: not escaped.
    Text,
}

/// Why a text is not a template.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TemplateError {
    #[error("names `{{{0}}}`, which is not known here; there are {1}")]
    Unknown(String, String),
}

/// Why a value cannot be put where the template wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a value for a header field is not visible ASCII")]
pub struct UnwritableValue;

/// The values of one message.
#[derive(Clone, Copy)]
pub struct Values<'a> {
    pub code: &'a str,
    pub account: &'a str,
    pub number: Tn,
    pub minutes: u32,
    pub text: &'a str,
    pub secret: &'a str,
    pub message_id: Uuid,
}

impl std::fmt::Debug for Values<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Values(..)")
    }
}

/// A text with variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<TemplatePart>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum TemplatePart {
    Literal(String),
    Value(Variable),
}

impl Template {
    /// Splits a text. A `{` is only special if lower-case letters or `_` and a `}` follow it, so
    /// JSON needs no escaping.
    ///
    /// # Errors
    /// [`TemplateError`] if it names a variable that is not in `known`.
    pub fn parse(text: &str, known: &[Variable]) -> Result<Self, TemplateError> {
        let (mut parts, mut literal) = (Vec::new(), String::new());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            literal.push_str(before);
            rest = after;
            let Some((name, after)) = after.split_once('}').filter(|(name, _)| is_name(name))
            else {
                literal.push('{');
                continue;
            };
            let variable = Variable::from_word(name).filter(|variable| known.contains(variable));
            let Some(variable) = variable else {
                let known: Vec<String> = known
                    .iter()
                    .map(|variable| format!("`{{{}}}`", variable.as_str()))
                    .collect();
                return Err(TemplateError::Unknown(name.to_owned(), known.join(", ")));
            };
            if !literal.is_empty() {
                parts.push(TemplatePart::Literal(std::mem::take(&mut literal)));
            }
            parts.push(TemplatePart::Value(variable));
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(TemplatePart::Literal(literal));
        }
        Ok(Self { parts })
    }

    /// Whether it names a variable.
    #[must_use]
    pub fn names(&self, variable: Variable) -> bool {
        self.parts.contains(&TemplatePart::Value(variable))
    }

    /// What the carrier wrote between the variables.
    pub fn literals(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            TemplatePart::Literal(literal) => Some(literal.as_str()),
            TemplatePart::Value(_) => None,
        })
    }

    /// The text for people.
    #[must_use]
    pub fn text(&self, values: &Values<'_>) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                TemplatePart::Literal(literal) => text.push_str(literal),
                TemplatePart::Value(variable) => text.push_str(&value(*variable, values)),
            }
        }
        text
    }

    /// The text with its values escaped for a place.
    ///
    /// # Errors
    /// If the place cannot hold a value.
    pub fn render(&self, values: &Values<'_>, place: Place) -> Result<String, UnwritableValue> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                TemplatePart::Literal(literal) => text.push_str(literal),
                TemplatePart::Value(variable) => {
                    escape(&mut text, &value(*variable, values), place)?;
                }
            }
        }
        Ok(text)
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

fn value(variable: Variable, values: &Values<'_>) -> String {
    match variable {
        Variable::Code => values.code.to_owned(),
        Variable::Account => short(values.account),
        Variable::Number => values.number.to_string(),
        Variable::Digits => values.number.to_string().trim_start_matches('+').to_owned(),
        Variable::Minutes => values.minutes.to_string(),
        Variable::Text => values.text.to_owned(),
        Variable::Secret => values.secret.to_owned(),
        Variable::MessageId => values.message_id.to_string(),
    }
}

/// A name, cut to [`MAX_NAME`] characters.
fn short(name: &str) -> String {
    if name.chars().count() <= MAX_NAME {
        return name.to_owned();
    }
    let cut: String = name.chars().take(MAX_NAME - 3).collect();
    format!("{}...", cut.trim_end())
}

fn escape(to: &mut String, value: &str, place: Place) -> Result<(), UnwritableValue> {
    match place {
        Place::Text => to.push_str(value),
        Place::Query => to.extend(utf8_percent_encode(value, ESCAPED)),
        Place::Json => {
            for c in value.chars() {
                match c {
                    '"' | '\\' => to.extend(['\\', c]),
                    c if c.is_control() => {
                        // Writing to a `String` cannot fail.
                        let _ = write!(to, "\\u{:04x}", u32::from(c));
                    }
                    c => to.push(c),
                }
            }
        }
        Place::Xml => {
            for c in value.chars() {
                match c {
                    '&' => to.push_str("&amp;"),
                    '<' => to.push_str("&lt;"),
                    '>' => to.push_str("&gt;"),
                    '"' => to.push_str("&quot;"),
                    '\'' => to.push_str("&apos;"),
                    // XML 1.0 has no way to write them.
                    c if c.is_control() => return Err(UnwritableValue),
                    c => to.push(c),
                }
            }
        }
        Place::Header => {
            if !value.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
                return Err(UnwritableValue);
            }
            to.push_str(value);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values<'a>(code: &'a str, account: &'a str) -> Values<'a> {
        Values {
            code,
            account,
            number: "+12125551001".parse().expect("a number"),
            minutes: 10,
            text: "a text",
            secret: "a secret",
            message_id: Uuid::nil(),
        }
    }

    fn parsed(text: &str) -> Template {
        Template::parse(text, &Variable::ALL).expect(text)
    }

    #[test]
    fn every_variable_has_its_value() {
        let template = parsed("{code} {account} {number} {digits} {minutes} {text} {secret}{code}");
        assert_eq!(
            template.text(&values("123456", "ACME")),
            "123456 ACME +12125551001 12125551001 10 a text a secret123456"
        );
        assert!(template.names(Variable::Secret));
        assert!(!parsed("{code}").names(Variable::Secret));
    }

    /// An account named `{code}` must not learn where the code is put, or have it twice.
    #[test]
    fn a_value_is_never_a_template() {
        let template = parsed("{account}: {code}");
        for name in ["{code}", "{{code}}", "{secret}", "{text}", "{"] {
            let text = template.text(&values("123456", name));
            assert_eq!(text, format!("{name}: 123456"));
        }
        assert_eq!(
            template.text(&values("{account}", "{code}")),
            "{code}: {account}"
        );
    }

    #[test]
    fn braces_of_json_need_no_escaping() {
        let json = r#"{"to":"{number}","opts":{"a":{}},"x":"{ code }","y":"{Code}","z":{"#;
        let rendered = parsed(json).render(&values("1", "A"), Place::Json);
        assert_eq!(rendered, Ok(json.replace("{number}", "+12125551001")));
    }

    #[test]
    fn a_misspelled_variable_is_refused() {
        let error = Template::parse("{coed}", IN_MESSAGES).expect_err("an error");
        assert_eq!(
            error.to_string(),
            "names `{coed}`, which is not known here; there are `{code}`, `{account}`, `{number}`, \
             `{digits}`, `{minutes}`"
        );
        assert!(Template::parse("{secret}", IN_MESSAGES).is_err());
    }

    #[test]
    fn values_are_escaped_for_their_place() {
        let name = "A&b=\"c\"\\ <d>'\r\n+%é";
        let in_place = |place| parsed("{account}").render(&values("1", name), place);
        assert_eq!(
            in_place(Place::Query).as_deref(),
            Ok("A%26b%3D%22c%22%5C%20%3Cd%3E%27%0D%0A%2B%25%C3%A9")
        );
        let json = in_place(Place::Json).expect("JSON");
        assert_eq!(json, "A&b=\\\"c\\\"\\\\ <d>'\\u000d\\u000a+%é");
        let read: String = serde_json::from_str(&format!("\"{json}\"")).expect("JSON");
        assert_eq!(read, name);
        assert_eq!(in_place(Place::Xml), Err(UnwritableValue));
        assert_eq!(in_place(Place::Header), Err(UnwritableValue));
        let tame = |place| parsed("{account}").render(&values("1", "A&b<c>\"'"), place);
        assert_eq!(
            tame(Place::Xml).as_deref(),
            Ok("A&amp;b&lt;c&gt;&quot;&apos;")
        );
        assert_eq!(tame(Place::Header).as_deref(), Ok("A&b<c>\"'"));
        assert_eq!(
            parsed("{account}").render(&values("1", "é"), Place::Header),
            Err(UnwritableValue)
        );
    }

    #[test]
    fn a_long_name_is_cut() {
        let long = "é".repeat(60);
        let text = parsed("{account}").text(&values("1", &long));
        assert_eq!(text, format!("{}...", "é".repeat(37)));
    }
}
