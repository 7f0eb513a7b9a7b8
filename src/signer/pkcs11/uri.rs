//! The URI of a key: `pkcs11:token=carrier;object=signing` (RFC 7512).

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use cryptoki::context::Info as LibraryInfo;
use cryptoki::object::{Attribute, KeyType};
use cryptoki::slot::{SlotInfo, TokenInfo};

use crate::domain::text::percent;
use crate::signer::error::HsmError;
use crate::signer::secret::SecretSource;

/// A URI that names a key (RFC 7512). It never contains a PIN.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyUri {
    text: String,
    token: Option<String>,
    manufacturer: Option<String>,
    serial: Option<String>,
    model: Option<String>,
    library_manufacturer: Option<String>,
    library_description: Option<String>,
    library_version: Option<(u8, u8)>,
    slot_manufacturer: Option<String>,
    slot_description: Option<String>,
    slot_id: Option<u64>,
    object: Option<String>,
    id: Option<Vec<u8>>,
    pin_source: Option<PathBuf>,
    module_path: Option<PathBuf>,
}

impl KeyUri {
    pub(super) fn module_path(&self) -> Option<&Path> {
        self.module_path.as_deref()
    }

    pub(super) fn pin_source(&self) -> Option<SecretSource> {
        self.pin_source.clone().map(SecretSource::File)
    }

    pub(super) const fn names_a_library(&self) -> bool {
        self.library_manufacturer.is_some()
            || self.library_description.is_some()
            || self.library_version.is_some()
    }

    /// Whether the URI fits a module.
    pub(super) fn is_in_library(&self, info: &LibraryInfo) -> bool {
        let version = info.library_version();
        let version = (version.major(), version.minor());
        is(self.library_manufacturer.as_ref(), info.manufacturer_id())
            && is(
                self.library_description.as_ref(),
                info.library_description(),
            )
            && self.library_version.is_none_or(|known| known == version)
    }

    pub(super) const fn names_a_slot(&self) -> bool {
        self.slot_manufacturer.is_some()
            || self.slot_description.is_some()
            || self.slot_id.is_some()
    }

    /// Whether the URI fits a slot.
    pub(super) fn is_in_slot(&self, id: u64, slot: &SlotInfo) -> bool {
        is(self.slot_manufacturer.as_ref(), slot.manufacturer_id())
            && is(self.slot_description.as_ref(), slot.slot_description())
            && self.slot_id.is_none_or(|expected| expected == id)
    }

    /// Whether the URI fits a token.
    pub(super) fn is_in(&self, token: &TokenInfo) -> bool {
        token.token_initialized()
            && is(self.token.as_ref(), token.label())
            && is(self.manufacturer.as_ref(), token.manufacturer_id())
            && is(self.serial.as_ref(), token.serial_number())
            && is(self.model.as_ref(), token.model())
    }

    /// The attributes that find the key itself in its token.
    pub(super) fn key_template(&self) -> Vec<Attribute> {
        let mut template = self.object_template();
        template.push(Attribute::KeyType(KeyType::EC));
        template
    }

    /// The attributes that name all objects of the key.
    pub(super) fn object_template(&self) -> Vec<Attribute> {
        let label = self.object.as_ref();
        let label = label.map(|label| Attribute::Label(label.as_bytes().to_vec()));
        let id = self.id.clone().map(Attribute::Id);
        label.into_iter().chain(id).collect()
    }
}

/// Whether an attribute is what the URI says, if it says anything. PKCS #11 pads texts with spaces.
fn is(expected: Option<&String>, actual: &str) -> bool {
    let expected = expected.map(|text| text.trim_end());
    expected.is_none_or(|text| text == actual.trim_end())
}

impl FromStr for KeyUri {
    type Err = HsmError;

    fn from_str(text: &str) -> Result<Self, HsmError> {
        let rest = text
            .strip_prefix("pkcs11:")
            .ok_or_else(|| wrong("it does not start with `pkcs11:`"))?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut uri = Self {
            text: text.to_owned(),
            token: None,
            manufacturer: None,
            serial: None,
            model: None,
            library_manufacturer: None,
            library_description: None,
            library_version: None,
            slot_manufacturer: None,
            slot_description: None,
            slot_id: None,
            object: None,
            id: None,
            pin_source: None,
            module_path: None,
        };
        for (name, value) in attributes(path, ';')? {
            let is_duplicate = match name {
                "token" => uri.token.replace(text_of(value)?).is_some(),
                "manufacturer" => uri.manufacturer.replace(text_of(value)?).is_some(),
                "serial" => uri.serial.replace(text_of(value)?).is_some(),
                "model" => uri.model.replace(text_of(value)?).is_some(),
                "object" => uri.object.replace(text_of(value)?).is_some(),
                "id" => uri.id.replace(bytes_of(value)?).is_some(),
                "library-manufacturer" => {
                    uri.library_manufacturer.replace(text_of(value)?).is_some()
                }
                "library-description" => uri.library_description.replace(text_of(value)?).is_some(),
                "library-version" => uri.library_version.replace(version_of(value)?).is_some(),
                "slot-manufacturer" => uri.slot_manufacturer.replace(text_of(value)?).is_some(),
                "slot-description" => uri.slot_description.replace(text_of(value)?).is_some(),
                "slot-id" => {
                    let id = value
                        .parse()
                        .map_err(|_| wrong("`slot-id` must be a number"))?;
                    uri.slot_id.replace(id).is_some()
                }
                "type" if value == "private" => false,
                "type" => {
                    return Err(wrong(
                        "`type` must be `private`, because the key signs; leave it out if the URI is that of the \
                         key's certificate or public key",
                    ));
                }
                // Ignoring an attribute could make the URI match other keys.
                other => {
                    return Err(wrong(&format!(
                        "the attribute `{}` is not supported",
                        shown(other)
                    )));
                }
            };
            once(is_duplicate, name)?;
        }
        for (name, value) in attributes(query, '&')? {
            let is_duplicate = match name {
                "module-path" => uri.module_path.replace(text_of(value)?.into()).is_some(),
                "pin-source" => uri.pin_source.replace(file_of(&text_of(value)?)?).is_some(),
                "pin-value" => {
                    return Err(wrong(
                        "a PIN must not be part of the URI, which appears in logs; use `pin-source` \
                         or `signer.pkcs11.pin_file`",
                    ));
                }
                other => {
                    return Err(wrong(&format!(
                        "the attribute `{}` is not supported",
                        shown(other)
                    )));
                }
            };
            once(is_duplicate, name)?;
        }
        Ok(uri)
    }
}

