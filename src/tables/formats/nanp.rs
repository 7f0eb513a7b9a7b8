//! Codes and thousands-blocks of the NANP, shared by three formats: who holds which, and which
//! numbers follow from that.
//!
//! The more specific line wins: once a code has a line for any thousands-block, the code's own line
//! grants nothing, and its blocks without a line belong to no one.

use std::collections::BTreeMap;
use std::fmt;

use super::listed_lines::{ListedLines, key};
use crate::domain::clock::Time;
use crate::domain::inventory::Basis;
use crate::domain::numbers::range_set::merged;
use crate::domain::{NumberRange, Tn};
use crate::tables::draft::{Coverage, Holding};
use crate::tables::error::{LINES_NAMED, RefusedLines};
use crate::tables::fields::{Holder, shown};

// The bits of an entry.
/// The table has a line for it.
const LISTED: u8 = 1;
/// A line of the carrier names it.
const OWN: u8 = 2;
/// A line of another carrier names it.
const FOREIGN: u8 = 4;
/// A pooled code: its blocks can have other holders than the code.
const POOLED: u8 = 8;

/// What a line names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeOrBlock {
    /// NPA-NXX, as six digits.
    Code(usize),
    /// A thousands-block, as seven digits.
    Block(usize),
}

impl fmt::Display for CodeOrBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "code {:03}-{:03}", code / 1_000, code % 1_000),
            Self::Block(block) => {
                let (code, x) = (block / 10, block % 10);
                write!(f, "block {:03}-{:03}-{x}", code / 1_000, code % 1_000)
            }
        }
    }
}

/// All codes and thousands-blocks of the NANP, indexed by their six or seven digits.
#[derive(Debug)]
pub struct Blocks {
    codes: Vec<u8>,
    thousands: Vec<u8>,
    /// The future start dates of the carrier's own. The key says whether it is a code.
    starts: BTreeMap<(usize, bool), Time>,
    lines: ListedLines,
}

impl Default for Blocks {
    fn default() -> Self {
        Self {
            codes: vec![0; 1_000_000],
            thousands: vec![0; 10_000_000],
            starts: BTreeMap::new(),
            lines: ListedLines::default(),
        }
    }
}

impl Blocks {
    /// Takes a line that assigns a code or block to a holder. `starts` is its start date, if that
    /// is in the future.
    pub fn add(&mut self, line: u64, named: CodeOrBlock, holder: Holder, starts: Option<Time>) {
        self.lines.add(line, named);
        let own = holder == Holder::Own;
        let (entry, key) = match named {
            CodeOrBlock::Code(code) => (self.codes.get_mut(code), (code, true)),
            CodeOrBlock::Block(block) => (self.thousands.get_mut(block), (block, false)),
        };
        if let Some(entry) = entry {
            *entry |= LISTED | if own { OWN } else { FOREIGN };
        }
        if own && let Some(starts) = starts {
            self.starts.insert(key, starts);
        }
    }

    /// Takes a line that assigns nothing, such as an available block or an unassigned code.
    pub fn list(&mut self, named: CodeOrBlock) {
        let entry = match named {
            CodeOrBlock::Code(code) => self.codes.get_mut(code),
            CodeOrBlock::Block(block) => self.thousands.get_mut(block),
        };
        if let Some(entry) = entry {
            *entry |= LISTED;
        }
    }

    /// Takes a line of a code that is pooled, or does not say that it is not.
    pub fn list_as_pooled(&mut self, code: usize) {
        if let Some(entry) = self.codes.get_mut(code) {
            *entry |= LISTED | POOLED;
        }
    }

    /// Refuses the table if it lists one of the carrier's blocks for another carrier too: only the
    /// administrator can resolve that.
    pub fn refuse_contradictions(&self, refused: &mut RefusedLines) {
        let both = |entry: &u8| *entry & (OWN | FOREIGN) == OWN | FOREIGN;
        let marked = |entries: &[u8]| -> Vec<usize> {
            let entries = entries.iter().enumerate();
            let both = entries.filter(|(_, entry)| both(entry));
            both.map(|(index, _)| index).take(LINES_NAMED).collect()
        };
        let codes = marked(&self.codes).into_iter().map(CodeOrBlock::Code);
        let blocks = marked(&self.thousands).into_iter().map(CodeOrBlock::Block);
        let first: Vec<CodeOrBlock> = codes.chain(blocks).take(LINES_NAMED).collect();
        let entries = self.codes.iter().chain(&self.thousands);
        let count = entries.filter(|entry| both(entry)).count();
        refused.count += count.saturating_sub(first.len()) as u64;
        let lines = self.lines.of(first.iter().copied());
        for named in first {
            let lines = lines
                .get(&key(named))
                .map(Vec::as_slice)
                .unwrap_or_default();
            let why = format!("{named} is listed for these OCNs and for another");
            let why = match lines {
                [] => why,
                [line] => format!("{why}, one of them in line {line}"),
                lines => {
                    let lines: Vec<String> = lines.iter().map(u64::to_string).collect();
                    format!("{why}, in lines {}", lines.join(", "))
                }
            };
            // A table that is too long for its lines to be remembered is at fault as a whole.
            refused.add(lines.last().copied().unwrap_or_default(), why);
        }
    }

