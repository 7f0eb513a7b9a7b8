//! Parses the fields of tables. Nothing is guessed: a field that a spreadsheet may have damaged is
//! refused, with a hint.

use std::collections::{BTreeSet, HashMap};

use chrono::{NaiveDate, NaiveTime};

use crate::domain::clock::{Time, parse_time};
use crate::domain::numbers::block;
use crate::domain::{InventoryRange, NumberRange, Tn};

/// An OCN has four characters (ATIS-0300251).
const OCN_LENGTH: usize = 4;

/// The start of a field for a message, escaped so that it cannot control a terminal.
pub fn shown(text: &str) -> String {
    shown_up_to(20, text)
}

/// The same, with more or fewer characters.
pub fn shown_up_to(limit: usize, text: &str) -> String {
    let mut out: String = text.chars().take(limit).collect();
    if text.chars().nth(limit).is_some() {
        out.push_str("..");
    }
    out.escape_debug().to_string()
}

/// Who holds the numbers of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// One of the requested OCNs.
    Own,
    Other,
    /// `MULT`: several carriers share a code.
    Several,
    /// The line has no OCN.
    Unknown,
}

/// The OCNs of the carrier, with the damaged spellings that a spreadsheet produces.
#[derive(Debug)]
pub struct Ocns {
    own: BTreeSet<String>,
    /// A damaged spelling, and the OCN that it may have been.
    mangled: HashMap<String, String>,
    /// Similar OCNs in the table, for a hint if no line has one of `own`.
    similar: BTreeSet<String>,
    /// Why a table with lines of the carrier may give it nothing.
    absence: Option<String>,
    pub lines: u64,
    pub without: u64,
    pub several: u64,
}

impl Ocns {
    pub fn new(own: BTreeSet<String>) -> Self {
        let mut mangled = HashMap::new();
        for code in &own {
            let short = code.trim_start_matches('0');
            if short.len() < code.len() && !short.is_empty() {
                mangled.insert(short.to_owned(), code.clone());
            }
        }
        // A requested OCN is not a damaged form of another.
        mangled.retain(|short, _| !own.contains(short));
        Self {
            own,
            mangled,
            similar: BTreeSet::new(),
            absence: None,
            lines: 0,
            without: 0,
            several: 0,
        }
    }

    /// Whose line this is. Also counts the lines of each kind.
    ///
    /// # Errors
    /// A reason to refuse the line, if a spreadsheet may have damaged an OCN of the carrier.
    pub fn holder(&mut self, ocn: &str) -> Result<Holder, String> {
        if self.own.contains(ocn) {
            self.lines += 1;
            return Ok(Holder::Own);
        }
        if ocn.is_empty() {
            self.without += 1;
            return Ok(Holder::Unknown);
        }
        if ocn == "MULT" {
            self.several += 1;
            return Ok(Holder::Several);
        }
        if let Some(whole) = self.mangled.get(ocn) {
            return Err(format!(
                "OCN `{ocn}` may be `{whole}` without its leading zeros, which spreadsheets drop; \
                 export the column as text"
            ));
        }
        if is_scientific(ocn) {
            return Err(format!(
                "OCN `{}` is in scientific notation, into which spreadsheets turn an OCN such as `369E`; \
                 export the column as text",
                shown(ocn)
            ));
        }
        if ocn.len() <= OCN_LENGTH + 1 && self.similar.len() < 10 && self.is_similar(ocn) {
            self.similar.insert(ocn.to_owned());
        }
        Ok(Holder::Other)
    }

    /// The requested OCNs, for a message.
    pub fn names(&self) -> String {
        self.own.iter().cloned().collect::<Vec<_>>().join(", ")
    }

    /// Whether an OCN is the carrier's. Counts nothing.
    pub fn is_own(&self, ocn: &str) -> bool {
        self.own.contains(ocn)
    }

    /// Says why a table with lines of the carrier may give it nothing.
    pub fn explain_absence(&mut self, why: Option<String>) {
        self.absence = why;
    }

    /// The similar OCNs, or why there are no lines, for a message.
    pub fn hint(&self) -> String {
        if let Some(why) = &self.absence {
            return why.clone();
        }
        if self.similar.is_empty() {
            return String::new();
        }
        let found: Vec<String> = self
            .similar
            .iter()
            .map(|code| format!("`{code}`"))
            .collect();
        format!("; the table does have {}", found.join(", "))
    }

    fn is_similar(&self, ocn: &str) -> bool {
        let bare = |code: &str| code.trim_start_matches('0').to_ascii_uppercase();
        self.own.iter().any(|own| {
            own.eq_ignore_ascii_case(ocn) || (own.len() < OCN_LENGTH && bare(own) == bare(ocn))
        })
    }
}

