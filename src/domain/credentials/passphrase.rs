//! Passphrases and PINs: secrets that are never shown.

use std::fmt;

use serde::{Deserialize, Deserializer};

/// A passphrase or a PIN. It has no `Display`, and its `Debug` hides the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(String);

impl Passphrase {
    /// The secret text.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Removes the line break at the end of a file.
impl From<&str> for Passphrase {
    fn from(text: &str) -> Self {
        Self(text.trim_end_matches(['\r', '\n']).to_owned())
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

impl<'de> Deserialize<'de> for Passphrase {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from(String::deserialize(deserializer)?.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_break_of_a_file_is_removed() {
        assert_eq!(Passphrase::from(" 12 34\r\n").expose(), " 12 34");
        assert_eq!(format!("{:?}", Passphrase::from("1234")), "Passphrase(..)");
    }
}
