//! `NumericDate` (RFC 7519 §2): seconds since 1970 as a JSON number, which can have a fraction and
//! an exponent.

use serde_json::Value;

use crate::domain::clock::{Time, from_unix};

/// The last second that RFC 3339 can express.
const LAST_SECOND: i64 = 253_402_300_799;

/// How a fraction of a second is read: always so that the token is valid for less time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundary {
    /// `exp`: rounded down.
    End,
    /// `iat` and `nbf`: rounded up.
    Start,
}

/// The whole second of a `NumericDate`; `None` if it is not a number from 1970 to the end of 9999.
#[must_use]
pub fn read(value: &Value, boundary: Boundary) -> Option<Time> {
    let seconds = match value.as_i64() {
        Some(seconds) => seconds,
        None => rounded(value.as_f64()?, boundary)?,
    };
    (0..=LAST_SECOND)
        .contains(&seconds)
        .then(|| from_unix(seconds))
}

/// Numbers of this size are exact to less than a microsecond in an `f64`.
fn rounded(seconds: f64, boundary: Boundary) -> Option<i64> {
    let whole = match boundary {
        Boundary::End => seconds.floor(),
        Boundary::Start => seconds.ceil(),
    };
    // `f64` has no checked conversion to integers, but its text does.
    let in_range = (0.0..1e12).contains(&seconds);
    in_range.then(|| format!("{whole:.0}").parse().ok())?
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_fraction_never_lengthens_a_token() {
        for (number, end, start) in [
            ("1767225600", 1_767_225_600, 1_767_225_600),
            ("1767225600.0", 1_767_225_600, 1_767_225_600),
            ("1767225600.123", 1_767_225_600, 1_767_225_601),
            ("1767225600.999999", 1_767_225_600, 1_767_225_601),
            ("1.7672256e9", 1_767_225_600, 1_767_225_600),
            ("1.7e9", 1_700_000_000, 1_700_000_000),
            ("0.5", 0, 1),
            ("0", 0, 0),
            ("253402300799", LAST_SECOND, LAST_SECOND),
        ] {
            let value: Value = serde_json::from_str(number).expect(number);
            let read = |boundary| read(&value, boundary).map(|time| time.timestamp());
            assert_eq!(read(Boundary::End), Some(end), "{number}");
            assert_eq!(read(Boundary::Start), Some(start), "{number}");
        }
        for wrong in [
            json!("1767225600"),
            json!(-1),
            json!(-0.5),
            json!(1e12),
            json!(1e300),
            json!(LAST_SECOND + 1),
            json!(u64::MAX),
            json!(null),
            json!([1]),
            json!(true),
        ] {
            for boundary in [Boundary::End, Boundary::Start] {
                assert_eq!(read(&wrong, boundary), None, "{wrong}");
            }
        }
        let late = json!(253_402_300_799.5);
        assert!(read(&late, Boundary::End).is_some());
        assert_eq!(read(&late, Boundary::Start), None);
    }
}
