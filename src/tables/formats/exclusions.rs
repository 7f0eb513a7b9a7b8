//! `exclusions`: the carrier's own CSV, one exclusion a line, such as the contaminated numbers of a
//! block. Column: `reason`.

use crate::tables::Layout;
use crate::tables::draft::{ExclusionRow, ParsedTable, TableContent, TableRow};
use crate::tables::error::TableError;
use crate::tables::fields::shown;
use crate::tables::lines::{Column, CsvDialect, Line};
use crate::tables::rows::{self, BLOCK, COUNT, DIALECT, END, FROM, OWN, START, UNTIL};

const COLUMNS: &[Column] = &[
    START,
    END,
    COUNT,
    BLOCK,
    FROM,
    UNTIL,
    Column::needed(&["reason"]),
];

#[derive(Default)]
pub struct Exclusions {
    rows: Vec<TableRow<ExclusionRow>>,
}

impl Layout for Exclusions {
    fn dialect(&self) -> CsvDialect {
        DIALECT
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn line(&mut self, line: &Line<'_>) -> Result<(), String> {
        let reason = rows::field(line, OWN)?;
        let reason = reason
            .parse()
            .map_err(|error| format!("reason `{}`: {error}", shown(reason)))?;
        self.rows.push(rows::row(line, ExclusionRow { reason })?);
        crate::tables::must_fit_in_memory(self.rows.len())
    }

    fn finish(self: Box<Self>, table: &mut ParsedTable) -> Result<(), TableError> {
        table.content = TableContent::Exclusions(self.rows);
        Ok(())
    }
}