    /// What the carrier holds. Adjacent blocks with the same start are joined. Also returns how
    /// many of its codes grant nothing, because they have thousands-blocks.
    pub fn holdings(&self) -> (Vec<Holding>, u64) {
        let has_blocks = |code: &usize| {
            self.thousands[code * 10..code * 10 + 10]
                .iter()
                .any(|entry| *entry != 0)
        };
        let (ineffective, codes): (Vec<_>, Vec<_>) =
            marked(&self.codes, OWN).partition::<Vec<_>, _>(has_blocks);
        let mut by_start: BTreeMap<Option<Time>, (Vec<NumberRange>, Vec<NumberRange>)> =
            BTreeMap::new();
        for code in codes {
            let start = self.starts.get(&(code, true)).copied();
            by_start
                .entry(start)
                .or_default()
                .0
                .extend(code_range(code));
        }
        for block in marked(&self.thousands, OWN) {
            let start = self.starts.get(&(block, false)).copied();
            by_start
                .entry(start)
                .or_default()
                .1
                .extend(block_range(block));
        }
        let mut holdings = Vec::new();
        for (valid_from, (codes, blocks)) in by_start {
            holdings.extend(joined(codes, &blocks, valid_from));
        }
        holdings.sort_unstable_by_key(|holding| holding.numbers);
        (holdings, ineffective.len() as u64)
    }

    /// All numbers of the NPAs that the table lists.
    pub fn npas(&self) -> Coverage {
        let mut npas = vec![false; 1_000];
        for code in marked(&self.codes, LISTED) {
            npas[code / 1_000] = true;
        }
        for block in marked(&self.thousands, LISTED) {
            npas[block / 10_000] = true;
        }
        let npas = npas.iter().enumerate().filter(|(_, listed)| **listed);
        let ranges = npas.filter_map(|(npa, _)| range(&format!("1{npa:03}0000000"), 10_000_000));
        Coverage::new(ranges.collect())
    }

    /// The pooled codes.
    pub fn pooled_codes(&self) -> Coverage {
        Coverage::new(marked(&self.codes, POOLED).filter_map(code_range).collect())
    }

    /// The codes that the table lists, themselves or by a block.
    pub fn listed_codes(&self) -> Coverage {
        let mut codes: Vec<usize> = marked(&self.thousands, LISTED).map(|b| b / 10).collect();
        codes.extend(marked(&self.codes, LISTED));
        Coverage::new(codes.into_iter().filter_map(code_range).collect())
    }
}

/// Joins adjacent codes and blocks. A joined range has the basis `code` only if it contains no
/// block. `blocks` are sorted.
fn joined(
    codes: Vec<NumberRange>,
    blocks: &[NumberRange],
    valid_from: Option<Time>,
) -> impl Iterator<Item = Holding> {
    let all = merged(codes.into_iter().chain(blocks.iter().copied()).collect());
    all.into_iter().map(move |numbers| {
        // If the first block at or after the start of the range is not in the range, no block is.
        let next = blocks.partition_point(|block| block.first() < numbers.first());
        let has_block = blocks
            .get(next)
            .is_some_and(|block| block.intersection(numbers).is_some());
        Holding {
            numbers,
            basis: if has_block { Basis::Block } else { Basis::Code },
            valid_from,
        }
    })
}

/// The indices of the entries with this bit.
fn marked(entries: &[u8], mark: u8) -> impl Iterator<Item = usize> {
    let marked = entries.iter().enumerate();
    marked
        .filter(move |(_, entry)| **entry & mark != 0)
        .map(|(index, _)| index)
}

fn code_range(code: usize) -> Option<NumberRange> {
    range(&format!("1{code:06}0000"), 10_000)
}

fn block_range(block: usize) -> Option<NumberRange> {
    range(&format!("1{block:07}000"), 1_000)
}

fn range(start: &str, width: u64) -> Option<NumberRange> {
    NumberRange::new(Tn::from_digits(start).ok()?, width).ok()
}

/// The index of a code, from NPA and NXX.
pub fn code(npa: &str, nxx: &str) -> Result<usize, String> {
    Ok(three_digits("npa", npa)? * 1_000 + three_digits("nxx", nxx)?)
}

/// A thousands digit.
pub fn thousands(x: &str) -> Option<usize> {
    match x.as_bytes() {
        [digit @ b'0'..=b'9'] => Some(usize::from(digit - b'0')),
        _ => None,
    }
}

/// NPA and NXX have three digits, the first of them from 2 to 9.
fn three_digits(name: &str, text: &str) -> Result<usize, String> {
    match text.as_bytes() {
        [a @ b'2'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'] => {
            let value = |digit: &u8| usize::from(digit - b'0');
            Ok(value(a) * 100 + value(b) * 10 + value(c))
        }
        _ => Err(format!(
            "{name} must be three digits, the first from 2 to 9, not `{}`",
            shown(text)
        )),
    }
}
