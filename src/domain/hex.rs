//! Bytes in hex: digests, serial numbers.

use std::fmt::Write as _;

/// The bytes in lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        // A text takes whatever is written to it.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
