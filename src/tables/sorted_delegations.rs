//! The lines of a delegation table that are too many for memory: in a temporary file, sorted by
//! their numbers.
//!
//! Lines are sorted in memory, a run at a time, and written; the runs are merged when they are
//! read. They are read in groups that share no number with each other: what one line has to do
//! with another, or with an existing delegation that both overlap, is then within one group.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use super::draft::{DelegationRow, TableRow};
use super::error::TableError;
use crate::domain::clock::{Time, from_unix};
use crate::domain::{NumberRange, Tn};

/// How many lines are sorted in memory at once.
const LINES_OF_A_RUN: usize = 50_000;
/// The most lines of one group; more would be held in memory.
const MAX_GROUP: usize = 50_000;
/// How much of each run is read at once. There is a run for each 50,000 lines.
const READ_AHEAD: usize = 16 * 1_024;
/// An absent time.
const NO_TIME: i64 = i64::MIN;

type Row = TableRow<DelegationRow>;

/// Takes the lines of a table in any order. Up to [`FEW_LINES`] stay in memory.
#[derive(Debug, Default)]
pub struct DelegationSorter {
    pending: Vec<Row>,
    sorted: Option<SortedDelegations>,
}

/// Tables of no more lines are kept in memory, and imported in one transaction.
pub const FEW_LINES: usize = 5_000;

/// All lines of a table. They can be read any number of times.
#[derive(Debug, Clone)]
pub struct SortedDelegations {
    file: Arc<File>,
    /// Where each run ends in the file.
    ends: Vec<u64>,
    lines: u64,
    numbers: u64,
}

impl DelegationSorter {
    /// # Errors
    /// [`TableError::Read`] if the temporary file cannot be written.
    pub fn add(&mut self, row: Row) -> Result<(), TableError> {
        self.pending.push(row);
        if self.pending.len() >= LINES_OF_A_RUN {
            self.write_run()?;
        }
        Ok(())
    }

    /// The lines, if they are few: in the order of the table.
    ///
    /// # Errors
    /// The lines on disk, if they are many; or [`TableError::Read`].
    pub fn finish(mut self) -> Result<Result<Vec<Row>, SortedDelegations>, TableError> {
        if self.sorted.is_none() && self.pending.len() <= FEW_LINES {
            return Ok(Ok(self.pending));
        }
        self.write_run()?;
        match self.sorted {
            Some(sorted) => Ok(Err(sorted)),
            None => Ok(Ok(Vec::new())),
        }
    }

    fn write_run(&mut self) -> Result<(), TableError> {
        let sorted = match &mut self.sorted {
            Some(sorted) => sorted,
            none => none.insert(SortedDelegations {
                file: Arc::new(tempfile::tempfile().map_err(not_kept)?),
                ends: Vec::new(),
                lines: 0,
                numbers: 0,
            }),
        };
        self.pending.sort_unstable_by_key(key);
        let start = sorted.ends.last().copied().unwrap_or_default();
        let mut out = BufWriter::new(&*sorted.file);
        let mut length = 0;
        for row in &self.pending {
            length += write(&mut out, row).map_err(not_kept)?;
            sorted.numbers += row.numbers.count();
        }
        out.flush().map_err(not_kept)?;
        sorted.ends.push(start + length);
        sorted.lines += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }
}

impl SortedDelegations {
    #[must_use]
    pub const fn lines(&self) -> u64 {
        self.lines
    }

    /// How many telephone numbers the lines have together.
    #[must_use]
    pub const fn numbers(&self) -> u64 {
        self.numbers
    }

    /// Reads the lines in groups of about `size`; no number is in two of them.
    ///
    /// # Errors
    /// [`TableError::Read`] if the temporary file cannot be read.
    pub fn groups(&self, size: usize) -> Result<DelegationGroups, TableError> {
        let mut groups = DelegationGroups {
            size,
            runs: Vec::with_capacity(self.ends.len()),
            heads: BinaryHeap::with_capacity(self.ends.len()),
        };
        let mut start = 0;
        for end in &self.ends {
            let part = FilePart {
                file: Arc::clone(&self.file),
                at: start,
                end: *end,
            };
            groups.runs.push(BufReader::with_capacity(READ_AHEAD, part));
            groups.read_head(groups.runs.len() - 1)?;
            start = *end;
        }
        Ok(groups)
    }
}

