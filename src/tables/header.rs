//! The header of a table: where each column is, since administrators rename and reorder columns
//! over the years, and how many fields a line has.
//!
//! A line with a field too many or too few is refused. Most likely a separator in a field is not
//! quoted, so that all fields after it are one column too far to the right: the block of another
//! carrier would be taken for one's own.

use chrono::NaiveDate;

use super::error::TableError;
use super::fields::{shown, shown_up_to};
use super::lines::{CsvDialect, Line};

/// A column of a format.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its names, the current one first. Case, spaces, punctuation and accents are ignored.
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

/// The characters of an unknown title that are kept; enough for the date of a table.
const MAX_TITLE: usize = 60;

/// The titles of a table, and the columns of the format among them.
#[derive(Debug)]
pub struct Header {
    /// The position in the table of each column of the format.
    positions: Vec<Option<usize>>,
    /// Titles of columns that the format does not have.
    unknown: Vec<String>,
    /// How many fields a line has at least: up to the last title of a column.
    width: usize,
    /// How many fields a line has at most. More than `width` if separators without a title, or with
    /// one that is no column, end the header.
    most: usize,
    separator: u8,
}

impl Header {
    /// Finds the columns of a format among the titles.
    ///
    /// # Errors
    /// [`TableError::Columns`] if one is missing or occurs twice.
    pub fn new(
        columns: &[Column],
        titles: &[String],
        dialect: CsvDialect,
    ) -> Result<Self, TableError> {
        let separator = dialect.delimiter;
        if titles
            .first()
            .is_some_and(|title| title.starts_with("sep="))
        {
            let why = "the first line, `sep=..`, is for spreadsheets only; delete it";
            return Err(TableError::Columns(why.to_owned()));
        }
        let positions =
            find(columns, titles).map_err(|error| with_separator(error, titles, separator))?;
        let known = |position| positions.contains(&Some(position));
        let unknown = titles
            .iter()
            .enumerate()
            .filter(|(position, title)| !known(*position) && !title.is_empty())
            .map(|(_, title)| shown_up_to(MAX_TITLE, title))
            .collect();
        let is_column = |(position, title): (usize, &String)| {
            known(position) || !(title.is_empty() || is_stamp(title))
        };
        let last = titles
            .iter()
            .enumerate()
            .rev()
            .find(|named| is_column(*named));
        Ok(Self {
            unknown,
            width: last.map_or(0, |(position, _)| position + 1),
            most: titles.len(),
            separator,
            positions,
        })
    }

    /// The error for a file without a header.
    pub fn absent(columns: &[Column]) -> TableError {
        TableError::Columns(missing(columns, &[]))
    }

    /// The position in the table of each column of the format.
    pub fn positions(&self) -> &[Option<usize>] {
        &self.positions
    }

    /// Counts the fields of this table's lines.
    pub fn field_count(&self) -> FieldCount {
        FieldCount {
            width: self.width,
            most: self.most,
            separator: self.separator,
            first: None,
        }
    }

    /// Titles of columns that the format does not have.
    pub fn into_unknown(self) -> Vec<String> {
        self.unknown
    }
}

/// How many fields each line of a table has.
#[derive(Debug)]
pub struct FieldCount {
    width: usize,
    most: usize,
    separator: u8,
    /// The number and the field count of the first line that was accepted; all others have as many.
    first: Option<(u64, usize)>,
}

impl FieldCount {
    /// Refuses a line whose fields may not be those of its columns.
    pub fn check(&mut self, line: &Line<'_>) -> Result<(), String> {
        let (has, titles) = (line.len(), self.width);
        if has < titles {
            return Err(format!(
                "{has} field(s), but the header has {titles}; the line may be truncated"
            ));
        }
        if has > self.most {
            return Err(format!(
                "{has} fields, but the header has {titles}; quote a field that contains a separator, and delete \
                 separators at the end of the line"
            ));
        }
        if (titles..has).any(|position| !line.at(position).trim_ascii().is_empty()) {
            return Err(format!(
                "a field after the last of the {titles} columns; quote a field that contains a separator"
            ));
        }
        if let Some((first, expected)) = self.first.filter(|(_, expected)| *expected != has) {
            return Err(format!(
                "{has} fields, but line {first} has {expected}; quote a field that contains a separator"
            ));
        }
        if self.swallows(line) {
            return Err(
                "a quotation mark has joined this line and the next; is one missing or too many?"
                    .to_owned(),
            );
        }
        self.first = self.first.or(Some((line.number, has)));
        Ok(())
    }

    /// Whether a field contains what can be another line: a line end, and the separators of a line.
    fn swallows(&self, line: &Line<'_>) -> bool {
        let parts = |field: &[u8]| field.split(|b| *b == self.separator).count();
        let looks_like_a_line =
            |field: &[u8]| field.contains(&b'\n') && parts(field) >= self.width.max(2);
        line.spans_lines() && (0..line.len()).any(|position| looks_like_a_line(line.at(position)))
    }
}

/// Whether a title is none of a column, but the date of the table: NANPA writes `File Updated
/// 09/20/2026` after its titles.
fn is_stamp(title: &str) -> bool {
    let is_date = |word: &str| {
        ["%m/%d/%Y", "%d/%m/%Y", "%Y-%m-%d"]
            .iter()
            .any(|format| NaiveDate::parse_from_str(word, format).is_ok())
    };
    title.split_whitespace().any(is_date)
}

/// Adds a hint if the header is one title with separators of another kind.
fn with_separator(error: TableError, titles: &[String], separator: u8) -> TableError {
    let other = |title: &String| title.contains([',', ';', '\t', '|']);
    match (error, titles) {
        (TableError::Columns(why), [only]) if other(only) => {
            let separator = match separator {
                b'\t' => "tabs".to_owned(),
                other => format!("`{}`", char::from(other)),
            };
            TableError::Columns(format!(
                "{why}; the columns of this format are separated by {separator}"
            ))
        }
        (error, _) => error,
    }
}

/// The letters and digits of a title, in lower case and without accents: `Mnémo` becomes `mnemo`,
/// `NPA-NXX` becomes `npanxx`.
fn normalized(title: &str) -> String {
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

/// Finds each column of the format in the header.
fn find(columns: &[Column], titles: &[String]) -> Result<Vec<Option<usize>>, TableError> {
    let normalized_titles: Vec<String> = titles.iter().map(|title| normalized(title)).collect();
    let mut positions = Vec::with_capacity(columns.len());
    let mut absent = Vec::new();
    for column in columns {
        let is_it = |title: &String| column.names.iter().any(|name| normalized(name) == *title);
        let mut found = normalized_titles
            .iter()
            .enumerate()
            .filter(|(_, t)| is_it(t));
        let (first, second) = (found.next(), found.next());
        if let (Some((_, title)), Some(_)) = (first, second) {
            return Err(TableError::Columns(format!(
                "two columns of the table are named `{title}`; remove one of them"
            )));
        }
        if first.is_none() && column.needed {
            absent.push(*column);
        }
        positions.push(first.map(|(position, _)| position));
    }
    if absent.is_empty() {
        Ok(positions)
    } else {
        Err(TableError::Columns(missing(&absent, titles)))
    }
}

/// The message for needed columns that are absent, with the titles that were found.
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
        .map(|title| format!("`{}`", shown(title)))
        .collect();
    let has = if shown.is_empty() {
        "the file is empty".to_owned()
    } else {
        format!("its header is {}", shown.join(", "))
    };
    format!("the table has {}; {has}", named.join(" and "))
}
