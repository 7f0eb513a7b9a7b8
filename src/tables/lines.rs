//! The lines of a table: a header whose names drift over the years, and fields that are found by it.
//!
//! Memory is bounded whatever the file: a line that does not fit is an error, not a larger buffer.

use std::io::Read;

use csv_core::{ReadRecordResult, ReaderBuilder};

use super::decode::{Clean, Digested, Encoding};
use super::error::{RefusedLines, TableError};

/// The longest line, in bytes.
const MAX_LINE: usize = 64 * 1024;
/// The most fields of a line.
const MAX_FIELDS: usize = 256;
/// After how many lines whoever waits is told how far it is.
const LINES_A_REPORT: u64 = 4_096;

/// How a table is written.
#[derive(Debug, Clone, Copy)]
pub struct CsvDialect {
    pub delimiter: u8,
    /// Whether fields may stand in quotation marks; where they may not, a mark is a character like others.
    pub quoted: bool,
    pub encoding: Encoding,
}

/// A column that a format knows.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its names, the present one first. Case, spaces, punctuation and accents make no difference.
    pub names: &'static [&'static str],
    pub needed: bool,
}

impl Column {
    pub const fn needed(names: &'static [&'static str]) -> Self {
        let needed = true;
        Self { names, needed }
    }

    pub const fn optional(names: &'static [&'static str]) -> Self {
        let needed = false;
        Self { names, needed }
    }
}

/// How far the reading is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    pub bytes: u64,
    pub lines: u64,
}

/// One line of a table, behind its header.
#[derive(Debug)]
pub struct Line<'a> {
    /// The number of its first line in the file, from 1.
    pub number: u64,
    output: &'a [u8],
    ends: &'a [usize],
    places: &'a [Option<usize>],
}

impl<'a> Line<'a> {
    /// The field of the `column`-th column that the format knows, without white space around it; empty if the table does
    /// not have it.
    ///
    /// # Errors
    /// A complaint if it is not UTF-8.
    pub fn field(&self, column: usize) -> Result<&'a str, String> {
        let bytes = self.bytes(column).trim_ascii();
        std::str::from_utf8(bytes).map_err(|_| "a field is not UTF-8".to_owned())
    }

    /// The same, as it stands in the table.
    pub fn bytes(&self, column: usize) -> &'a [u8] {
        let place = self.places.get(column).copied().flatten();
        place.map_or(b"", |place| self.at(place))
    }

    fn at(&self, place: usize) -> &'a [u8] {
        let Some(end) = self.ends.get(place) else {
            return b"";
        };
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.output[start..*end]
    }

    fn len(&self) -> usize {
        self.ends.len()
    }
}

/// What is known of the table when all of it is read.
#[derive(Debug)]
pub struct TableEnd {
    pub lines: u64,
    pub digested: Digested,
    /// Names of columns that the format does not know.
    pub unknown_columns: Vec<String>,
}

