//! Checks that several sections share, and the error that names a key.

use super::ConfigError;

pub(super) fn wrong<T>(key: impl Into<String>, why: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::Wrong {
        key: key.into(),
        why: why.into(),
    })
}

pub(super) fn at_least_one(key: impl Into<String>, value: u64) -> Result<(), ConfigError> {
    if value == 0 {
        return wrong(key, "must be at least 1");
    }
    Ok(())
}

/// From 1 to a maximum that one machine can serve.
pub(super) fn within(key: impl Into<String>, value: u64, most: u64) -> Result<(), ConfigError> {
    if value > most {
        return wrong(key, format!("is {value}, more than {most}"));
    }
    at_least_one(key, value)
}

/// Two keys, each with whether it is set, of which only one can be set.
pub(super) fn exclude_each_other(
    (key, is_set): (&str, bool),
    (other, other_is_set): (&str, bool),
) -> Result<(), ConfigError> {
    if is_set && other_is_set {
        return wrong(key, format!("and `{other}` exclude each other; remove one"));
    }
    Ok(())
}

/// Lower case, because keys from the environment are folded to it; no `:`, because the audit trail
/// separates with it.
pub(super) fn check_name(name: &str, section: &str) -> Result<(), ConfigError> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b);
    if (1..=32).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    wrong(
        section.to_owned(),
        "has a name that is not 1 to 32 lower-case letters, digits, `-` or `_`",
    )
}
