//! Log lines: text for people, JSON for machines. Each record is exactly one line,
//! regardless of its contents.

use std::io::Write as _;

use log::kv::{Error, Key, Value, VisitSource, VisitValue};
use log::{Level, Record};
use serde::Serialize;

use super::request_context;

/// The members of a JSON line that come first.
const FIRST: [&str; 4] = ["ts", "level", "target", "msg"];

/// `2026-01-01T00:00:00.000Z INFO  target: message key=value`
pub fn text(time: &str, record: &Record<'_>) -> Vec<u8> {
    let (level, target, message) = (record.level(), record.target(), record.args());
    let line = format!("{time} {level:<5} {target}: {message}").into_bytes();
    let line = with_pairs(line, record, |line, name, value| {
        line.push(b' ');
        line.extend(name.bytes());
        line.push(b'=');
        line.extend(without_quotes(value));
    });
    visible(line, |code| format!("\\u{{{code:x}}}"))
}

/// `{"ts":..,"level":..,"target":..,"msg":..}`, followed by the record's own keys.
pub fn json(time: &str, record: &Record<'_>) -> Vec<u8> {
    // Most lines fit.
    let mut line = Vec::with_capacity(512);
    let level = match record.level() {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    };
    let message = record.args().to_string();
    for (name, value) in FIRST
        .into_iter()
        .zip([time, level, record.target(), &message])
    {
        line.push(if line.is_empty() { b'{' } else { b',' });
        push_json(&mut line, name);
        line.push(b':');
        push_json(&mut line, value);
    }
    let mut line = with_pairs(line, record, |line, name, value| {
        line.push(b',');
        // A key such as `msg` must not repeat the member of that name.
        if FIRST.contains(&name) {
            push_json(line, &format!("{name}_"));
        } else {
            push_json(line, name);
        }
        line.push(b':');
        line.extend(value);
    });
    line.push(b'}');
    // serde_json escapes what JSON requires. Other control characters can occur only inside
    // strings, so escape them here.
    visible(line, |code| format!("\\u{code:04x}"))
}

/// Adds the record's key-values, in order, and then the ids of its request. `add` gets the line, a
/// name, and its value as JSON.
fn with_pairs(
    line: Vec<u8>,
    record: &Record<'_>,
    add: impl FnMut(&mut Vec<u8>, &str, &[u8]),
) -> Vec<u8> {
    let mut pairs = Pairs {
        line,
        value: Vec::new(),
        add,
    };
    // A visit fails only if the visitor does, and this one never does.
    let _ = record.key_values().visit(&mut pairs);
    request_context::visit_ids(record, |name, id| {
        pairs.add(name, |value| push_json(value, id));
    });
    pairs.line
}

struct Pairs<F> {
    line: Vec<u8>,
    /// The value of one pair, as JSON.
    value: Vec<u8>,
    add: F,
}

impl<F: FnMut(&mut Vec<u8>, &str, &[u8])> Pairs<F> {
    fn add(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.value.clear();
        write(&mut self.value);
        (self.add)(&mut self.line, name, &self.value);
    }
}

impl<'kvs, F: FnMut(&mut Vec<u8>, &str, &[u8])> VisitSource<'kvs> for Pairs<F> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let mut visited = Ok(());
        self.add(key.as_str(), |json| visited = value.visit(AsJson(json)));
        visited
    }
}

/// Writes a log value as JSON: numbers and booleans keep their type, everything else becomes text.
struct AsJson<'a>(&'a mut Vec<u8>);

impl VisitValue<'_> for AsJson<'_> {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), Error> {
        push_json(self.0, &value.to_string());
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), Error> {
        push_json(self.0, &());
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), Error> {
        push_json(self.0, &value);
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), Error> {
        push_json(self.0, &value);
        Ok(())
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), Error> {
        push_json(self.0, &value);
        Ok(())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), Error> {
        push_json(self.0, &value);
        Ok(())
    }

    fn visit_str(&mut self, value: &str) -> Result<(), Error> {
        push_json(self.0, value);
        Ok(())
    }
}

fn push_json<T: Serialize + ?Sized>(line: &mut Vec<u8>, value: &T) {
    // Memory can always be written to, and text and numbers are always JSON.
    let _ = serde_json::to_writer(line, value);
}

/// Text without its quotes, unless it could be mistaken for several values or has escapes.
fn without_quotes(json: &[u8]) -> &[u8] {
    match json
        .strip_prefix(b"\"")
        .and_then(|json| json.strip_suffix(b"\""))
    {
        Some(text) if !text.is_empty() && !text.iter().any(|byte| b" =\\".contains(byte)) => text,
        Some(_) | None => json,
    }
}

/// Makes visible what would end the line, control a terminal or change the writing direction.
fn visible(line: Vec<u8>, escape: impl Fn(u32) -> String) -> Vec<u8> {
    if line.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return line;
    }
    let mut visible = Vec::with_capacity(line.len() * 2);
    for c in String::from_utf8_lossy(&line).chars() {
        // Memory can always be written to.
        let _ = match c {
            '\n' => visible.write_all(b"\\n"),
            '\r' => visible.write_all(b"\\r"),
            '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' => visible.write_all(escape(c.into()).as_bytes()),
            c if c.is_control() => visible.write_all(escape(c.into()).as_bytes()),
            c => write!(visible, "{c}"),
        };
    }
    visible
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2026-01-01T00:00:00.000Z";

    fn shown(line: Vec<u8>) -> String {
        String::from_utf8(line).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn a_json_line_has_typed_values() {
        let kvs: &[(&str, Value<'_>)] = &[
            ("count", Value::from(3)),
            ("ca", Value::from(false)),
            ("account", Value::from("acme")),
            ("msg", Value::from("x")),
        ];
        let line = shown(json(
            TIME,
            &Record::builder()
                .args(format_args!("token issued"))
                .level(log::Level::Info)
                .target("api")
                .key_values(&kvs)
                .build(),
        ));
        assert_eq!(
            line,
            r#"{"ts":"2026-01-01T00:00:00.000Z","level":"info","target":"api","msg":"token issued","count":3,"ca":false,"account":"acme","msg_":"x"}"#
        );
    }

    #[test]
    fn a_value_cannot_forge_a_line() {
        let hostile = "a\n2026-01-01 INFO forged\r\u{1b}[2J\u{202e}\0\u{85}";
        let kvs: &[(&str, Value<'_>)] = &[("account", Value::from(hostile)), ("n", Value::from(1))];
        let args = format_args!("refused {hostile}").to_string();
        for line in [text, json].map(|form| {
            shown(form(
                TIME,
                &Record::builder()
                    .args(format_args!("{args}"))
                    .level(log::Level::Warn)
                    .target("api")
                    .key_values(&kvs)
                    .build(),
            ))
        }) {
            assert!(
                !line.contains(|c: char| c.is_control() || c == '\u{202e}'),
                "{line:?}"
            );
        }
        let line = shown(text(
            TIME,
            &Record::builder()
                .args(format_args!("refused"))
                .level(log::Level::Warn)
                .target("api")
                .key_values(&kvs)
                .build(),
        ));
        assert_eq!(
            line,
            r#"2026-01-01T00:00:00.000Z WARN  api: refused account="a\n2026-01-01 INFO forged\r\u001b[2J\u{202e}\u0000\u{85}" n=1"#
        );
    }
}