/// Reads all lines of a table. `take` is given each; lines that it complains about are refused.
///
/// # Errors
/// [`TableError`] if it is no table, lacks a column that the format needs, or `report` says to stop.
pub fn read(
    file: impl Read,
    dialect: CsvDialect,
    columns: &[Column],
    report: &mut dyn FnMut(Progress) -> bool,
    refused: &mut RefusedLines,
    take: &mut dyn FnMut(&Line<'_>) -> Result<(), String>,
) -> Result<TableEnd, TableError> {
    let mut records = Records::new(Clean::new(file, dialect.encoding), dialect);
    let Some(header) = records.next()? else {
        return Err(TableError::Columns(missing(columns, &[])));
    };
    let titles: Vec<String> = (0..header.len())
        .map(|place| String::from_utf8_lossy(header.at(place)).trim().to_owned())
        .collect();
    let places = places(columns, &titles)?;
    let known = |place| places.contains(&Some(place));
    let unknown_columns = titles
        .iter()
        .enumerate()
        .filter(|(place, title)| !known(*place) && !title.is_empty())
        .map(|(_, title)| super::fields::shown(title))
        .collect();

    // A title at the end that is empty is a separator too many.
    let width = titles.iter().rposition(|title| !title.is_empty());
    let width = width.map_or(0, |last| last + 1);

    let mut lines = 0;
    while let Some(mut line) = records.next()? {
        lines += 1;
        line.places = &places;
        let outcome = if line.len() < width {
            Err(format!(
                "{} field(s) where the header has {}; the line may be cut off",
                line.len(),
                width
            ))
        } else {
            take(&line)
        };
        if let Err(why) = outcome {
            refused.add(line.number, why);
        }
        if lines % LINES_A_REPORT == 0 {
            let bytes = records.text.bytes();
            if !report(Progress { bytes, lines }) {
                return Err(TableError::Stopped);
            }
        }
    }
    if let Some(line) = records.unclosed {
        refused.add(line, "a quotation mark is never closed");
    }
    let bytes = records.text.bytes();
    if !report(Progress { bytes, lines }) {
        return Err(TableError::Stopped);
    }
    if lines == 0 {
        return Err(TableError::Empty);
    }
    Ok(TableEnd {
        lines,
        digested: records.text.digested(),
        unknown_columns,
    })
}

/// The letters and digits of a title, in lower case and without accents: `Mnémo` is `mnemo`, `NPA-NXX` is `npanxx`.
fn plain(title: &str) -> String {
    let without_accent = |c: char| match c {
        'é' | 'è' | 'ê' | 'ë' => 'e',
        'à' | 'â' => 'a',
        'î' | 'ï' => 'i',
        'ô' => 'o',
        'û' | 'ù' => 'u',
        'ç' => 'c',
        other => other,
    };
    title
        .chars()
        .flat_map(char::to_lowercase)
        .map(without_accent)
        .filter(char::is_ascii_alphanumeric)
        .collect()
}

fn places(columns: &[Column], titles: &[String]) -> Result<Vec<Option<usize>>, TableError> {
    let plain_titles: Vec<String> = titles.iter().map(|title| plain(title)).collect();
    let mut places = Vec::with_capacity(columns.len());
    let mut absent = Vec::new();
    for column in columns {
        let is_it = |title: &String| column.names.iter().any(|name| plain(name) == *title);
        let mut found = plain_titles.iter().enumerate().filter(|(_, t)| is_it(t));
        let (first, second) = (found.next(), found.next());
        if let (Some((_, title)), Some(_)) = (first, second) {
            return Err(TableError::Columns(format!(
                "two columns of the table are `{title}`; keep the one that counts"
            )));
        }
        if first.is_none() && column.needed {
            absent.push(*column);
        }
        places.push(first.map(|(place, _)| place));
    }
    if absent.is_empty() {
        Ok(places)
    } else {
        Err(TableError::Columns(missing(&absent, titles)))
    }
}

fn missing(absent: &[Column], titles: &[String]) -> String {
    let named = absent.iter().filter(|column| column.needed).map(|column| {
        let others: Vec<String> = column.names[1..].iter().map(|n| format!("`{n}`")).collect();
        let others = if others.is_empty() {
            String::new()
        } else {
            format!(" (or {})", others.join(", "))
        };
        format!("no column `{}`{others}", column.names[0])
    });
    let named: Vec<String> = named.collect();
    let shown: Vec<String> = titles
        .iter()
        .take(20)
        .map(|title| format!("`{}`", super::fields::shown(title)))
        .collect();
    let has = if shown.is_empty() {
        "it is empty".to_owned()
    } else {
        format!("its first line is {}", shown.join(", "))
    };
    format!("the table has {}; {has}", named.join(" and "))
}

/// The records of a file, one at a time in one buffer.
struct Records<R> {
    text: Clean<R>,
    parser: csv_core::Reader,
    quoted: bool,
    /// What is read and not yet parsed.
    pending: Vec<u8>,
    at: usize,
    output: Vec<u8>,
    ends: Vec<usize>,
    line: u64,
    unclosed: Option<u64>,
    over: bool,
}

impl<R: Read> Records<R> {
    fn new(text: Clean<R>, dialect: CsvDialect) -> Self {
        let parser = ReaderBuilder::new()
            .delimiter(dialect.delimiter)
            .quoting(dialect.quoted)
            .terminator(csv_core::Terminator::Any(b'\n'))
            .build();
        Self {
            text,
            parser,
            quoted: dialect.quoted,
            pending: Vec::new(),
            at: 0,
            output: vec![0; MAX_LINE],
            ends: vec![0; MAX_FIELDS],
            line: 1,
            unclosed: None,
            over: false,
        }
    }

    fn next(&mut self) -> Result<Option<Line<'_>>, TableError> {
        if !self.skip_empty_lines()? {
            return Ok(None);
        }
        let start = self.line;
        let (mut written, mut ended, mut marks) = (0, 0, 0_usize);
        let too_long = TableError::TooLong {
            line: start,
            limit: MAX_LINE,
            fields: MAX_FIELDS,
        };
        loop {
            if self.at == self.pending.len() {
                self.refill()?;
            }
            let input = &self.pending[self.at..];
            let (result, read, wrote, ends) = self.parser.read_record(
                input,
                &mut self.output[written..],
                &mut self.ends[ended..],
            );
            let consumed = &input[..read];
            self.line += count(consumed, b'\n');
            if self.quoted {
                marks += usize::try_from(count(consumed, b'"')).unwrap_or_default();
            }
            self.at += read;
            written += wrote;
            ended += ends;
            match result {
                ReadRecordResult::InputEmpty if input.is_empty() => return Ok(None),
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                    return Err(too_long);
                }
                ReadRecordResult::Record => break,
                ReadRecordResult::End => return Ok(None),
            }
        }
        // An open mark swallows all that follows, so this is the last line.
        if self.over && self.at == self.pending.len() && marks % 2 == 1 {
            self.unclosed = Some(start);
        }
        Ok(Some(Line {
            number: start,
            output: &self.output[..written],
            ends: &self.ends[..ended],
            places: &[],
        }))
    }

    /// Goes to the next line that has something in it. Says whether there is one.
    fn skip_empty_lines(&mut self) -> Result<bool, TableError> {
        loop {
            if self.at == self.pending.len() {
                self.refill()?;
                if self.pending.is_empty() {
                    return Ok(false);
                }
            }
            if self.pending[self.at] != b'\n' {
                return Ok(true);
            }
            self.at += 1;
            self.line += 1;
        }
    }

    fn refill(&mut self) -> Result<(), TableError> {
        let piece = self.text.next()?;
        self.over = piece.is_empty();
        self.pending.clear();
        self.pending.extend_from_slice(piece);
        self.at = 0;
        Ok(())
    }
}

fn count(bytes: &[u8], wanted: u8) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte == wanted)).sum()
}