/// Whether a field is like `3.69E+02`, as spreadsheets write long numbers and what they take for
/// one.
pub fn is_scientific(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let Some((mantissa, exponent)) = text.split_once(['E', 'e']) else {
        return false;
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let signed = exponent.strip_prefix(['+', '-']);
    let (whole, fraction) = mantissa.split_once(['.', ',']).unwrap_or((mantissa, "0"));
    // Without a sign or a point it can be an OCN, such as `12E4`.
    let is_certain = signed.is_some() || mantissa.contains(['.', ',']);
    is_certain && digits(whole) && digits(fraction) && digits(signed.unwrap_or(exponent))
}

/// A date as in `10/05/2022` (month first) or `2022-10-05`: 00:00 UTC of that day.
pub fn american_day(name: &str, text: &str) -> Result<Time, String> {
    day(name, text, "%m/%d/%Y", "MM/DD/YYYY")
}

/// A date as in `22/09/2025` (day first) or `2025-09-22`: 00:00 UTC of that day.
pub fn european_day(name: &str, text: &str) -> Result<Time, String> {
    day(name, text, "%d/%m/%Y", "DD/MM/YYYY")
}

fn day(name: &str, text: &str, format: &str, shape: &str) -> Result<Time, String> {
    let day = NaiveDate::parse_from_str(text, format)
        .or_else(|_| NaiveDate::parse_from_str(text, "%Y-%m-%d"))
        .ok()
        // `%Y` accepts any number of digits.
        .filter(|_| text.len() == 10);
    day.map(|day| day.and_time(NaiveTime::MIN).and_utc())
        .ok_or_else(|| format!("{name} must be a date as {shape}, not `{}`", shown(text)))
}

/// Removes the apostrophe that keeps a spreadsheet from taking a field for a formula.
pub fn harmless(text: &str) -> &str {
    match text.strip_prefix('\'') {
        Some(rest) if rest.starts_with(['=', '+', '-', '@']) => rest,
        _ => text,
    }
}

/// A time in the carrier's own CSV. `None` if the field is empty.
pub fn time(name: &str, text: &str) -> Result<Option<Time>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = |error| format!("{name}: {error}, not `{}`", shown(text));
    parse_time(text).map(Some).map_err(wrong)
}

/// A yes or no. An empty field is a no.
pub fn yes_or_no(name: &str, text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "y" | "1" => Ok(true),
        "" | "false" | "no" | "n" | "0" => Ok(false),
        _ => Err(format!(
            "{name} must be true or false, not `{}`",
            shown(text)
        )),
    }
}

/// One number in the carrier's own CSV, with its `+`.
pub fn number(name: &str, text: &str) -> Result<Tn, String> {
    if is_scientific(text) {
        return Err(format!(
            "{name} `{}` is in scientific notation, as spreadsheets write long numbers, so digits are lost; \
             export the column as text",
            shown(text)
        ));
    }
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!(
            "{name} `{}` lacks its `+`, which a spreadsheet may have removed; if it starts with its country code, \
             write `+{}`",
            shown(text),
            shown(text)
        ));
    }
    text.parse()
        .map_err(|error| format!("{name} `{}`: {error}", shown(text)))
}

/// The numbers of a line: `block`, or `start` with `end` or `count`, or `start` alone for one
/// number.
pub fn numbers(start: &str, end: &str, count: &str, block: &str) -> Result<InventoryRange, String> {
    let numbers = range(start, end, count, block)?;
    numbers.try_into().map_err(|error| {
        let name = if block.is_empty() { "start" } else { "block" };
        format!("{name}: {error}")
    })
}

