//! What the carrier's own CSVs have in common: numbers and a window on each line.
//!
//! Columns: `start` with `end` or `count`, or `block`; `valid_from`, `valid_until` (RFC 3339). A file without these, or a
//! line with an apostrophe in front of what a spreadsheet takes for a formula, is read as it is meant.

use super::decode::Encoding;
use super::draft::TableRow;
use super::fields::{harmless, numbers, shown, time};
use super::lines::{Column, CsvDialect, Line};
use crate::domain::Window;
use crate::domain::accounts::account::is_control_or_bidi;
use crate::domain::clock::from_unix;

/// The columns that all of them have come first.
pub const START: Column = Column::optional(&["start", "first", "number", "tn"]);
pub const END: Column = Column::optional(&["end", "last"]);
pub const COUNT: Column = Column::optional(&["count", "quantity"]);
pub const BLOCK: Column = Column::optional(&["block"]);
pub const FROM: Column = Column::optional(&["valid_from", "from", "starts_at"]);
pub const UNTIL: Column = Column::optional(&["valid_until", "until", "ends_at"]);
/// Where a format's own columns start.
pub const OWN: usize = 6;

/// Characters of a reference.
const MAX_TEXT: usize = 256;

pub const DIALECT: CsvDialect = CsvDialect {
    delimiter: b',',
    quoted: true,
    encoding: Encoding::Utf8,
};

/// A field of the line.
///
/// # Errors
/// A complaint if it is not UTF-8.
pub fn field<'a>(line: &Line<'a>, column: usize) -> Result<&'a str, String> {
    line.field(column).map(harmless)
}

/// Reads what all lines have.
///
/// # Errors
/// A complaint that names the field.
pub fn row<T>(line: &Line<'_>, of: T) -> Result<TableRow<T>, String> {
    let field = |column| field(line, column);
    let row = TableRow {
        line: line.number,
        numbers: numbers(field(0)?, field(1)?, field(2)?, field(3)?)?,
        valid_from: time("valid_from", field(4)?)?,
        valid_until: time("valid_until", field(5)?)?,
        of,
    };
    if let (Some(from), Some(until)) = (row.valid_from, row.valid_until) {
        Window::new(from, Some(until)).map_err(|error| error.to_string())?;
    }
    // What the databases and RFC 3339 cannot write.
    let year_10000 = from_unix(253_402_300_800);
    if [row.valid_from, row.valid_until]
        .iter()
        .flatten()
        .any(|t| *t >= year_10000)
    {
        return Err("a time after the year 9999".to_owned());
    }
    Ok(row)
}

/// A text for people.
///
/// # Errors
/// A complaint if it is too long or has control characters.
pub fn text(name: &str, text: &str) -> Result<Option<String>, String> {
    if text.chars().count() > MAX_TEXT {
        return Err(format!("{name} has more than {MAX_TEXT} characters"));
    }
    if text.chars().any(is_control_or_bidi) {
        return Err(format!("{name} has a control character: `{}`", shown(text)));
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}