/// The groups of the lines, in the order of their numbers.
#[derive(Debug)]
pub struct DelegationGroups {
    size: usize,
    runs: Vec<BufReader<FilePart>>,
    /// The next line of each run.
    heads: BinaryHeap<Reverse<RunHead>>,
}

impl DelegationGroups {
    fn read_head(&mut self, run: usize) -> Result<(), TableError> {
        if let Some(row) = read(&mut self.runs[run]).map_err(not_kept)? {
            self.heads.push(Reverse(RunHead { row, run }));
        }
        Ok(())
    }

    fn next_group(&mut self) -> Result<Vec<Row>, TableError> {
        let mut group: Vec<Row> = Vec::with_capacity(self.size);
        let mut last: Option<Tn> = None;
        while let Some(Reverse(head)) = self.heads.peek() {
            let joins = last.is_some_and(|last| head.row.numbers.first() <= last);
            if group.len() >= self.size && !joins {
                break;
            }
            if group.len() >= MAX_GROUP {
                let line = head.row.line;
                return Err(TableError::Entangled {
                    line,
                    limit: MAX_GROUP,
                });
            }
            let Some(Reverse(RunHead { row, run })) = self.heads.pop() else {
                break;
            };
            last = last.max(Some(row.numbers.last()));
            group.push(row);
            self.read_head(run)?;
        }
        Ok(group)
    }
}

impl Iterator for DelegationGroups {
    type Item = Result<Vec<Row>, TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.next_group() {
            Ok(group) if group.is_empty() => None,
            outcome => Some(outcome),
        }
    }
}

/// The next line of a run, ordered by its numbers and its place in the table.
#[derive(Debug)]
struct RunHead {
    row: Row,
    run: usize,
}

impl PartialEq for RunHead {
    fn eq(&self, other: &Self) -> bool {
        key(&self.row) == key(&other.row)
    }
}

impl Eq for RunHead {}

impl PartialOrd for RunHead {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for RunHead {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        key(&self.row).cmp(&key(&other.row))
    }
}

fn key(row: &Row) -> (NumberRange, u64) {
    (row.numbers, row.line)
}

