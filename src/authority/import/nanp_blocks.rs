//! Whole-country block tables of the NANP: `npa,nxx,x,ocn,company,category`, a line a code or thousands-block.
//!
//! `x` is `A` for a whole code (NPA-NXX) and a digit for a thousands-block of it. The more specific wins: a code with any
//! thousands-block line grants nothing by itself, and a thousands digit without a line is nobody's.

use std::collections::BTreeSet;
use std::io::Read;

use csv::{ReaderBuilder, StringRecord, Trim};
use thiserror::Error;

use super::Holding;
use crate::domain::inventory::Basis;
use crate::domain::range_set::merged;
use crate::domain::{NumberRange, Tn};

/// The columns that are read, in any order; others are passed over.
const COLUMNS: [&str; 4] = ["npa", "nxx", "x", "ocn"];
/// How many malformed lines an error names.
const LINES_NAMED: usize = 10;

/// Why a table is not taken. Nothing of it is.
#[derive(Debug, Error)]
pub enum TableError {
    #[error("the table cannot be read: {0}")]
    Read(#[from] csv::Error),
    #[error(
        "the table has no column `{0}`; its first line names the columns npa,nxx,x,ocn,company,category"
    )]
    NoColumn(&'static str),
    #[error("{count} line(s) are malformed, so none is taken: {}", .named.join("; "))]
    Malformed { count: usize, named: Vec<String> },
    #[error("the table has no line behind its columns")]
    Empty,
    #[error("no line of the table names {0}; codes are compared letter by letter")]
    NoSuchOcn(String),
}

/// What a table says of some OCNs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// What they hold, as few ranges: blocks that touch each other are one.
    pub holdings: Vec<Holding>,
    /// Lines that were read.
    pub lines: usize,
    /// Lines of these OCNs.
    pub own: usize,
    /// Lines of these OCNs for whole codes that grant nothing, since there are thousands-blocks in them.
    pub pooled_codes: usize,
    /// Lines without an OCN, and lines for several carriers (`MULT`): they are nobody's here.
    pub without_ocn: usize,
    pub several: usize,
}

impl Table {
    /// How many numbers they hold.
    #[must_use]
    pub fn numbers(&self) -> u64 {
        self.holdings
            .iter()
            .map(|holding| holding.numbers.count())
            .sum()
    }
}

/// Reads a table, and what it says of these OCNs.
///
/// # Errors
/// [`TableError`] if it is not such a table, any line is malformed, or none is of these OCNs. A line that cannot be read
/// might have been the one that gives a block to somebody else, so it is not passed over.
pub fn read(table: impl Read, ocns: &BTreeSet<String>) -> Result<Table, TableError> {
    let mut reader = ReaderBuilder::new()
        .flexible(true)
        .trim(Trim::All)
        .from_reader(table);
    let columns = columns(reader.headers()?)?;
    let (mut blocks, mut out) = (Blocks::default(), Table::default());
    let mut malformed = Vec::new();
    let mut record = StringRecord::new();
    while reader.read_record(&mut record)? {
        out.lines += 1;
        let ocn = record.get(columns[3]).unwrap_or_default();
        let own = ocns.contains(ocn);
        out.own += usize::from(own);
        out.without_ocn += usize::from(ocn.is_empty());
        out.several += usize::from(ocn == "MULT");
        if let Err(why) = blocks.add(&record, columns, own) {
            let line = record.position().map_or(0, csv::Position::line);
            malformed.push(format!("line {line}: {why}"));
        }
    }
    blocks.claimed_twice(&mut malformed);
    if !malformed.is_empty() {
        let count = malformed.len();
        malformed.truncate(LINES_NAMED);
        return Err(TableError::Malformed {
            count,
            named: malformed,
        });
    }
    if out.lines == 0 {
        return Err(TableError::Empty);
    }
    if out.own == 0 {
        let names: Vec<&str> = ocns.iter().map(String::as_str).collect();
        return Err(TableError::NoSuchOcn(names.join(", ")));
    }
    blocks.settle(&mut out);
    Ok(out)
}

