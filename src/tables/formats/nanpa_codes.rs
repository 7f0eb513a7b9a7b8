//! `nanpa-codes`: the central-office code report of the NANP administrator, separated by tabs and
//! padded with spaces. One code a line.
//!
//! Only assigned codes (`Use` is `AS`) that are not pooled grant numbers, from their effective date
//! on. The blocks of a pooled code have holders of their own, which the thousands-block report
//! lists. A code with an empty `Pooled Code` is treated as pooled. The scope is the NPAs that the
//! report lists, except for their pooled codes.

use super::nanp::{Blocks, CodeOrBlock, code};
use super::statuses::OtherStatuses;
use crate::domain::Spc;
use crate::domain::clock::Time;
use crate::domain::numbers::range_set::gaps;
use crate::tables::Layout;
use crate::tables::decode::Encoding;
use crate::tables::draft::NotedLines;
use crate::tables::draft::{Coverage, Holdings, ParsedTable, TableContent};
use crate::tables::error::TableError;
use crate::tables::fields::{Holder, Ocns, american_day, shown};
use crate::tables::lines::{Column, CsvDialect, Line};

const COLUMNS: &[Column] = &[
    Column::needed(&["NPA-NXX", "NPANXX", "Code"]),
    Column::needed(&["OCN"]),
    Column::needed(&["EffectiveDate", "Effective Date"]),
    Column::needed(&["Use", "Status"]),
    Column::needed(&["Pooled Code", "Pooled"]),
    Column::optional(&["State", "ST"]),
    Column::optional(&["Company"]),
    Column::optional(&["RateCenter", "Rate Center"]),
    Column::optional(&["AssignDate", "Assign Date"]),
    Column::optional(&["Initial/Growth"]),
    Column::optional(&["In Service"]),
];

pub struct NanpaCodes {
    ocns: Ocns,
    spc: Spc,
    now: Time,
    blocks: Blocks,
    own_pooled: u64,
    unclear: NotedLines,
    statuses: OtherStatuses,
}

impl NanpaCodes {
    pub fn new(ocns: Ocns, spc: Spc, now: Time) -> Self {
        Self {
            ocns,
            spc,
            now,
            blocks: Blocks::default(),
            own_pooled: 0,
            unclear: NotedLines::default(),
            statuses: OtherStatuses::new("Use"),
        }
    }
}

