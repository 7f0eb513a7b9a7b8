//! Codes and thousands-blocks of the NANP, which three formats list: who holds which, and what that makes of each number.
//!
//! The more specific wins: a code with any thousands-block line grants nothing by itself, and a thousands digit without a
//! line is nobody's.

use std::collections::BTreeMap;

use crate::domain::clock::Time;
use crate::domain::inventory::Basis;
use crate::domain::numbers::range_set::merged;
use crate::domain::{NumberRange, Tn};
use crate::tables::draft::{Coverage, Holding};
use crate::tables::error::RefusedLines;
use crate::tables::fields::{Holder, shown};

/// Somebody has this block, or code, by a line of the table.
const LISTED: u8 = 1;
const OWN: u8 = 2;
/// A line of somebody else names it as well.
const FOREIGN: u8 = 4;
/// The blocks of this code may have other holders than the code.
const POOLED: u8 = 8;

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeOrBlock {
    /// NPA-NXX, as six digits.
    Code(usize),
    /// A thousands-block, as seven digits.
    Block(usize),
}

/// All codes and thousands-blocks of the NANP, by their digits: 000-000 to 999-999, and a digit more.
#[derive(Debug)]
pub struct Blocks {
    codes: Vec<u8>,
    thousands: Vec<u8>,
    /// When own ones start that are not in force yet.
    starts: BTreeMap<(usize, bool), Time>,
}

impl Default for Blocks {
    fn default() -> Self {
        Self {
            codes: vec![0; 1_000_000],
            thousands: vec![0; 10_000_000],
            starts: BTreeMap::new(),
        }
    }
}

impl Blocks {
    /// Takes a line: the place is listed, and held by somebody. `starts` is when, if that is yet to come.
    pub fn add(&mut self, place: CodeOrBlock, holder: Holder, starts: Option<Time>) {
        let own = holder == Holder::Own;
        let (entry, key) = match place {
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

    /// The place is listed, and by that line nobody's: a block in the pool, a code that is not assigned.
    pub fn list(&mut self, place: CodeOrBlock) {
        let entry = match place {
            CodeOrBlock::Code(code) => self.codes.get_mut(code),
            CodeOrBlock::Block(block) => self.thousands.get_mut(block),
        };
        if let Some(entry) = entry {
            *entry |= LISTED;
        }
    }

    /// The code is listed as pooled, or not as one that is not.
    pub fn list_as_pooled(&mut self, code: usize) {
        if let Some(entry) = self.codes.get_mut(code) {
            *entry |= LISTED | POOLED;
        }
    }

    /// A block that two carriers have is a contradiction, and not ours to settle.
    pub fn refuse_what_is_claimed_twice(&self, refused: &mut RefusedLines) {
        let both = |entry: &&u8| **entry & (OWN | FOREIGN) == OWN | FOREIGN;
        let entries = self.codes.iter().chain(&self.thousands);
        let count = entries.filter(both).count();
        if count > 0 {
            let why = format!("{count} block(s) of these OCNs are listed for another one too");
            refused.add(0, why);
        }
    }

    /// What the carrier holds, as few ranges: blocks that touch each other are one, if they start together. Also says how
    /// many of its codes grant nothing, since there are thousands-blocks in them.
    pub fn settle(&self) -> (Vec<Holding>, u64) {
        let pooled = |code: &usize| {
            self.thousands[code * 10..code * 10 + 10]
                .iter()
                .any(|entry| *entry != 0)
        };
        let (without_force, codes): (Vec<_>, Vec<_>) =
            marked(&self.codes, OWN).partition::<Vec<_>, _>(pooled);
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
        (holdings, without_force.len() as u64)
    }

    /// The NPAs that the table has a line of.
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

    /// The codes that are listed as pooled.
    pub fn pooled_codes(&self) -> Coverage {
        Coverage::new(marked(&self.codes, POOLED).filter_map(code_range).collect())
    }

    /// The codes that the table has a line of, for them or for a block in them.
    pub fn listed_codes(&self) -> Coverage {
        let mut codes: Vec<usize> = marked(&self.thousands, LISTED).map(|b| b / 10).collect();
        codes.extend(marked(&self.codes, LISTED));
        Coverage::new(codes.into_iter().filter_map(code_range).collect())
    }
}

/// Joins codes and blocks that touch. A range is a code's only if there is no block in it. `blocks` are sorted.
fn joined(
    codes: Vec<NumberRange>,
    blocks: &[NumberRange],
    valid_from: Option<Time>,
) -> impl Iterator<Item = Holding> {
    let all = merged(codes.into_iter().chain(blocks.iter().copied()).collect());
    all.into_iter().map(move |numbers| {
        // The first block that is not before the range tells.
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

/// A code out of its two parts.
///
/// # Errors
/// A complaint that names the part.
pub fn code(npa: &str, nxx: &str) -> Result<usize, String> {
    Ok(three_digits("npa", npa)? * 1_000 + three_digits("nxx", nxx)?)
}

/// A thousands digit.
///
/// # Errors
/// A complaint if it is none.
pub fn thousands(x: &str) -> Option<usize> {
    match x.as_bytes() {
        [digit @ b'0'..=b'9'] => Some(usize::from(digit - b'0')),
        _ => None,
    }
}

/// NPA and NXX are three digits, of which the first is 2 to 9.
fn three_digits(name: &str, text: &str) -> Result<usize, String> {
    match text.as_bytes() {
        [a @ b'2'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'] => {
            let value = |digit: &u8| usize::from(digit - b'0');
            Ok(value(a) * 100 + value(b) * 10 + value(c))
        }
        _ => Err(format!(
            "{name} is three digits, the first from 2 to 9, not `{}`",
            shown(text)
        )),
    }
}