impl fmt::Display for KeyUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for KeyUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

fn attributes(part: &str, separator: char) -> Result<Vec<(&str, &str)>, HsmError> {
    if part.is_empty() {
        return Ok(Vec::new());
    }
    part.split(separator)
        .map(|one| {
            one.split_once('=')
                .ok_or_else(|| wrong("attributes have the form `name=value`"))
        })
        .collect()
}

fn once(is_duplicate: bool, name: &str) -> Result<(), HsmError> {
    if is_duplicate {
        return Err(wrong(&format!("`{name}` occurs twice")));
    }
    Ok(())
}

/// A value is any bytes, written in printable ASCII with percent-encoding (RFC 7512 §2.3).
fn bytes_of(value: &str) -> Result<Vec<u8>, HsmError> {
    if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong(
            "a value must be printable ASCII; write any other byte as `%` and two hex digits",
        ));
    }
    percent::decode(value.as_bytes()).ok_or_else(|| wrong("`%` must be followed by two hex digits"))
}

fn text_of(value: &str) -> Result<String, HsmError> {
    String::from_utf8(bytes_of(value)?).map_err(|_| wrong("an attribute is not UTF-8"))
}

/// `MAJOR` or `MAJOR.MINOR`.
fn version_of(value: &str) -> Result<(u8, u8), HsmError> {
    let (major, minor) = value.split_once('.').unwrap_or((value, "0"));
    let number = |text: &str| {
        let number = text.parse();
        number.map_err(|_| wrong("`library-version` must be two numbers, such as `2.6`"))
    };
    Ok((number(major)?, number(minor)?))
}

/// `file:/path`, `file:///path` or the path itself. RFC 7512 also allows `|command`, which is
/// refused.
fn file_of(source: &str) -> Result<PathBuf, HsmError> {
    let path = source
        .strip_prefix("file://")
        .or(source.strip_prefix("file:"));
    let path = path.unwrap_or(source);
    if path.starts_with('/') {
        return Ok(path.into());
    }
    Err(wrong(
        "`pin-source` must be the absolute path of a file, such as `file:/etc/tn-authority/pin`",
    ))
}

fn shown(text: &str) -> String {
    text.chars()
        .take(40)
        .flat_map(char::escape_default)
        .collect()
}

fn wrong(why: &str) -> HsmError {
    HsmError::Uri(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_names_a_key() {
        let text = "pkcs11:token=The%20carrier;serial=1f;slot-id=7;object=signing-1;id=%01%ab;type=private?\
                    module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/pin";
        let uri: KeyUri = text.parse().expect("a URI");
        assert_eq!(uri.to_string(), text);
        assert_eq!(uri.token.as_deref(), Some("The carrier"));
        assert_eq!(
            (uri.slot_id, uri.id.as_deref()),
            (Some(7), Some(&[1, 0xab][..]))
        );
        assert_eq!(uri.object.as_deref(), Some("signing-1"));
        assert_eq!(
            uri.module_path(),
            Some(Path::new("/usr/lib/softhsm/libsofthsm2.so"))
        );
        assert_eq!(
            uri.pin_source(),
            Some(SecretSource::File("/etc/pin".into()))
        );
        assert!("pkcs11:".parse::<KeyUri>().is_ok(), "any key of any token");
    }

    #[test]
    fn malformed_key_uris_are_refused() {
        for (text, why) in [
            ("", "start with"),
            ("PKCS11:object=a", "start with"),
            ("pkcs11:object", "name=value"),
            ("pkcs11:object=a;object=b", "twice"),
            ("pkcs11:objekt=a", "`objekt` is not supported"),
            ("pkcs11:object=a%2", "two hex digits"),
            ("pkcs11:object=a%zz", "two hex digits"),
            ("pkcs11:object=%ff", "UTF-8"),
            ("pkcs11:object=a b", "printable"),
            ("pkcs11:object=\u{e9}", "printable"),
            ("pkcs11:slot-id=x", "number"),
            ("pkcs11:type=cert", "`private`"),
            (
                "pkcs11:object=a?pin-value=1234",
                "must not be part of the URI",
            ),
            ("pkcs11:object=a?pin-source=pin", "absolute"),
            ("pkcs11:object=a?pin-source=%7ccat%20/etc/pin", "absolute"),
            ("pkcs11:object=a?module-name=softhsm2", "not supported"),
        ] {
            let error = text.parse::<KeyUri>().expect_err(text).to_string();
            assert!(error.contains(why), "{text}: {error}");
            assert!(!error.contains("1234"), "{error}");
        }
    }
}
