//! Values of requests, read with serde: members of JSON bodies, and what stands behind the `?`. What is wrong with one is
//! said in words of this service; those of a library would tell callers about types that they do not know.

use std::fmt;
use std::vec::IntoIter;

use serde::de::value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer};
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess,
    Unexpected, Visitor,
};
use serde::{Deserialize, forward_to_deserialize_any};
use serde_json::Value;
use uuid::Uuid;

/// Characters of a name that somebody made up, in a complaint about it.
const LONGEST_NAME: usize = 40;

/// Why a value is not the one that is read. Whoever reads it says which it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::api) struct Fault(String);

/// Reads a value of a JSON text.
pub(in crate::api) fn json<T: DeserializeOwned>(value: Value) -> Result<T, Fault> {
    T::deserialize(Json(value))
}

/// Reads parameters, each of which has a name. A complaint names the one that it is about.
pub(in crate::api) fn parameters<T: DeserializeOwned>(
    pairs: Vec<(String, String)>,
) -> Result<T, Fault> {
    T::deserialize(MapAccessDeserializer::new(Parameters {
        rest: pairs.into_iter(),
        current: None,
    }))
}

/// The id of a row.
#[derive(Debug, Clone, Copy)]
pub(in crate::api) struct Id(pub(in crate::api) Uuid);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let id = String::deserialize(deserializer)?.parse().map(Self);
        id.map_err(|_| de::Error::custom("expected a UUID"))
    }
}

impl Fault {
    fn expected(expected: &dyn Expected) -> Self {
        let word = expected.to_string();
        let range = |first: &dyn fmt::Display, last: &dyn fmt::Display| {
            format!("expected a whole number from {first} to {last}")
        };
        Self(match word.as_str() {
            "u8" => range(&u8::MIN, &u8::MAX),
            "u16" => range(&u16::MIN, &u16::MAX),
            "u32" => range(&u32::MIN, &u32::MAX),
            "u64" => range(&u64::MIN, &u64::MAX),
            "i64" => format!("expected a whole number of at most {}", i64::MAX),
            "a string" => "expected a text".to_owned(),
            "a boolean" => "expected true or false".to_owned(),
            "a sequence" => "expected a list".to_owned(),
            "a map" => "expected an object".to_owned(),
            other => format!("expected {other}"),
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    /// What types of this service say of themselves.
    fn custom<T: fmt::Display>(why: T) -> Self {
        Self(why.to_string())
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::expected(expected)
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::expected(expected)
    }

    fn unknown_variant(_: &str, known: &'static [&'static str]) -> Self {
        Self(format!("expected one of {}", known.join(", ")))
    }

    fn unknown_field(name: &str, _: &'static [&'static str]) -> Self {
        let shown: String = name.chars().take(LONGEST_NAME).collect();
        Self(format!("`{shown}` is not known here"))
    }

    fn missing_field(name: &'static str) -> Self {
        Self(format!("`{name}` is missing"))
    }

    fn duplicate_field(name: &'static str) -> Self {
        Self(format!("`{name}` is given twice"))
    }
}

struct Json(Value);

impl<'de> Deserializer<'de> for Json {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Number(value) => match (value.as_u64(), value.as_i64()) {
                (Some(value), _) => visitor.visit_u64(value),
                (None, Some(value)) => visitor.visit_i64(value),
                (None, None) => visitor.visit_f64(value.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(value) => visitor.visit_string(value),
            Value::Array(items) => {
                visitor.visit_seq(SeqDeserializer::new(items.into_iter().map(Json)))
            }
            Value::Object(_) => self.deserialize_map(visitor),
        }
    }

    /// An object and nothing else: serde would take null for an empty one.
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let Value::Object(members) = self.0 else {
            return Err(Fault::expected(&visitor));
        };
        let members = members.into_iter().map(|(name, value)| (name, Json(value)));
        visitor.visit_map(MapDeserializer::new(members))
    }

    /// An object and nothing else: serde would take a list of the values in their order.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_map(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.0 {
            Value::String(word) => visitor.visit_enum(word.into_deserializer()),
            _ => Err(de::Error::unknown_variant("", known)),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct identifier ignored_any
    }
}

impl IntoDeserializer<'_, Fault> for Json {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

struct Parameters {
    rest: IntoIter<(String, String)>,
    current: Option<(String, String)>,
}

impl<'de> MapAccess<'de> for Parameters {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        self.current = self.rest.next();
        let name = self.current.as_ref().map(|(name, _)| name.as_str());
        name.map(|name| seed.deserialize(name.into_deserializer()))
            .transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let (name, value) = self.current.take().unwrap_or_default();
        seed.deserialize(Text(value))
            .map_err(|why| Fault(format!("`{name}`: {why}")))
    }
}

/// A value that is a text until it is known what it has to be.
struct Text(String);

impl Text {
    /// Reads what has to be of a type that texts can be.
    fn parsed<'de, T: std::str::FromStr, V: Visitor<'de>>(
        self,
        visitor: V,
        visit: impl FnOnce(V, T) -> Result<V::Value, Fault>,
    ) -> Result<V::Value, Fault> {
        match self.0.parse() {
            Ok(value) => visit(visitor, value),
            Err(_) => Err(Fault::expected(&visitor)),
        }
    }
}

impl<'de> Deserializer<'de> for Text {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_string(self.0)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.parsed(visitor, V::visit_bool)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.parsed(visitor, V::visit_u16)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.parsed(visitor, V::visit_i64)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct newtype_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}
