//! `nanp-blocks`: block tables of a whole NANP country, `npa,nxx,x,ocn,company,category`, one code
//! or thousands-block a line. `x` is `A` for a whole code, or the digit of a thousands-block.
//!
//! The scope is the NPAs that the table lists. It has no start dates.

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

const OVERRIDDEN: &str = "own codes have lines for thousands-blocks, which count instead";

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
        let named = match line.field(2)? {
            "A" => CodeOrBlock::Code(code),
            x => {
                let digit = thousands(x)
                    .ok_or_else(|| format!("x must be `A` or a digit, not `{}`", shown(x)))?;
                CodeOrBlock::Block(code * 10 + digit)
            }
        };
        self.blocks.add(line.number, named, holder, None);
        Ok(())
    }

    fn finish(self: Box<Self>, table: &mut ParsedTable) -> Result<(), TableError> {
        crate::tables::must_have_own_lines(&self.ocns, &mut table.summary)?;
        self.blocks
            .refuse_contradictions(&mut table.summary.refused);
        let (held, ineffective) = self.blocks.holdings();
        table.summary.note(ineffective, OVERRIDDEN);
        let scope = self.blocks.npas();
        let holdings = Holdings {
            held,
            scope,
            dated: false,
        };
        table.content = TableContent::Holdings {
            spc: self.spc,
            table: holdings,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::inventory::Basis;
    use crate::tables::tests::{summary, table};
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
    fn a_code_with_a_thousands_block_line_grants_nothing_itself() {
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
        let summary = summary(Format::NanpBlocks, &["073H"], text.as_bytes());
        let notes: Vec<_> = summary.notes.iter().map(|n| (n.count, &*n.what)).collect();
        let expected = [
            (1, "lines without an OCN"),
            (1, "lines for several carriers (`MULT`)"),
            (1, super::OVERRIDDEN),
        ];
        assert_eq!(notes, expected);
    }

    #[test]
    fn adjacent_blocks_are_one_range() {
        assert_eq!(
            ranges("212,555,9,073H,,\n212,556,0,073H,,\n212,556,2,073H,,\n"),
            [
                "+12125559000 to +12125560999",
                "+12125562000 to +12125562999"
            ]
        );
    }

    #[test]
    fn an_adjacent_code_and_block_are_one_range() {
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
    fn malformed_lines_are_refused_with_their_numbers() {
        for (text, why) in [
            (
                "212,555,B,073H,,\n212,555,1,073H,,\n",
                "line 2: x must be `A` or a digit",
            ),
            ("112,555,1,073H,,\n", "line 2: npa must be three digits"),
            (
                "212,555,1,073H,,\n212,55,1,9999,,\n",
                "line 3: nxx must be three digits",
            ),
            (
                "212,555,1,073H,,\n212,555,1,9999,,\n",
                "line 3: block 212-555-1 is listed for these OCNs and for another, in lines 2, 3",
            ),
            (
                "212,555,1,073H,,\n212,555,1,73H,,\n",
                "line 3: OCN `73H` may be `073H`",
            ),
            (
                "212,555,1,073H,,\n212,555",
                "line 3: 2 field(s), but the header has 6",
            ),
            (
                "212,555,1,073H,\"A\nB\",\n\n212,555,x,073H,,\n",
                "line 5: x must be `A`",
            ),
            (
                "212,555,1,073H,,\n212,556,1,073H,\"A,B\n",
                "line 3: unclosed quotation mark",
            ),
        ] {
            let summary = summary(Format::NanpBlocks, &["073H"], lines(text).as_bytes());
            let named = summary.refused.to_string();
            assert!(named.contains(why), "{text:?}: {named}");
        }
        for (text, why) in [
            (lines("212,555,1,073h,,\n"), "the table does have `073h`"),
            (lines(""), "a header, but no lines"),
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
