//! What the carrier's own CSV files have in common: each line has numbers and a window.
//!
//! Columns: `start` with `end` or `count`, or `block`; `valid_from`, `valid_until` (RFC 3339). An
//! apostrophe before a field that a spreadsheet would take for a formula is removed.

use super::decode::Encoding;
use super::draft::TableRow;
use super::fields::{harmless, numbers, shown, time};
use super::lines::{Column, CsvDialect, Line};
use crate::domain::Window;
use crate::domain::clock::from_unix;
use crate::domain::text::for_people::text_for_people;

/// The common columns come first, in this order.
pub const START: Column = Column::optional(&["start", "first", "number", "tn"]);
pub const END: Column = Column::optional(&["end", "last"]);
pub const COUNT: Column = Column::optional(&["count", "quantity"]);
pub const BLOCK: Column = Column::optional(&["block"]);
pub const FROM: Column = Column::optional(&["valid_from", "from", "starts_at"]);
pub const UNTIL: Column = Column::optional(&["valid_until", "until", "ends_at"]);
/// The index of the format's first own column.
pub const OWN: usize = 6;

pub const DIALECT: CsvDialect = CsvDialect {
    delimiter: b',',
    quoted: true,
    encoding: Encoding::Utf8,
};

/// A field of the line, without a protecting apostrophe.
pub fn field<'a>(line: &Line<'a>, column: usize) -> Result<&'a str, String> {
    line.field(column).map(harmless)
}

/// Reads the common columns of a line.
pub fn row<T>(line: &Line<'_>, of: T) -> Result<TableRow<T>, String> {
    let field = |column| field(line, column);
    let row = TableRow {
        line: line.number,
        numbers: numbers(field(0)?, field(1)?, field(2)?, field(3)?)?.range(),
        valid_from: time("valid_from", field(4)?)?,
        valid_until: time("valid_until", field(5)?)?,
        of,
    };
    if let (Some(from), Some(until)) = (row.valid_from, row.valid_until) {
        Window::new(from, Some(until)).map_err(|error| error.to_string())?;
    }
    // RFC 3339 and the databases have four digits for the year.
    let year_10000 = from_unix(253_402_300_800);
    if [row.valid_from, row.valid_until]
        .iter()
        .flatten()
        .any(|t| *t >= year_10000)
    {
        return Err("`valid_from` or `valid_until` is after the year 9999".to_owned());
    }
    Ok(row)
}

/// Free text, such as a reference. `None` if it is empty.
pub fn text(name: &str, text: &str) -> Result<Option<String>, String> {
    let checked = text_for_people(text);
    let checked = checked.map_err(|why| format!("{name} {why}: `{}`", shown(text)))?;
    Ok((!checked.is_empty()).then_some(checked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_has_no_characters_that_no_one_can_see() {
        assert_eq!(text("reference", ""), Ok(None));
        assert_eq!(text("reference", "Order 1"), Ok(Some("Order 1".to_owned())));
        let refused = text("reference", "Order 1\u{feff}").expect_err("refused");
        assert_eq!(
            refused,
            "reference has a control character or an invisible one, U+FEFF: `Order 1\\u{feff}`"
        );
        let refused = text("reference", "Order 1 ").expect_err("refused");
        assert!(refused.starts_with("reference starts or ends with a space"));
    }
}