/// A part of a file that several read at the same time.
#[derive(Debug)]
struct FilePart {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for FilePart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let read = self.file.read_at(&mut buffer[..wanted], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

fn not_kept(error: impl std::fmt::Display) -> TableError {
    TableError::Read(format!("its lines cannot be kept on disk: {error}"))
}

/// Writes a line, and returns its length in bytes.
fn write(out: &mut impl Write, row: &Row) -> io::Result<u64> {
    let seconds = |time: Option<Time>| time.map_or(NO_TIME, |time| time.timestamp());
    let account = row.of.account.as_str().as_bytes();
    let reference = row.of.reference.as_deref().map(str::as_bytes);
    let flags = [row.of.ca, row.of.lend_on, reference.is_some()];
    out.write_all(&row.line.to_le_bytes())?;
    for value in [
        row.numbers.first().position(),
        row.numbers.last().position(),
        seconds(row.valid_from),
        seconds(row.valid_until),
    ] {
        out.write_all(&value.to_le_bytes())?;
    }
    out.write_all(&flags.map(u8::from))?;
    let mut length = 8 * 5 + 3;
    for text in [account, reference.unwrap_or_default()] {
        let bytes = u32::try_from(text.len()).map_err(io::Error::other)?;
        out.write_all(&bytes.to_le_bytes())?;
        out.write_all(text)?;
        length += 4 + u64::from(bytes);
    }
    Ok(length)
}

/// Reads what [`write`] wrote; `None` at the end.
fn read(from: &mut impl Read) -> io::Result<Option<Row>> {
    let mut line = [0; 8];
    match from.read_exact(&mut line) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let position = |value| Tn::from_position(value).map_err(io::Error::other);
    let time = |seconds| (seconds != NO_TIME).then(|| from_unix(seconds));
    let first = position(number(from)?)?;
    let last = position(number(from)?)?;
    let (valid_from, valid_until) = (time(number(from)?), time(number(from)?));
    let mut flags = [0; 3];
    from.read_exact(&mut flags)?;
    let [ca, lend_on, has_reference] = flags.map(|flag| flag != 0);
    let account = text(from)?.parse().map_err(io::Error::other)?;
    let reference = text(from)?;
    Ok(Some(TableRow {
        line: u64::from_le_bytes(line),
        numbers: NumberRange::between(first, last).map_err(io::Error::other)?,
        valid_from,
        valid_until,
        of: DelegationRow {
            account,
            ca,
            lend_on,
            reference: has_reference.then_some(reference),
        },
    }))
}

fn number(from: &mut impl Read) -> io::Result<i64> {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes)?;
    Ok(i64::from_le_bytes(bytes))
}

fn text(from: &mut impl Read) -> io::Result<String> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_le_bytes(length)).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    String::from_utf8(bytes).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(line: u64, start: u64, count: u64) -> Row {
        let first = Tn::from_digits(&start.to_string()).expect("a number");
        TableRow {
            line,
            numbers: NumberRange::new(first, count).expect("a range"),
            valid_from: line.is_multiple_of(2).then(|| from_unix(7)),
            valid_until: line.is_multiple_of(3).then(|| from_unix(9)),
            of: DelegationRow {
                account: format!("account-{line}").parse().expect("an id"),
                ca: line.is_multiple_of(5),
                lend_on: line.is_multiple_of(7),
                reference: line.is_multiple_of(4).then(|| format!("Auftrag {line} ä")),
            },
        }
    }

    fn sorted(rows: &[Row], run: usize) -> SortedDelegations {
        let mut sorter = DelegationSorter::default();
        for run in rows.chunks(run) {
            for row in run {
                sorter.add(row.clone()).expect("a temporary file");
            }
            sorter.write_run().expect("a temporary file");
        }
        sorter.sorted.expect("at least one run")
    }

    proptest! {
        #[test]
        fn all_lines_return_in_groups_that_share_no_number(
            ranges in prop::collection::vec((1_000_u64..2_000, 1_u64..20), 1..200), run in 1_usize..50, size in 1_usize..9,
        ) {
            let rows: Vec<Row> = (2..).zip(&ranges).map(|(line, (start, count))| row(line, *start, *count)).collect();
            let groups = sorted(&rows, run).groups(size).expect("groups");
            let groups: Vec<Vec<Row>> = groups.collect::<Result<_, _>>().expect("lines");
            for pair in groups.windows(2) {
                let last = pair[0].iter().map(|row| row.numbers.last()).max();
                prop_assert!(pair[0].len() >= size);
                prop_assert!(last < pair[1].iter().map(|row| row.numbers.first()).min());
            }
            let mut expected = rows;
            expected.sort_unstable_by_key(key);
            prop_assert_eq!(groups.concat(), expected);
        }
    }

    #[test]
    fn few_lines_stay_in_memory_in_their_order() {
        let mut sorter = DelegationSorter::default();
        for (line, start) in [(2, 1_500), (3, 1_400)] {
            sorter.add(row(line, start, 1)).expect("memory");
        }
        let few = sorter.finish().expect("no file").expect("few lines");
        assert_eq!(few, [row(2, 1_500, 1), row(3, 1_400, 1)]);
    }

    #[test]
    fn lines_that_all_overlap_are_refused_before_they_fill_the_memory() {
        let rows: Vec<Row> = (0..=MAX_GROUP as u64)
            .map(|line| row(line, 1_000, 1))
            .collect();
        let mut groups = sorted(&rows, LINES_OF_A_RUN).groups(10).expect("groups");
        let refused = groups.next().expect("an outcome").expect_err("too many");
        assert!(matches!(refused, TableError::Entangled { .. }), "{refused}");
    }
}
