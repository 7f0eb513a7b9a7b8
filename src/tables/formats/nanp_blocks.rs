//! `nanp-blocks`: whole-country block tables of the NANP, `npa,nxx,x,ocn,company,category`, a line a code or
//! thousands-block. `x` is `A` for a whole code and a digit for a thousands-block of it.
//!
//! Speaks for the NPAs that it has a line of. It says nothing of when blocks start.

use super::nanp::{Blocks, CodeOrBlock, code, thousands};
use crate::domain::Spc;
use crate::tables::Layout;
use crate::tables::decode::Encoding;
use crate::tables::draft::{Holdings, ParsedTable, TableContent};
use crate::tables::error::TableError;
use crate::tables::fields::{Ocns, shown};
use crate::tables::lines::{Column, CsvDialect, Line};

const COLUMNS: &[Column] = &[
    Column::needed(&["npa"]),
    Column::needed(&["nxx"]),
    Column::needed(&["x", "block_id", "thousands"]),
    Column::needed(&["ocn"]),
    Column::optional(&["company", "company_name"]),
    Column::optional(&["category", "type"]),
];

pub struct NanpBlocks {
    ocns: Ocns,
    spc: Spc,
    blocks: Blocks,
}

impl NanpBlocks {
    pub fn new(ocns: Ocns, spc: Spc) -> Self {
        let blocks = Blocks::default();
        Self { ocns, spc, blocks }
    }
}

impl Layout for NanpBlocks {
    fn dialect(&self) -> CsvDialect {
        CsvDialect {
            delimiter: b',',
            quoted: true,
            encoding: Encoding::Utf8,
        }
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn line(&mut self, line: &Line<'_>) -> Result<(), String> {
        let holder = self.ocns.holder(line.field(3)?)?;
        let code = code(line.field(0)?, line.field(1)?)?;
        let place = match line.field(2)? {
            "A" => CodeOrBlock::Code(code),
            x => {
                let digit = thousands(x)
                    .ok_or_else(|| format!("x is `A` or a digit, not `{}`", shown(x)))?;
                CodeOrBlock::Block(code * 10 + digit)
            }
        };
        self.blocks.add(place, holder, None);
        Ok(())
    }

    fn finish(self: Box<Self>, draft: &mut ParsedTable) -> Result<(), TableError> {
        crate::tables::must_name_them(&self.ocns, &mut draft.told)?;
        self.blocks
            .refuse_what_is_claimed_twice(&mut draft.told.refused);
        let (held, pooled) = self.blocks.settle();
        draft
            .told
            .note(pooled, "own codes with thousands-blocks in them");
        let scope = self.blocks.npas();
        let table = Holdings {
            held,
            scope,
            dated: false,
        };
        draft.says = TableContent::Holdings {
            spc: self.spc,
            table,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::inventory::Basis;
    use crate::tables::tests::{table, told};
    use crate::tables::{Format, TableError};

    fn lines(lines: &str) -> String {
        format!("npa,nxx,x,ocn,company,category\n{lines}")
    }

    fn ranges(text: &str) -> Vec<String> {
        let holdings = table(Format::NanpBlocks, &["073H"], lines(text).as_bytes());
        let held = holdings.held.iter();
        held.map(|holding| holding.numbers.to_string()).collect()
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
        assert!(ranges("212,555,A,073H,,\n212,555,2,,,\n").is_empty());
        let text = lines("212,555,A,073H,,\n212,555,2,,,\n212,556,2,MULT,,\n");
        let told = told(Format::NanpBlocks, &["073H"], text.as_bytes());
        let notes: Vec<_> = told.notes.iter().map(|n| (n.count, n.what)).collect();
        let expected = [
            (1, "lines without an OCN"),
            (1, "lines for several carriers (`MULT`)"),
            (1, "own codes with thousands-blocks in them"),
        ];
        assert_eq!(notes, expected);
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
        let text = lines("212,555,A,073H,,\n212,556,0,073H,,\n212,558,A,073H,,\n");
        let table = table(Format::NanpBlocks, &["073H"], text.as_bytes());
        let found: Vec<_> = table
            .held
            .iter()
            .map(|h| (h.numbers.count(), h.basis))
            .collect();
        assert_eq!(found, [(11_000, Basis::Block), (10_000, Basis::Code)]);
        let scope: Vec<_> = table.scope.ranges().iter().map(|r| r.count()).collect();
        assert_eq!(scope, [10_000_000]);
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_its_line() {
        for (text, why) in [
            (
                "212,555,B,073H,,\n212,555,1,073H,,\n",
                "line 2: x is `A` or a digit",
            ),
            ("112,555,1,073H,,\n", "line 2: npa is three digits"),
            (
                "212,555,1,073H,,\n212,55,1,9999,,\n",
                "line 3: nxx is three digits",
            ),
            (
                "212,555,1,073H,,\n212,555,1,9999,,\n",
                "listed for another one too",
            ),
            (
                "212,555,1,073H,,\n212,555,1,73H,,\n",
                "line 3: OCN `73H` may be `073H`",
            ),
            (
                "212,555,1,073H,,\n212,555",
                "line 3: 2 field(s) where the header has 6",
            ),
            (
                "212,555,1,073H,\"A\nB\",\n\n212,555,x,073H,,\n",
                "line 5: x is `A`",
            ),
            (
                "212,555,1,073H,,\n212,556,1,073H,\"A,B\n",
                "line 3: a quotation mark is never closed",
            ),
        ] {
            let told = told(Format::NanpBlocks, &["073H"], lines(text).as_bytes());
            let named = told.refused.to_string();
            assert!(named.contains(why), "{text:?}: {named}");
        }
        for (text, why) in [
            (lines("212,555,1,073h,,\n"), "it does name `073h`"),
            (lines(""), "no line behind its columns"),
            (String::new(), "no column `npa`"),
            (
                "a,b\n1,2\n".to_owned(),
                "no column `x` (or `block_id`, `thousands`)",
            ),
            ("npa,NPA,nxx,x,ocn\n1,2,3,4,5\n".to_owned(), "two columns"),
        ] {
            let read = crate::tables::tests::read(Format::NanpBlocks, &["073H"], text.as_bytes());
            let error: TableError = read.expect_err(why);
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}
