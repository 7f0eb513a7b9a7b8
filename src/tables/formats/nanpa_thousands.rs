//! `nanpa-thousands`: the thousands-block report of the NANP administrator, separated by commas.
//! One block of a pooled code a line.
//!
//! Only assigned blocks (`STATUS` is `AS`) grant numbers, from their effective date on. The scope
//! is the codes that the report lists. `Contaminated` says that some numbers of a block stayed with
//! its donor, but not which: the carrier imports those as `exclusions`.

use super::nanp::{Blocks, CodeOrBlock, code, thousands};
use super::statuses::OtherStatuses;
use crate::domain::Spc;
use crate::domain::clock::Time;
use crate::tables::Layout;
use crate::tables::decode::Encoding;
use crate::tables::draft::NotedLines;
use crate::tables::draft::{Holdings, ParsedTable, TableContent};
use crate::tables::error::TableError;
use crate::tables::fields::{Holder, Ocns, american_day, shown, yes_or_no};
use crate::tables::lines::{Column, CsvDialect, Line};

const COLUMNS: &[Column] = &[
    Column::needed(&["NPA"]),
    Column::needed(&["NXX"]),
    Column::needed(&["X", "Block", "Thousands Block"]),
    Column::needed(&["STATUS", "Block Status"]),
    Column::needed(&["OCN", "Block Holder OCN"]),
    Column::needed(&[
        "Contaminated",
        "Contaminated (Y or N)",
        "Contaminated (Y/N)",
    ]),
    Column::needed(&["Block Effective Date", "Effective Date"]),
    Column::optional(&["Region"]),
    Column::optional(&["State"]),
    Column::optional(&["Code Holder"]),
    Column::optional(&[
        "Contaminated TNs not Available for Assignment",
        "Contaminated TNs",
    ]),
    Column::optional(&["Rate Center"]),
    Column::optional(&["Block Available Date", "Available Date"]),
    Column::optional(&["Assigned To", "Block Holder", "Company"]),
    Column::optional(&["Date Assigned", "Assignment Date"]),
];

pub struct NanpaThousands {
    ocns: Ocns,
    spc: Spc,
    now: Time,
    blocks: Blocks,
    statuses: OtherStatuses,
    contaminated: NotedLines,
}

impl NanpaThousands {
    pub fn new(ocns: Ocns, spc: Spc, now: Time) -> Self {
        Self {
            ocns,
            spc,
            now,
            blocks: Blocks::default(),
            statuses: OtherStatuses::new("STATUS"),
            contaminated: NotedLines::default(),
        }
    }
}

impl Layout for NanpaThousands {
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
        let code = code(line.field(0)?, line.field(1)?)?;
        let x = line.field(2)?;
        let digit = thousands(x).ok_or_else(|| format!("X must be a digit, not `{}`", shown(x)))?;
        let block = CodeOrBlock::Block(code * 10 + digit);
        let own = self.ocns.is_own(line.field(4)?);
        if !self.statuses.is_assigned(line.field(3)?, line.number, own) {
            self.blocks.list(block);
            return Ok(());
        }
        let holder = self.ocns.holder(line.field(4)?)?;
        let mut starts = None;
        if holder == Holder::Own {
            let day = line.field(6)?;
            if !day.is_empty() {
                starts = Some(american_day("Block Effective Date", day)?);
            }
            if yes_or_no("Contaminated", line.field(5)?)? {
                self.contaminated.add(line.number);
            }
        }
        let starts = starts.filter(|starts| *starts > self.now);
        self.blocks.add(line.number, block, holder, starts);
        Ok(())
    }

    fn finish(mut self: Box<Self>, table: &mut ParsedTable) -> Result<(), TableError> {
        self.ocns.explain_absence(self.statuses.hint());
        crate::tables::must_have_own_lines(&self.ocns, &mut table.summary)?;
        self.blocks
            .refuse_contradictions(&mut table.summary.refused);
        self.statuses.note(&mut table.summary);
        table.summary.note_lines(
            self.contaminated,
            "own blocks have contaminated numbers: import those numbers with --format exclusions",
        );
        let (held, _) = self.blocks.holdings();
        let holdings = Holdings {
            held,
            scope: self.blocks.listed_codes(),
            dated: true,
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
    use crate::tables::Format;
    use crate::tables::tests::{summary, table};

    const HEADER: &str = "Region,State,NPA,NXX,X,STATUS,Code Holder,Contaminated (Y or N),\
        Contaminated TNs not Available for Assignment,Rate Center,Block Effective Date,Block Available Date,\
        Assigned To,OCN,Date Assigned\n";
    const LINES: &str = "1,NJ,201,330,0,AV,9206,N,,JERSEYCITY,,,,,\n\
        1,NJ,201,330,1,AS,9206,N,,JERSEYCITY,10/05/2022,,TELNYX,073H,09/01/2022\n\
        1,NJ,201,330,2,AS,9206,Y,12,JERSEYCITY,10/05/2022,,TELNYX,073H,09/01/2022\n\
        1,NJ,201,330,3,AS,9206,N,,JERSEYCITY,01/31/2099,,TELNYX,073H,09/01/2022\n\
        1,NJ,201,330,4,AS,9206,N,,JERSEYCITY,10/05/2022,,OTHER,9999,09/01/2022\n\
        1,NJ,201,331,5,RT,9206,N,,JERSEYCITY,,,TELNYX,073H,\n";

    #[test]
    fn assigned_blocks_grant_numbers_from_their_effective_date() {
        let text = format!("{HEADER}{LINES}");
        let table = table(Format::NanpaThousands, &["073H"], text.as_bytes());
        let found: Vec<_> = table
            .held
            .iter()
            .map(|h| (h.numbers.to_string(), h.valid_from.map(|t| t.to_string())))
            .collect();
        let later = Some("2099-01-31 00:00:00 UTC".to_owned());
        let expected = [
            ("+12013301000 to +12013302999".to_owned(), None),
            ("+12013303000 to +12013303999".to_owned(), later),
        ];
        assert_eq!(found, expected);
        let scope: Vec<_> = table
            .scope
            .ranges()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            scope,
            ["+12013300000 to +12013319999"],
            "the listed codes, no more"
        );
        let summary = summary(Format::NanpaThousands, &["073H"], text.as_bytes());
        assert_eq!((summary.lines, summary.own), (6, 3));
        let contaminated = summary
            .notes
            .iter()
            .find(|n| n.what.contains("contaminated"));
        assert_eq!(contaminated.expect("a note").lines, [4]);
    }

    #[test]
    fn columns_are_found_by_older_names() {
        let header = HEADER
            .replace("Contaminated (Y or N)", "contaminated")
            .replace("Block Effective Date", "BLOCK_EFFECTIVE_DATE")
            .replace("Region", "Extra");
        let text = format!("\u{feff}{header}{}", LINES.replace('\n', "\r"));
        let summary = summary(
            Format::NanpaThousands,
            &["073H"],
            text.replace('\n', "\r\n").as_bytes(),
        );
        assert_eq!(
            (summary.own, summary.refused.count),
            (3, 0),
            "{}",
            summary.refused
        );
        assert_eq!(summary.unknown_columns, ["Extra"]);
    }
}