fn range(start: &str, end: &str, count: &str, block: &str) -> Result<NumberRange, String> {
    match (start, end, count, block) {
        ("", "", "", "") => Err("no numbers: both `start` and `block` are empty".to_owned()),
        ("", "", "", block) => {
            block::parse(block).map_err(|error| format!("block `{}`: {error}", shown(block)))
        }
        (_, _, _, block) if !block.is_empty() => {
            Err("`block` cannot be combined with `start`, `end` or `count`".to_owned())
        }
        ("", ..) => Err("`start` is missing".to_owned()),
        (start, "", "", _) => Ok(number("start", start)?.into()),
        (start, end, "", _) => {
            let (start, end) = (number("start", start)?, number("end", end)?);
            NumberRange::between(start, end).map_err(|error| error.to_string())
        }
        (start, "", count, _) => {
            let start = number("start", start)?;
            let wrong = |error| format!("count `{}`: {error}", shown(count));
            NumberRange::new(start, block::parse_count(count).map_err(wrong)?).map_err(wrong)
        }
        _ => Err("give `end` or `count`, not both".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ocns(codes: &[&str]) -> Ocns {
        Ocns::new(codes.iter().map(|code| (*code).to_owned()).collect())
    }

    #[test]
    fn ocns_must_match_exactly() {
        let mut ocns = ocns(&["073H", "0042"]);
        for (text, holder) in [
            ("073H", Holder::Own),
            ("073h", Holder::Other),
            ("9206", Holder::Other),
            ("12E4", Holder::Other),
            ("369E", Holder::Other),
            ("MULT", Holder::Several),
            ("", Holder::Unknown),
        ] {
            assert_eq!(ocns.holder(text), Ok(holder), "{text}");
        }
        assert_eq!((ocns.lines, ocns.several, ocns.without), (1, 1, 1));
        assert_eq!(ocns.hint(), "; the table does have `073h`");
    }

    #[test]
    fn an_ocn_that_a_spreadsheet_damaged_is_refused_with_a_hint() {
        let mut ocns = ocns(&["073H", "0042"]);
        for (text, hint) in [
            ("73H", "may be `073H` without its leading zeros"),
            ("42", "may be `0042`"),
            ("3.69E+02", "such as `369E`"),
            ("1.2E5", "scientific"),
            ("5E+10", "scientific"),
        ] {
            let why = ocns.holder(text).expect_err(text);
            assert!(why.contains(hint), "{why}");
        }
    }

    #[test]
    fn an_ocn_that_is_requested_without_its_zeros_gets_a_hint() {
        let mut ocns = ocns(&["73H"]);
        assert_eq!(ocns.holder("073H"), Ok(Holder::Other));
        assert_eq!(ocns.hint(), "; the table does have `073H`");
    }

    #[test]
    fn numbers_are_e164_or_refused_with_a_hint() {
        let counted =
            |start, end, count, block| numbers(start, end, count, block).map(|n| n.range().count());
        assert_eq!(counted("+12125551001", "", "", ""), Ok(1));
        assert_eq!(counted("+12125551000", "+12125551999", "", ""), Ok(1000));
        assert_eq!(counted("+12125551000", "", "50", ""), Ok(50));
        assert_eq!(counted("", "", "", "1.212.555.1XXX"), Ok(1000));
        for (fields, hint) in [
            (["12125551001", "", "", ""], "lacks its `+`"),
            (["1.21256E+10", "", "", ""], "scientific"),
            (["+12125551000", "", "1E+3", ""], "not a digit"),
            (["+12125551000", "+12125550999", "", ""], "before it starts"),
            (["+4930123", "+49301234", "", ""], "same number of digits"),
            (["+12125551000", "+12125551001", "2", ""], "not both"),
            (
                ["+12125551000", "", "", "1.212.555.1XXX"],
                "cannot be combined",
            ),
            (["", "", "", ""], "no numbers"),
            (["", "+12125551000", "", ""], "`start` is missing"),
            (["+12125551000", "", "0", ""], "at least one"),
            (["", "", "", "12125551000"], "ends with one or more"),
            (["", "", "", "1.212.556.1xxx"], "upper-case `X`"),
            (["+1212555101", "", "", ""], "start: numbers under +1"),
            (["+1212555101", "+1212555102", "", ""], "10 digits"),
            (["+121255510010", "", "10", ""], "has 11"),
            (["", "", "", "1.212.556.1XX"], "block: numbers under +1"),
        ] {
            let [start, end, count, block] = fields;
            let why = numbers(start, end, count, block).expect_err(hint);
            assert!(why.contains(hint), "{fields:?}: {why}");
        }
    }

    #[test]
    fn american_dates_have_the_month_first() {
        let us = american_day("day", "10/05/2022").expect("a day");
        let fr = european_day("day", "05/10/2022").expect("a day");
        assert_eq!(us, fr);
        assert_eq!(american_day("day", "2022-10-05"), Ok(us));
        for wrong in [
            "",
            "13/13/2022",
            "1/5/2022",
            "10/05/22",
            "2022-10-5",
            "10-05-2022",
            "10/05/20222",
        ] {
            assert!(american_day("day", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_apostrophe_keeps_a_formula_harmless() {
        assert_eq!(harmless("'+12125551001"), "+12125551001");
        assert_eq!(harmless("'tis"), "'tis");
        assert_eq!(harmless("''+1"), "''+1");
    }
}
