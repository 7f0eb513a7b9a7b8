//! Lists and tables: TOML in the file, comma-separated text in the environment.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Reads a list, or comma-separated text.
pub(super) fn list<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: FromStr<Err: Display> + Deserialize<'de>,
    D: Deserializer<'de>,
{
    struct List<T>(PhantomData<T>);

    impl<'de, T: FromStr<Err: Display> + Deserialize<'de>> Visitor<'de> for List<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list, or comma-separated text")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<T>, E> {
            text.split(',')
                .map(|item| item.trim().parse().map_err(E::custom))
                .collect()
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            let mut items = Vec::new();
            while let Some(item) = seq.next_element()? {
                items.push(item);
            }
            Ok(items)
        }
    }

    deserializer.deserialize_any(List(PhantomData))
}

/// Reads a table of named values, or comma-separated text: `name=value,name=value`.
pub(super) fn table<'de, T, D>(deserializer: D) -> Result<BTreeMap<String, T>, D::Error>
where
    T: FromStr<Err: Display>,
    D: Deserializer<'de>,
{
    struct Table<T>(PhantomData<T>);

    impl<'de, T: FromStr<Err: Display>> Visitor<'de> for Table<T> {
        type Value = BTreeMap<String, T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table, or text such as `name=value,name=value`")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            let pair = |item: &str| {
                // A name can contain `=`; a value never does.
                let (name, value) = item
                    .rsplit_once('=')
                    .ok_or_else(|| E::custom("an item without `=`; expected `name=value`"))?;
                let value = value.trim().parse().map_err(E::custom)?;
                Ok((name.trim().to_owned(), value))
            };
            text.split(',').map(pair).collect()
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut table = BTreeMap::new();
            while let Some((name, value)) = map.next_entry::<String, String>()? {
                table.insert(name, value.parse().map_err(de::Error::custom)?);
            }
            Ok(table)
        }
    }

    deserializer.deserialize_any(Table(PhantomData))
}

/// Reads an optional value from its name.
pub(super) fn named<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: FromStr<Err: Display>,
    D: Deserializer<'de>,
{
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| text.parse().map_err(de::Error::custom))
        .transpose()
}