impl Layout for NanpaCodes {
    fn dialect(&self) -> CsvDialect {
        CsvDialect {
            delimiter: b'\t',
            quoted: false,
            encoding: Encoding::Utf8,
        }
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn line(&mut self, line: &Line<'_>) -> Result<(), String> {
        let field = line.field(0)?;
        let (npa, nxx) = field
            .split_once('-')
            .ok_or_else(|| format!("NPA-NXX must be written as 201-330, not `{}`", shown(field)))?;
        let code = code(npa, nxx)?;
        let pooled = match line.field(4)?.to_ascii_uppercase().as_str() {
            "N" | "NO" => false,
            "" => {
                // Its blocks may belong to others.
                if self.ocns.holder(line.field(1)?)? == Holder::Own {
                    self.unclear.add(line.number);
                }
                self.blocks.list_as_pooled(code);
                return Ok(());
            }
            "Y" | "YES" | "P" => true,
            other => {
                return Err(format!(
                    "Pooled Code must be Y or N, not `{}`",
                    shown(other)
                ));
            }
        };
        if pooled {
            self.blocks.list_as_pooled(code);
        }
        let own = self.ocns.is_own(line.field(1)?);
        if !self.statuses.is_assigned(line.field(3)?, line.number, own) {
            self.blocks.list(CodeOrBlock::Code(code));
            return Ok(());
        }
        let holder = self.ocns.holder(line.field(1)?)?;
        if pooled {
            self.own_pooled += u64::from(holder == Holder::Own);
            return Ok(());
        }
        let day = line.field(2)?;
        let starts = match (holder, day) {
            (Holder::Own, day) if !day.is_empty() => Some(american_day("EffectiveDate", day)?),
            _ => None,
        };
        let starts = starts.filter(|starts| *starts > self.now);
        self.blocks
            .add(line.number, CodeOrBlock::Code(code), holder, starts);
        Ok(())
    }

    fn finish(mut self: Box<Self>, table: &mut ParsedTable) -> Result<(), TableError> {
        self.ocns.explain_absence(self.statuses.hint());
        crate::tables::must_have_own_lines(&self.ocns, &mut table.summary)?;
        self.blocks
            .refuse_contradictions(&mut table.summary.refused);
        self.statuses.note(&mut table.summary);
        table.summary.note(
            self.own_pooled,
            "own codes are pooled: their blocks are in the thousands-block report",
        );
        table.summary.note_lines(
            std::mem::take(&mut self.unclear),
            "own codes do not say whether they are pooled, and were skipped",
        );
        let (held, _) = self.blocks.holdings();
        let pooled = self.blocks.pooled_codes();
        let npas = self.blocks.npas();
        let npas = npas.ranges().iter();
        let scope = npas.flat_map(|npa| gaps(*npa, pooled.ranges().iter().copied()));
        let holdings = Holdings {
            held,
            scope: Coverage::new(scope.collect()),
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

    const TABLE: &str = "State\tNPA-NXX\tOCN\tCompany\tRateCenter\tEffectiveDate\tUse\tAssignDate\tInitial/Growth\tPooled Code\tIn Service\n\
        NJ \t201-330\t073H \tTELNYX \"LLC       \tJERSEYCITY\t10/05/2022\tAS\t09/01/2022\tI \tN \tY \n\
        NJ \t201-331\t073H \tTELNYX LLC       \tJERSEYCITY\t10/05/2022\tAS\t09/01/2022\tI \tY \tY \n\
        NJ \t201-332\t073H \tTELNYX LLC       \tJERSEYCITY\t          \tAS\t09/01/2022\tI \t  \tY \n\
        NJ \t201-333\t073H \tTELNYX LLC       \tJERSEYCITY\t01/31/2099\tAS\t09/01/2022\tI \tN \tN \n\
        NJ \t201-334\t     \t                 \t          \t          \tUA\t          \t  \tN \tN \n\
        NJ \t201-335\t9999 \tOTHER            \tJERSEYCITY\t10/05/2022\tAS\t09/01/2022\tI \tN \tY \n";

    #[test]
    fn assigned_codes_that_are_not_pooled_grant_numbers() {
        let found = table(Format::NanpaCodes, &["073H"], TABLE.as_bytes());
        let held: Vec<_> = found
            .held
            .iter()
            .map(|h| (h.numbers.to_string(), h.valid_from.is_some()))
            .collect();
        let expected = [
            ("+12013300000 to +12013309999".to_owned(), false),
            ("+12013330000 to +12013339999".to_owned(), true),
        ];
        assert_eq!(held, expected);
        let scope: Vec<_> = found
            .scope
            .ranges()
            .iter()
            .map(ToString::to_string)
            .collect();
        let expected = [
            "+12010000000 to +12013309999",
            "+12013330000 to +12019999999",
        ];
        assert_eq!(scope, expected, "the NPA without its pooled codes");
        let summary = summary(Format::NanpaCodes, &["073H"], TABLE.as_bytes());
        assert_eq!(
            (summary.lines, summary.own, summary.refused.count),
            (6, 4, 0)
        );
        let unclear = summary.notes.iter().find(|n| n.what.contains("do not say"));
        assert_eq!(unclear.expect("a note").lines, [4]);
    }

    #[test]
    fn a_code_is_written_in_one_way() {
        let text = TABLE
            .replace("201-330", "201330")
            .replace("201-335", "201-35");
        let summary = summary(Format::NanpaCodes, &["073H"], text.as_bytes());
        assert_eq!(summary.refused.count, 2);
        assert!(
            summary
                .refused
                .to_string()
                .contains("line 2: NPA-NXX must be written as 201-330")
        );
    }
}
