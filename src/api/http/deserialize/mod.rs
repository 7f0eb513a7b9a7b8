//! Parses bodies and parameters with serde. Errors are worded for callers of the API; those of a
//! library would mention Rust types.
//!
//! An unread member of an object is an error, so no struct needs `deny_unknown_fields`.

mod fault;
mod field_names;
#[cfg(test)]
mod tests;

use serde::de::value::{MapAccessDeserializer, SeqDeserializer};
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor,
};
use serde::{Deserialize, forward_to_deserialize_any};
use serde_json::{Map, Value};
use uuid::Uuid;

pub(in crate::api) use fault::Fault;

use crate::domain::text::for_people::text_for_people;

/// The members of an object that are not read yet.
pub(in crate::api) type Members = Map<String, Value>;

/// A value that is read from some members of an object. It removes its own and leaves the others,
/// so that several values can be read from one object: `serde(flatten)` would ignore unknown
/// members.
pub(in crate::api) trait FromMembers: Sized {
    /// The names of its members, to suggest one in place of a mistyped one.
    fn known() -> Vec<&'static str>;

    fn take_from(members: &mut Members) -> Result<Self, Fault>;
}

impl<T: DeserializeOwned> FromMembers for T {
    fn known() -> Vec<&'static str> {
        field_names::of::<T>()
    }

    fn take_from(members: &mut Members) -> Result<Self, Fault> {
        T::deserialize(Object(members))
    }
}

/// Reads a whole object. `what` names the value if it is not an object.
pub(in crate::api) fn object<T: FromMembers>(value: Value, what: &str) -> Result<T, Fault> {
    let Value::Object(mut members) = value else {
        return Err(de::Error::custom(format_args!(
            "{what} is not a JSON object"
        )));
    };
    let read = T::take_from(&mut members);
    of_these_only(read, &members, T::known)
}

/// Refuses what was read if members are left, and says so if a member is missing that may be there
/// under a mistyped name.
fn of_these_only<T>(
    read: Result<T, Fault>,
    left: &Members,
    known: impl FnOnce() -> Vec<&'static str>,
) -> Result<T, Fault> {
    match read {
        Ok(read) => match left.keys().next() {
            None => Ok(read),
            Some(name) => Err(Fault::unknown(name, &known())),
        },
        Err(Fault::Missing(missing)) => Err(mistyped(left, missing, &known())),
        Err(fault) => Err(fault),
    }
}

/// The first of the members left that is near a known name, else that one is missing.
fn mistyped(members: &Members, missing: &'static str, known: &[&'static str]) -> Fault {
    let unknown = members
        .keys()
        .filter(|name| !known.contains(&name.as_str()));
    let mut faults = unknown.map(|name| Fault::unknown(name, known));
    let near = faults.find(|fault| {
        matches!(
            fault,
            Fault::Unknown {
                nearest: Some(_),
                ..
            }
        )
    });
    near.unwrap_or(Fault::Missing(missing))
}

/// Reads query parameters.
pub(in crate::api) fn parameters<T: DeserializeOwned>(
    pairs: Vec<(String, String)>,
) -> Result<T, Fault> {
    let pairs = pairs.into_iter().map(|(name, value)| (name, Text(value)));
    T::deserialize(MapAccessDeserializer::new(Named::new(pairs)))
}

/// For `deserialize_with`: a member that can be absent, but not null.
pub(in crate::api) fn not_null<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// For `deserialize_with`: a period, in whole seconds.
pub(in crate::api) fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    u32::deserialize(deserializer).map_err(|_| {
        de::Error::custom(
            "is not a number of seconds; write it without quotes or a unit: 7776000 is 90 days",
        )
    })
}

/// For `deserialize_with`: an optional text for people.
pub(in crate::api) fn text<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    let checked = text.map(|text| text_for_people(&text).map_err(de::Error::custom));
    checked.transpose()
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

/// An object from which several values are read.
struct Object<'a>(&'a mut Members);

impl<'de> Deserializer<'de> for Object<'_> {
    type Error = Fault;

    /// All remaining members.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let members = std::mem::take(self.0).into_iter();
        visitor.visit_map(Named::new(members.map(|(name, value)| (name, Json(value)))))
    }

    /// The members that are fields of the struct.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let members = fields
            .iter()
            .filter_map(|name| self.0.shift_remove_entry(*name));
        visitor.visit_map(Named::new(members.map(|(name, value)| (name, Json(value)))))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// A JSON value.
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

    /// Only an object: serde would accept null as an empty one.
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0 {
            Value::Object(mut members) => Object(&mut members).deserialize_any(visitor),
            _ => Err(Fault::expected(&"a map")),
        }
    }

    /// Only an object: serde would accept an array with the values in order.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let Value::Object(mut members) = self.0 else {
            return Err(Fault::expected(&"a map"));
        };
        let read = Object(&mut members).deserialize_struct(name, fields, visitor);
        of_these_only(read, &members, || fields.to_vec())
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
            Value::String(name) => visitor.visit_enum(name.into_deserializer()),
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

/// Named values. A fault in a value gets its name.
struct Named<I, D> {
    rest: I,
    current: Option<(String, D)>,
}

impl<I: Iterator<Item = (String, D)>, D> Named<I, D> {
    const fn new(rest: I) -> Self {
        Self {
            rest,
            current: None,
        }
    }
}

impl<'de, I, D> MapAccess<'de> for Named<I, D>
where
    I: Iterator<Item = (String, D)>,
    D: Deserializer<'de, Error = Fault>,
{
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
        let named = self.current.take();
        let (name, value) = named.ok_or_else(|| Fault::expected(&"a name"))?;
        let read = seed.deserialize(value);
        read.map_err(|fault| fault.within(&name))
    }
}

/// The value of a query parameter, parsed as the requested type.
struct Text(String);

impl Text {
    /// Parses the text as a `T`.
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