fn columns(header: &StringRecord) -> Result<[usize; 4], TableError> {
    let mut places = [0; 4];
    for (place, name) in places.iter_mut().zip(COLUMNS) {
        let is_it = |title: &str| {
            title
                .trim_start_matches('\u{feff}')
                .eq_ignore_ascii_case(name)
        };
        *place = header
            .iter()
            .position(is_it)
            .ok_or(TableError::NoColumn(name))?;
    }
    Ok(places)
}

/// Somebody has this block, or code, by a line of the table.
const LISTED: u8 = 1;
const OWN: u8 = 2;
/// A line of somebody else names it as well.
const FOREIGN: u8 = 4;

/// All codes and thousands-blocks of the NANP, by their digits: 000-000 to 999-999, and a digit more.
struct Blocks {
    codes: Vec<u8>,
    thousands: Vec<u8>,
}

impl Default for Blocks {
    fn default() -> Self {
        Self {
            codes: vec![0; 1_000_000],
            thousands: vec![0; 10_000_000],
        }
    }
}

impl Blocks {
    fn add(&mut self, record: &StringRecord, columns: [usize; 4], own: bool) -> Result<(), String> {
        let [npa, nxx, x, _] = columns.map(|column| record.get(column).unwrap_or_default());
        let code = three_digits("npa", npa)? * 1_000 + three_digits("nxx", nxx)?;
        let entry = match x.as_bytes() {
            b"A" => self.codes.get_mut(code),
            [digit @ b'0'..=b'9'] => self
                .thousands
                .get_mut(code * 10 + usize::from(digit - b'0')),
            _ => return Err(format!("x is `A` or a digit, not `{}`", shown(x))),
        };
        if let Some(entry) = entry {
            *entry |= LISTED | if own { OWN } else { FOREIGN };
        }
        Ok(())
    }

    /// A block that two carriers have is a contradiction, and not ours to settle.
    fn claimed_twice(&self, malformed: &mut Vec<String>) {
        let both = |entry: &&u8| **entry & (OWN | FOREIGN) == OWN | FOREIGN;
        let count = self
            .codes
            .iter()
            .chain(&self.thousands)
            .filter(both)
            .count();
        if count > 0 {
            malformed.push(format!(
                "{count} block(s) of these OCNs are listed for another one too"
            ));
        }
    }

    fn settle(&self, out: &mut Table) {
        let own = |entries: &[u8]| -> Vec<usize> {
            let marked = entries
                .iter()
                .enumerate()
                .filter(|(_, entry)| **entry & OWN != 0);
            marked.map(|(index, _)| index).collect()
        };
        let pooled = |code: &usize| {
            self.thousands[code * 10..code * 10 + 10]
                .iter()
                .any(|entry| *entry != 0)
        };
        let (without_force, codes): (Vec<_>, Vec<_>) =
            own(&self.codes).into_iter().partition(pooled);
        out.pooled_codes = without_force.len();
        let blocks: Vec<NumberRange> = ranges(&own(&self.thousands), 1_000).collect();
        let of_codes_alone = |numbers: &NumberRange| {
            // Both are sorted, so the first block that is not before the range tells.
            let next = blocks.partition_point(|block| block.first() < numbers.first());
            blocks
                .get(next)
                .is_none_or(|block| block.intersection(*numbers).is_none())
        };
        let all = merged(
            ranges(&codes, 10_000)
                .chain(blocks.iter().copied())
                .collect(),
        );
        out.holdings = all
            .into_iter()
            .map(|numbers| Holding {
                numbers,
                basis: if of_codes_alone(&numbers) {
                    Basis::Code
                } else {
                    Basis::Block
                },
            })
            .collect();
    }
}

