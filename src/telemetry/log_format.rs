//! Log lines: text for people, JSON for machines. Each record is exactly one line,
//! regardless of its contents.

use std::fmt::Write as _;

use log::Record;
use log::kv::{Error, Key, Value as LogValue, VisitSource, VisitValue};
use serde_json::{Map, Value};

use super::request_context;

/// `2026-01-01T00:00:00.000Z INFO  target: message key=value`
pub fn text(time: &str, record: &Record<'_>) -> String {
    let (level, target) = (record.level(), record.target());
    let message = for_people(&record.args().to_string());
    let mut line = format!("{time} {level:<5} {target}: {message}");
    for (key, value) in pairs(record) {
        let value = match value {
            Value::String(text) => quoted_if_needed(text),
            other => other.to_string(),
        };
        let _ = write!(line, " {}={}", for_people(&key), for_people(&value));
    }
    line
}

/// `{"ts":..,"level":..,"target":..,"msg":..}`, followed by the record's own keys.
pub fn json(time: &str, record: &Record<'_>) -> String {
    let mut object = Map::new();
    object.insert("ts".to_owned(), time.into());
    object.insert(
        "level".to_owned(),
        record.level().as_str().to_lowercase().into(),
    );
    object.insert("target".to_owned(), record.target().into());
    object.insert("msg".to_owned(), record.args().to_string().into());
    for (mut key, value) in pairs(record) {
        // A key such as `msg` must not overwrite the member of that name.
        while object.contains_key(&key) {
            key.push('_');
        }
        object.insert(key, value);
    }
    // serde_json escapes what JSON requires. Other control characters can occur only inside
    // strings, so escape them here.
    let line = Value::Object(object).to_string();
    escaped(&line, |code| format!("\\u{code:04x}"))
}

/// The record's key-values, in order, then the ids of its request.
fn pairs(record: &Record<'_>) -> Vec<(String, Value)> {
    let mut pairs = Pairs(Vec::new());
    // A visit fails only if the visitor does, and this one never does.
    let _ = record.key_values().visit(&mut pairs);
    pairs.0.extend(request_context::pairs(record));
    pairs.0
}

struct Pairs(Vec<(String, Value)>);

impl<'kvs> VisitSource<'kvs> for Pairs {
    fn visit_pair(&mut self, key: Key<'kvs>, value: LogValue<'kvs>) -> Result<(), Error> {
        let mut read = Read(Value::Null);
        value.visit(&mut read)?;
        self.0.push((key.as_str().to_owned(), read.0));
        Ok(())
    }
}

/// Converts a log value to JSON: numbers and booleans keep their type, everything else becomes
/// text.
struct Read(Value);

impl VisitValue<'_> for Read {
    fn visit_any(&mut self, value: LogValue<'_>) -> Result<(), Error> {
        self.0 = value.to_string().into();
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), Error> {
        self.0 = Value::Null;
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_str(&mut self, value: &str) -> Result<(), Error> {
        self.0 = value.into();
        Ok(())
    }
}

/// Quotes a value that could be mistaken for several.
fn quoted_if_needed(text: String) -> String {
    if text.is_empty() || text.contains([' ', '=', '"']) {
        Value::String(text).to_string()
    } else {
        text
    }
}

/// Makes visible what would end the line, control a terminal or change the writing direction.
fn escaped(text: &str, escape: impl Fn(u32) -> String) -> String {
    let mut visible = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => visible.push_str("\\n"),
            '\r' => visible.push_str("\\r"),
            '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' => {
                visible.push_str(&escape(c.into()));
            }
            c if c.is_control() => visible.push_str(&escape(c.into())),
            c => visible.push(c),
        }
    }
    visible
}

fn for_people(text: &str) -> String {
    escaped(text, |code| format!("\\u{{{code:x}}}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2026-01-01T00:00:00.000Z";

    #[test]
    fn a_json_line_has_typed_values() {
        let kvs: &[(&str, LogValue<'_>)] = &[
            ("count", LogValue::from(3)),
            ("ca", LogValue::from(false)),
            ("account", LogValue::from("acme")),
            ("msg", LogValue::from("x")),
        ];
        let line = json(
            TIME,
            &Record::builder()
                .args(format_args!("token issued"))
                .level(log::Level::Info)
                .target("api")
                .key_values(&kvs)
                .build(),
        );
        assert_eq!(
            line,
            r#"{"ts":"2026-01-01T00:00:00.000Z","level":"info","target":"api","msg":"token issued","count":3,"ca":false,"account":"acme","msg_":"x"}"#
        );
    }

    #[test]
    fn a_value_cannot_forge_a_line() {
        let hostile = "a\n2026-01-01 INFO forged\r\u{1b}[2J\u{202e}\0\u{85}";
        let kvs: &[(&str, LogValue<'_>)] = &[
            ("account", LogValue::from(hostile)),
            ("n", LogValue::from(1)),
        ];
        let args = format_args!("refused {hostile}").to_string();
        for line in [text, json].map(|form| {
            form(
                TIME,
                &Record::builder()
                    .args(format_args!("{args}"))
                    .level(log::Level::Warn)
                    .target("api")
                    .key_values(&kvs)
                    .build(),
            )
        }) {
            assert!(
                !line.contains(|c: char| c.is_control() || c == '\u{202e}'),
                "{line:?}"
            );
        }
        let line = text(
            TIME,
            &Record::builder()
                .args(format_args!("refused"))
                .level(log::Level::Warn)
                .target("api")
                .key_values(&kvs)
                .build(),
        );
        assert_eq!(
            line,
            r#"2026-01-01T00:00:00.000Z WARN  api: refused account="a\n2026-01-01 INFO forged\r\u001b[2J\u{202e}\u0000\u{85}" n=1"#
        );
    }
}
