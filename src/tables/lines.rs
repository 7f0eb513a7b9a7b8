//! The lines of a table, each split into fields. The header says what they mean.
//!
//! Memory is bounded for any file: a line that does not fit into the buffer is an error.

use std::io::Read;

use csv_core::{ReadRecordResult, ReaderBuilder};

use super::decode::{Clean, Digested, Encoding};
use super::error::{RefusedLines, TableError};
pub use super::header::Column;
use super::header::Header;

/// The longest line, in bytes.
const MAX_LINE: usize = 64 * 1024;
/// The most fields of a line.
const MAX_FIELDS: usize = 256;
/// Progress is reported after each so many lines.
const REPORT_INTERVAL_LINES: u64 = 4_096;

/// The CSV dialect of a format.
#[derive(Debug, Clone, Copy)]
pub struct CsvDialect {
    pub delimiter: u8,
    /// Whether fields can be quoted. If not, a quotation mark is an ordinary character.
    pub quoted: bool,
    pub encoding: Encoding,
}

/// How much of a table has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    pub bytes: u64,
    pub lines: u64,
}

/// One line of a table, after the header.
#[derive(Debug)]
pub struct Line<'a> {
    /// Where it starts in the file, counted from 1. A quoted field can span several lines.
    pub number: u64,
    /// The text of all fields, one after the other.
    output: &'a [u8],
    /// Where each field ends in `output`.
    ends: &'a [usize],
    /// The position in the table of each column of the format.
    positions: &'a [Option<usize>],
}

impl<'a> Line<'a> {
    /// The trimmed field of a column, by its index in [`Layout::columns`](super::Layout::columns).
    /// Empty if the table does not have the column.
    pub fn field(&self, column: usize) -> Result<&'a str, String> {
        let bytes = self.bytes(column).trim_ascii();
        std::str::from_utf8(bytes).map_err(|_| "a field is not UTF-8".to_owned())
    }

    /// The same, untrimmed and unchecked.
    pub fn bytes(&self, column: usize) -> &'a [u8] {
        let position = self.positions.get(column).copied().flatten();
        position.map_or(b"", |position| self.at(position))
    }

    /// The field at a position of the table.
    pub fn at(&self, position: usize) -> &'a [u8] {
        let Some(end) = self.ends.get(position) else {
            return b"";
        };
        let previous = position.checked_sub(1);
        let start = previous.map_or(0, |previous| self.ends[previous]);
        &self.output[start..*end]
    }

    /// How many fields the line has.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether a quotation mark has joined lines of the file.
    pub fn spans_lines(&self) -> bool {
        self.output.contains(&b'\n')
    }

    fn is_empty(&self) -> bool {
        self.output.trim_ascii().is_empty()
    }

    /// All fields, trimmed.
    fn texts(&self) -> Vec<String> {
        let fields = (0..self.len()).map(|position| String::from_utf8_lossy(self.at(position)));
        fields.map(|text| text.trim().to_owned()).collect()
    }
}

/// What is known when all of a table has been read.
#[derive(Debug)]
pub struct TableEnd {
    pub lines: u64,
    /// Lines without any text, which are not among `lines`.
    pub empty: u64,
    pub digested: Digested,
    /// Titles of columns that the format does not have.
    pub unknown_columns: Vec<String>,
}

/// Reads all lines of a table and passes each to `take`; a line for which that returns an error is
/// refused.
///
/// # Errors
/// [`TableError`] if the file is not a table, lacks a needed column, or `report` returns `false`.
pub fn read(
    file: impl Read,
    dialect: CsvDialect,
    columns: &[Column],
    report: &mut dyn FnMut(Progress) -> bool,
    refused: &mut RefusedLines,
    take: &mut dyn FnMut(&Line<'_>) -> Result<(), String>,
) -> Result<TableEnd, TableError> {
    let mut records = Records::new(Clean::new(file, dialect.encoding), dialect);
    let header = match records.next()? {
        Some(line) => Header::new(columns, &line.texts(), dialect)?,
        None => return Err(Header::absent(columns)),
    };
    let mut fields = header.field_count();
    let mut empty = 0;
    let mut lines = 0;
    while let Some(mut line) = records.next()? {
        if line.is_empty() {
            // Spreadsheets write lines of separators alone, which say nothing.
            empty += 1;
            continue;
        }
        lines += 1;
        line.positions = header.positions();
        let outcome = fields.check(&line).and_then(|()| take(&line));
        if let Err(why) = outcome {
            refused.add(line.number, why);
        }
        if lines % REPORT_INTERVAL_LINES == 0 {
            let bytes = records.text.bytes();
            if !report(Progress { bytes, lines }) {
                return Err(TableError::Stopped);
            }
        }
    }
    if let Some(line) = records.unclosed {
        refused.add(line, "unclosed quotation mark");
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
        empty,
        digested: records.text.digested(),
        unknown_columns: header.into_unknown(),
    })
}

/// The records of a file, parsed one at a time into the same buffer.
struct Records<R> {
    text: Clean<R>,
    parser: csv_core::Reader,
    quoted: bool,
    /// A piece of text, parsed up to `at`.
    pending: Vec<u8>,
    at: usize,
    output: Vec<u8>,
    ends: Vec<usize>,
    line: u64,
    /// The line with a quotation mark that is still open at the end of the file.
    unclosed: Option<u64>,
    at_end: bool,
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
            at_end: false,
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
        // The parser reads an unclosed field up to the end of the file, so only the last record can
        // have one.
        if self.at_end && self.at == self.pending.len() && marks % 2 == 1 {
            self.unclosed = Some(start);
        }
        Ok(Some(Line {
            number: start,
            output: &self.output[..written],
            ends: &self.ends[..ended],
            positions: &[],
        }))
    }

    /// Moves to the next line that is not empty. Returns whether there is one.
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
        self.at_end = piece.is_empty();
        self.pending.clear();
        self.pending.extend_from_slice(piece);
        self.at = 0;
        Ok(())
    }
}

fn count(bytes: &[u8], byte_to_count: u8) -> u64 {
    bytes
        .iter()
        .map(|byte| u64::from(*byte == byte_to_count))
        .sum()
}