/// Blocks of `width` numbers, by their digits behind the country code.
fn ranges(blocks: &[usize], width: u64) -> impl Iterator<Item = NumberRange> {
    let (digits, free) = if width == 10_000 {
        (6, "0000")
    } else {
        (7, "000")
    };
    blocks.iter().filter_map(move |block| {
        let start = Tn::from_digits(&format!("1{block:0digits$}{free}")).ok()?;
        NumberRange::new(start, width).ok()
    })
}

/// NPA and NXX are three digits, of which the first is 2 to 9.
fn three_digits(name: &str, text: &str) -> Result<usize, String> {
    match text.as_bytes() {
        [b'2'..=b'9', b'0'..=b'9', b'0'..=b'9'] => {
            text.parse().map_err(|_| format!("{name} is too long"))
        }
        _ => Err(format!(
            "{name} is three digits, the first from 2 to 9, not `{}`",
            shown(text)
        )),
    }
}

/// A few characters of a field, harmless in a terminal.
fn shown(text: &str) -> String {
    text.chars()
        .take(20)
        .collect::<String>()
        .escape_debug()
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(lines: &str) -> Result<Table, TableError> {
        let text = format!("npa,nxx,x,ocn,company,category\n{lines}");
        read(text.as_bytes(), &BTreeSet::from(["073H".to_owned()]))
    }

    fn ranges(lines: &str) -> Vec<String> {
        let table = table(lines).expect("a table");
        table
            .holdings
            .iter()
            .map(|holding| holding.numbers.to_string())
            .collect()
    }

    #[test]
    fn a_code_with_any_thousands_block_grants_nothing_by_itself() {
        assert_eq!(
            ranges("212,555,A,073H,,\n"),
            ["+12125550000 to +12125559999"]
        );
        assert_eq!(
            ranges("212,555,A,073H,,\n212,555,1,073H,,\n212,555,2,9999,\"A, B\",\n"),
            ["+12125551000 to +12125551999"]
        );
        let pooled = table("212,555,A,073H,,\n212,555,2,,,\n").expect("a table");
        assert_eq!(
            (
                pooled.holdings.len(),
                pooled.pooled_codes,
                pooled.without_ocn
            ),
            (0, 1, 1)
        );
    }

    #[test]
    fn blocks_that_touch_are_one_range() {
        assert_eq!(
            ranges("212,555,9,073H,,\n212,556,0,073H,,\n212,556,2,073H,,\n"),
            [
                "+12125559000 to +12125560999",
                "+12125562000 to +12125562999"
            ]
        );
    }

    #[test]
    fn a_code_beside_a_block_is_one_range_with_it() {
        let table =
            table("212,555,A,073H,,\n212,556,0,073H,,\n212,558,A,073H,,\n").expect("a table");
        let found: Vec<_> = table
            .holdings
            .iter()
            .map(|h| (h.numbers.count(), h.basis))
            .collect();
        assert_eq!(found, [(11_000, Basis::Block), (10_000, Basis::Code)]);
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_its_line() {
        for (lines, why) in [
            ("212,555,B,073H,,\n", "line 2: x is `A` or a digit"),
            ("112,555,1,073H,,\n", "line 2: npa is three digits"),
            (
                "212,555,1,073H,,\n212,55,1,9999,,\n",
                "line 3: nxx is three digits",
            ),
            (
                "212,555,1,073H,,\n212,555,1,9999,,\n",
                "listed for another one too",
            ),
            ("212,555,1,073h,,\n", "no line of the table names 073H"),
            ("", "no line behind its columns"),
        ] {
            let error = table(lines).expect_err(lines).to_string();
            assert!(error.contains(why), "{error}");
        }
        let error = read("a,b\n1,2\n".as_bytes(), &BTreeSet::new()).expect_err("no columns");
        assert!(error.to_string().contains("no column `npa`"), "{error}");
    }
}
