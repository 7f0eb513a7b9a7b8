//! Which lines of a NANP table name which code or block, so that a contradiction can name them.

use std::collections::{BTreeMap, BTreeSet};

use super::nanp::CodeOrBlock;

/// The lines that are remembered, 4 bytes each: three times a table of the whole plan.
const MAX_LINES: usize = 4_000_000;
/// How many lines a message names.
const LINES_NAMED: usize = 5;
/// A line that names nothing.
const NOTHING: u32 = u32::MAX;

/// For each line of the table, by its number, what it names.
#[derive(Debug, Default)]
pub struct ListedLines(Vec<u32>);

impl ListedLines {
    /// Takes a line, in the order of the table.
    pub fn add(&mut self, line: u64, named: CodeOrBlock) {
        if let Ok(line) = usize::try_from(line)
            && line < MAX_LINES
            && line >= self.0.len()
        {
            self.0.resize(line, NOTHING);
            self.0.push(key(named));
        }
    }

    /// The first lines that name each of these.
    pub fn of(&self, wanted: impl Iterator<Item = CodeOrBlock>) -> BTreeMap<u32, Vec<u64>> {
        let wanted: BTreeSet<u32> = wanted.map(key).collect();
        let mut found: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for (line, key) in self.0.iter().enumerate() {
            if wanted.contains(key) {
                let lines = found.entry(*key).or_default();
                if lines.len() < LINES_NAMED {
                    lines.push(line as u64);
                }
            }
        }
        found
    }
}

/// Codes have six digits and blocks seven, so both fit beside each other.
pub fn key(named: CodeOrBlock) -> u32 {
    let (first, index) = match named {
        CodeOrBlock::Code(code) => (0, code),
        CodeOrBlock::Block(block) => (1_000_000, block),
    };
    u32::try_from(first + index).unwrap_or(NOTHING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_by_what_they_name() {
        let (code, block) = (CodeOrBlock::Code(212_555), CodeOrBlock::Block(2_125_551));
        let mut lines = ListedLines::default();
        for (line, named) in [(2, block), (4, code), (7, block)] {
            lines.add(line, named);
        }
        lines.add(MAX_LINES as u64, code);
        let found = lines.of([code, block].into_iter());
        assert_eq!(found[&key(code)], [4]);
        assert_eq!(found[&key(block)], [2, 7]);
        assert_ne!(key(CodeOrBlock::Code(999_999)), key(CodeOrBlock::Block(0)));
    }
}
